import math

import pytest
import torch
from torch import nn

from benchmarks.episodes_effect.methods import FIRST_RULE
from hypernudge.episodes import Alignment, EpisodicScheduler
from hypernudge.episodes.controllers.coordinate_sample import CoordinateSample


def problem(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype) * 0.4)

    def batch():
        inputs = torch.randn(32, 6, generator=generator, dtype=dtype)
        targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
        return nn.functional.cross_entropy(model(inputs), targets)

    return model, batch


def backward(model, batch):
    model.zero_grad()
    batch().backward()


def reference_multipliers(rate, steps, start):
    """The rule as written, with clones of everything and a read per step: the reference implementation."""
    model, batch = problem(dtype=torch.float64)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    multiplier, cosines, update = start, [], None
    seen = []
    for _ in range(steps):
        backward(model, batch)
        verdict = None
        if update is not None:
            gradient = torch.cat([p.grad.flatten() for p in parameters])
            cosines.append(-(gradient @ update).item() / (gradient.norm() * update.norm()).item())
            z = sum(cosines) / math.sqrt(sum(h * h for h in cosines))
            verdict = 2.0 if z > 1.7 else 0.7 if z < -2.0 else 1.0 if len(cosines) == 15 else None
        before = torch.cat([p.detach().flatten().clone() for p in parameters])
        optimizer.param_groups[0]["lr"] = rate * multiplier
        optimizer.step()
        seen.append(multiplier)
        update = torch.cat([p.detach().flatten() for p in parameters]) - before
        if verdict is not None:
            multiplier = min(max(multiplier * verdict, 1e-4), 1e4)
            cosines, update = [], None
    return seen


@pytest.mark.parametrize("rate", [0.01, 0.3, 30.0])
def test_cheap_rule_with_everything_probed_is_the_rule_as_written(rate):
    model, batch = problem(dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    episodes = EpisodicScheduler(optimizer, controller=Alignment(**FIRST_RULE))
    seen = []
    for _ in range(250):
        backward(model, batch)
        optimizer.step()
        seen.append(episodes.records[-1].selection.values[0] if episodes.current is None else None)
        seen[-1] = seen[-1] if seen[-1] is not None else episodes.current.values[0]
    assert seen == pytest.approx(reference_multipliers(rate, 250, 0.01), rel=1e-12)
    assert len({round(value, 9) for value in seen}) > 3


def test_too_small_a_rate_grows_and_too_large_a_rate_shrinks():
    finals = {}
    for rate in (1e-4, 100.0):
        model, batch = problem()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        alignment = Alignment(initial_multiplier=1.0, every=2, look_every=3)
        EpisodicScheduler(optimizer, controller=alignment)
        for _ in range(400):
            backward(model, batch)
            optimizer.step()
        finals[rate] = alignment.multiplier
    assert finals[1e-4] > 8
    assert finals[100.0] < 0.1


def test_sampling_reads_only_its_share_and_resumes_bit_for_bit(tmp_path):
    def run(cut):
        model, batch = problem()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        options = {"every": 3, "look_every": 2, "coordinates": 30, "seed": 5}
        episodes = EpisodicScheduler(optimizer, controller=Alignment(**options))
        for step in range(120):
            if step == cut:
                path = tmp_path / "state.pt"
                torch.save([optimizer.state_dict(), episodes.state_dict()], path)
                saved = torch.load(path, weights_only=True)
                episodes.detach()
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                optimizer.load_state_dict(saved[0])
                episodes = EpisodicScheduler(optimizer, controller=Alignment(**options))
                episodes.load_state_dict(saved[1])
            backward(model, batch)
            optimizer.step()
        sampled = episodes.controller._probe._sample.parameters().numel()
        assert sampled < 0.5 * sum(p.numel() for p in model.parameters())
        values = [record.selection.values for record in episodes.records]
        return values, [p.detach().clone() for p in model.parameters()]

    whole = run(None)
    assert len(set(whole[0])) > 2
    for cut in (1, 2, 17, 40, 41, 42, 43, 77):
        values, parameters = run(cut)
        assert values == whole[0]
        assert all(torch.equal(a, b) for a, b in zip(parameters, whole[1], strict=True))


def test_the_base_rate_is_untouched_between_steps():
    model, batch = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    EpisodicScheduler(optimizer, controller=Alignment())
    for _ in range(10):
        backward(model, batch)
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"up": 1.0}, "up: must be above 1"),
        ({"down": 1.0}, r"down: must lie in \(0, 1\)"),
        ({"low": 2.0, "high": 1.0}, "low: must be above 0 and at most high"),
        ({"z_up": 0.0}, "z_up: must be above 0"),
        ({"z_at_base": 3.0}, "z_at_base: must be two thresholds or None"),
        ({"z_at_base": (3.0, 0.0)}, "z_at_base: must be above 0"),
        ({"samples": 0}, "samples: must be at least 1"),
        ({"samples": 4}, "min_samples: must be at most samples, warmup_samples and base_samples"),
        ({"every": 0}, "every: must be at least 1"),
        ({"coordinates": 0}, "coordinates: must be at least 1"),
        ({"lag": -1}, "lag: must be at least 0"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Alignment(**wrong)


def test_former_names_of_arguments_are_accepted():
    former = {"start": 0.1, "z_back": 2.0, "z_again": 2.2, "z_leave": (2.5, 2.0), "z_ramp": 0.4}
    present = {
        **{"initial_multiplier": 0.1, "z_recover": 2.0, "z_above_base": 2.2, "z_at_base": (2.5, 2.0)},
        **{"z_warmup": 0.4, "warmup_samples": 16, "base_samples": 90},
    }
    one, other = Alignment(**former, ramp_samples=16, home_samples=90), Alignment(**present)
    assert one.fingerprint() == other.fingerprint() != Alignment().fingerprint()
    with pytest.raises(ValueError, match="z_at_base: must be given once, but 'z_leave' is its former name"):
        Alignment(z_leave=(2.5, 2.0), z_at_base=(2.5, 2.0))


def test_without_axes_the_scheduler_aligns_and_needs_no_loss():
    model, batch = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with EpisodicScheduler(optimizer) as episodes:
        assert isinstance(episodes.controller, Alignment)
        for _ in range(40):
            backward(model, batch)
            optimizer.step()
    assert len({record.selection.values for record in episodes.records}) > 1
    with pytest.raises(ValueError, match="controller: decides alone, but got"):
        EpisodicScheduler(optimizer, controller=Alignment(), episode_length=3)
    # Two schedulers without a seed may share a checkpoint: what is probed does not depend on the seed drawn.
    again = EpisodicScheduler(optimizer)
    again.load_state_dict(episodes.state_dict())
    assert again.controller.multiplier == episodes.controller.multiplier


def taken_of(sample, optimizer):
    sample.look_up(optimizer)
    return sample.parameters()


def test_a_large_model_is_probed_in_part_and_a_moved_one_where_it_lies():
    parameters = [torch.nn.Parameter(torch.randn(20, 30)) for _ in range(40)]
    frozen = torch.nn.Parameter(torch.randn(5), requires_grad=False)
    optimizer = torch.optim.SGD([*parameters, frozen], lr=0.1)
    sample = CoordinateSample(960, seed=0)
    taken = taken_of(sample, optimizer)
    assert 900 < taken.numel() < 1020
    for parameter in parameters:
        parameter.grad = parameter.detach().clone()
    assert torch.equal(sample.gradients(), taken)
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(2)  # in place, as an optimizer does
    assert torch.equal(taken_of(sample, optimizer), 2 * taken)
    for parameter in parameters:
        parameter.data = parameter.data * 2  # elsewhere in memory
    assert torch.equal(taken_of(sample, optimizer), 4 * taken)
    parameters[0].grad = None
    assert sample.gradients().numel() == taken.numel()


def test_rows_that_are_not_contiguous_are_followed():
    weight = torch.nn.Parameter(torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    sample = CoordinateSample(1 << 20, seed=0)
    before = taken_of(sample, optimizer)
    with torch.no_grad():
        weight.add_(1.0)
    assert torch.equal(taken_of(sample, optimizer), before + 1.0)


def test_a_long_training_is_probed_less_often():
    model, batch = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    alignment = Alignment(initial_multiplier=1.0, settled_every=4, settled_steps=10)
    EpisodicScheduler(optimizer, controller=alignment)
    begun = []
    for step in range(60):
        backward(model, batch)
        optimizer.step()
        if alignment._probe.waits:
            begun.append(step)
    # Every step up to 20, every second one from there, every third from 30, every fourth from 40.
    assert begun == [*range(20), *range(20, 30, 2), *range(30, 40, 3), *range(40, 60, 4)]
    warming = Alignment(settled_every=4, settled_steps=1)
    warming._tick = 999
    assert warming.is_warming_up and warming._rarer == 1
    default = Alignment(initial_multiplier=1.0)
    default._tick = 1999
    assert default._rarer == 1
    default._tick = 10**6
    assert default._rarer == 8


def test_a_probe_takes_few_operations_and_a_step_without_one_takes_none():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Operations.count += 1
            return function(*args, **(kwargs or {}))

    def operations(**options):
        model, batch = problem()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        if options:
            EpisodicScheduler(optimizer, controller=Alignment(initial_multiplier=1.0, **options))
        for _ in range(5):
            backward(model, batch)
            optimizer.step()
        before = Operations.count
        with Operations():
            for _ in range(8):
                backward(model, batch)
                optimizer.step()
        return Operations.count - before

    plain, always, seldom = operations(), operations(every=1), operations(every=8)
    # Of four tensors: flatten them and the gradients, join both, subtract, three products and their reads.
    assert 0 < always - plain <= 8 * 20
    assert seldom - plain <= 0.25 * (always - plain)
