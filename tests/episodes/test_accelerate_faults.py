"""Episodes under Accelerate: attached again, the right folder's state, real steps only."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.episodes.trainers import AXES, Digits, network

pytest.importorskip("accelerate", reason="the extra `trainers` is not installed")
pytestmark = pytest.mark.slow


def build(accumulate=1):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    return accelerator, *prepare(accelerator)


def prepare(accelerator):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return accelerator.prepare(model, optimizer, DataLoader(Digits(), batch_size=4))


def attach(accelerator, optimizer, criterion, **options):
    from hypernudge.integrations.accelerate import attach

    options = {"episode_length": 2, "seed": 0, "criterion": criterion, **options}
    return attach(accelerator, optimizer, *AXES, **options)


def run(accelerator, model, optimizer, loader, criterion, epochs=1):
    for _ in range(epochs):
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                accelerator.backward(criterion(model(inputs), targets))
                optimizer.step()
                optimizer.zero_grad()
                assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_cell_run_again_leaves_one_state_in_the_checkpoint(tmp_path):
    stack, criterion = build(), nn.CrossEntropyLoss()
    attach(stack[0], stack[2], criterion, seed=5)
    with pytest.warns(UserWarning, match="takes its place"):
        later = attach(stack[0], stack[2], criterion)
    run(*stack, criterion)
    stack[0].save_state(str(tmp_path / "state"))
    assert len(list((tmp_path / "state").glob("custom_checkpoint_*"))) == 1
    fresh = build()
    resumed = attach(fresh[0], fresh[2], criterion)
    fresh[0].load_state(str(tmp_path / "state"))
    assert resumed.records == later.records
    assert resumed.step_count == later.step_count == 12


def test_a_second_training_after_free_memory_takes_the_first_one_s_place(tmp_path):
    stack, criterion = build(), nn.CrossEntropyLoss()
    first = attach(stack[0], stack[2], criterion)
    run(*stack, criterion)
    stack[0].free_memory()
    _, optimizer, _ = prepare(stack[0])
    second = attach(stack[0], optimizer, nn.CrossEntropyLoss())
    assert second.optimizer is not first.optimizer
    stack[0].save_state(str(tmp_path / "state"))
    assert len(list((tmp_path / "state").glob("custom_checkpoint_*"))) == 1


def test_a_folder_without_a_state_or_with_a_stranger_s_is_refused(tmp_path):
    class Other:
        def state_dict(self):
            return {"a": 1}

        def load_state_dict(self, state):
            pass

    bare, strange, own = build(), build(), build()
    bare[0].save_state(str(tmp_path / "bare"))
    strange[0].register_for_checkpointing(Other())
    strange[0].save_state(str(tmp_path / "strange"))
    criterion = nn.CrossEntropyLoss()
    attach(own[0], own[2], criterion, episode_length=3)
    own[0].save_state(str(tmp_path / "other"))
    stack = build()
    episodes = attach(stack[0], stack[2], criterion)
    with pytest.raises(RuntimeError, match="Number of custom checkpoints"):
        stack[0].load_state(str(tmp_path / "bare"))
    with pytest.raises(ValueError, match="state: must come from state_dict"):
        stack[0].load_state(str(tmp_path / "strange"))
    with pytest.raises(ValueError, match="saved under other settings"):
        stack[0].load_state(str(tmp_path / "other"))
    assert episodes.step_count == 0
    with pytest.raises(ValueError, match="accelerator: must have"):
        attach(3, stack[2], criterion)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_recorded_loss_is_the_criterion_s_whatever_is_accumulated(accumulate):
    class Constant(nn.CrossEntropyLoss):
        def forward(self, outputs, targets):
            return super().forward(outputs, targets) * 0 + 0.7

    stack, criterion = build(accumulate), Constant()
    episodes = attach(stack[0], stack[2], criterion)
    run(*stack, criterion)
    assert episodes.step_count == 12 // accumulate
    losses = [record.loss_start for record in episodes.records]
    assert losses == pytest.approx([0.7] * len(losses))


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_overflow_do_not_count(fused):
    from accelerate.optimizer import AcceleratedOptimizer
    from accelerate.state import AcceleratorState

    from hypernudge.episodes import EpisodicScheduler

    AcceleratorState(cpu=True)
    model = network()
    inner = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = AcceleratedOptimizer(inner, device_placement=False, scaler=scaler)
    episodes = EpisodicScheduler(optimizer, *AXES, episode_length=2, seed=0)
    for step, (inputs, targets) in enumerate(DataLoader(Digits(), batch_size=4)):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        scaler.scale(loss).backward()
        if step % 3 == 0:
            model[0].weight.grad.fill_(math.inf)
        episodes.observe(loss)
        optimizer.step()
        optimizer.zero_grad()
        assert inner.param_groups[0]["lr"] == 0.1
    assert episodes.step_count == 8
