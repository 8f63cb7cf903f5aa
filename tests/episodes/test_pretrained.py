"""The default of known length at a pretrained network: what it does, and that every trainer does it."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from hypernudge.episodes import AnnealedAlignment, EpisodicScheduler, GradientNoise
from hypernudge.errors import InvalidArgumentError
from tests.episodes.helpers import same
from tests.episodes.known_length import multipliers, sgd, train
from tests.episodes.pretrained import network, plant, problem
from tests.episodes.trainers import Digits, hf_trainer, lightning_module, lightning_trainer, quiet

STEPS = 120
SAID = r"taken for pretrained \(100% .* pass peak=1 to say that it is meant, or peak='new'"

pytestmark = pytest.mark.filterwarnings("ignore:the search for a rate ended")


def run(*, pretrained, optimizer=sgd, schedule=None, **options):
    """Return the multipliers of a training, its parameters at the end, and the scheduler."""
    found = problem(pretrained=pretrained)
    made = optimizer(found)
    episodes = EpisodicScheduler(made, total_steps=STEPS, **options)
    falls = None if schedule is None else schedule(made)
    return multipliers(train(found, made, episodes, STEPS, falls)), found.parameters(), episodes


def linear(optimizer):
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)


@pytest.mark.parametrize("schedule", [None, linear])
@pytest.mark.parametrize("pretrained", [True, False])
def test_the_default_is_one_of_the_two_peaks_to_the_bit(pretrained, schedule):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rates, ends, episodes = run(pretrained=pretrained, schedule=schedule)
    said = [str(one.message) for one in caught if "pretrained" in str(one.message)]
    assert len(said) == pretrained
    assert episodes.pretrained is pretrained
    assert episodes.metrics()["episodes/pretrained"] == float(pretrained)
    same_rates, same_ends, forced = run(
        pretrained=pretrained, schedule=schedule, peak=1 if pretrained else "new"
    )
    assert rates == same_rates and same(ends, same_ends)
    assert forced.pretrained is None and "episodes/pretrained" not in forced.metrics()
    other, other_ends, _ = run(pretrained=pretrained, schedule=schedule, peak="new" if pretrained else 1)
    assert rates != other and not same(ends, other_ends)


def test_it_is_said_once_with_the_remedy_before_the_first_step():
    found = problem(pretrained=True)
    optimizer = sgd(found)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS)
    assert episodes.pretrained is None  # weights may be loaded after the scheduler was attached
    with pytest.warns(UserWarning, match=SAID):
        train(found, optimizer, episodes, 1)
    train(found, optimizer, episodes, 2, start=1)  # a second warning would be an error
    assert "matplotlib" not in episodes.metrics()


def test_where_warnings_are_errors_the_step_can_be_taken_again():
    found = problem(pretrained=True)
    optimizer = sgd(found)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS)
    before = found.parameters()
    with pytest.raises(UserWarning, match="taken for pretrained"):
        train(found, optimizer, episodes, 1)
    assert same(before, found.parameters()) and episodes.step_count == 0
    train(found, optimizer, episodes, 1)
    assert episodes.pretrained and episodes.step_count == 1


@pytest.mark.filterwarnings("ignore:the network is taken for pretrained")
@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_resumed_training_keeps_the_decision_to_the_bit(tmp_path, pretrained, cut):
    rates, ends, _ = run(pretrained=pretrained)
    found = problem(pretrained=pretrained)
    optimizer = sgd(found)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS)
    train(found, optimizer, episodes, cut)
    torch.save([optimizer.state_dict(), episodes.state_dict()], tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    again = sgd(found)
    again.load_state_dict(saved[0])
    resumed = EpisodicScheduler(again, total_steps=STEPS)
    resumed.load_state_dict(saved[1])
    assert resumed.pretrained is pretrained
    assert multipliers(train(found, again, resumed, STEPS - cut, start=cut)) == rates[cut:]
    assert same(found.parameters(), ends)


@pytest.mark.filterwarnings("ignore:the network is taken for pretrained")
def test_a_resumed_training_does_not_look_again():
    found = problem(pretrained=False)
    optimizer = sgd(found)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS)
    train(found, optimizer, episodes, 30)
    state = copy.deepcopy(episodes.state_dict())
    plant(found.model)  # by now it would be taken for pretrained
    fresh = EpisodicScheduler(sgd(found), total_steps=STEPS)
    fresh.load_state_dict(state)
    train(found, fresh.optimizer, fresh, 5, start=30)
    assert fresh.pretrained is False
    fresh.extend(2 * STEPS)
    train(found, fresh.optimizer, fresh, 5, start=35)
    assert fresh.pretrained is False
    attached = EpisodicScheduler(sgd(found), total_steps=STEPS)
    train(found, attached.optimizer, attached, 1)
    assert attached.pretrained is True


@pytest.mark.filterwarnings("ignore:the network is taken for pretrained")
def test_it_goes_with_bandits_on_other_axes_and_is_shown(tmp_path):
    found = problem(pretrained=True)
    optimizer = sgd(found)
    episodes = EpisodicScheduler(optimizer, GradientNoise([0, 0.1]), total_steps=STEPS, seed=1)
    train(found, optimizer, episodes, 20)
    assert episodes.pretrained and episodes.metrics()["episodes/pretrained"] == 1.0
    pytest.importorskip("matplotlib", reason="extra `harness`")
    titles = [axes.get_title(loc="left") for axes in episodes.plot(path=tmp_path / "a.svg").axes]
    assert titles[0].endswith("20 steps, taken for pretrained")


def test_a_training_without_an_end_does_not_look():
    found = problem(pretrained=True)
    optimizer = sgd(found)
    episodes = EpisodicScheduler(optimizer)
    train(found, optimizer, episodes, 3)
    assert episodes.pretrained is None and "episodes/pretrained" not in episodes.metrics()


@pytest.mark.parametrize("peak", ["pretrained", "1", True, [1]])
def test_what_is_no_peak_is_refused(peak):
    with pytest.raises(InvalidArgumentError, match=r"^peak: must be a"):
        EpisodicScheduler(sgd(problem(pretrained=False)), total_steps=9, peak=peak)


def test_a_peak_of_numpy_loads_with_weights_only(tmp_path):
    for peak in (np.str_("new"), np.float32(1.0)):
        episodes = EpisodicScheduler(sgd(problem(pretrained=False)), total_steps=9, peak=peak)
        torch.save(episodes.state_dict(), tmp_path / "state.pt")
        episodes.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        episodes.detach()


def test_a_state_whose_share_is_damaged_is_refused():
    state = AnnealedAlignment(9).state_dict()
    with pytest.raises(InvalidArgumentError, match="share: must be"):
        AnnealedAlignment(9).load_state_dict({**state, "share": -1.0})


class TestTrainers:
    def test_lightning(self, tmp_path):
        pytest.importorskip("lightning.pytorch", reason="the extra `trainers` is not installed")
        from hypernudge.integrations.lightning import EpisodesCallback

        module = lightning_module()
        module.net = plant(network(2))
        callback = EpisodesCallback()
        with quiet():
            lightning_trainer(tmp_path, callback).fit(module, DataLoader(Digits(), batch_size=4))
        assert callback.schedulers[0].pretrained is True
        module.net, callback = network(2), EpisodesCallback()
        with quiet():
            lightning_trainer(tmp_path, callback).fit(module, DataLoader(Digits(), batch_size=4))
        assert callback.schedulers[0].pretrained is False

    def test_transformers(self, tmp_path):
        pytest.importorskip("transformers", reason="the extra `trainers` is not installed")
        from hypernudge.integrations.transformers import EpisodesTrainerCallback

        callback = EpisodesTrainerCallback()
        with quiet():
            trainer = hf_trainer(tmp_path, callback)
            trainer.train()
        assert callback.scheduler.pretrained is False
        fine, callback = plant(hf_trainer(tmp_path).model), EpisodesTrainerCallback()
        with quiet():
            trainer = hf_trainer(tmp_path, callback, options={"model": fine}, logging_steps=1)
            trainer.train()
        assert callback.scheduler.pretrained is True
        assert trainer.state.log_history[0]["episodes/pretrained"] == 1.0

    @pytest.mark.filterwarnings("ignore:the network is taken for pretrained")
    def test_accelerate(self):
        pytest.importorskip("accelerate", reason="the extra `trainers` is not installed")
        from accelerate import Accelerator

        from hypernudge.integrations.accelerate import attach

        for model, pretrained in ((network(2), False), (plant(network(2)), True)):
            accelerator = Accelerator(cpu=True)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            model, optimizer, loader = accelerator.prepare(
                model, optimizer, DataLoader(Digits(), batch_size=4)
            )
            episodes = attach(accelerator, optimizer, loader=loader)
            for inputs, targets in loader:
                optimizer.zero_grad()
                accelerator.backward(nn.functional.cross_entropy(model(inputs), targets))
                optimizer.step()
            assert episodes.pretrained is pretrained
