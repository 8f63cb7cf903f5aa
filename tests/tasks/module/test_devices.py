"""What holds on every device. The CPU's twins of the tests that are marked `cuda` take the same paths."""

import pytest
import torch

from hypernudge import ASHA, SGD, tune
from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.serial import SerialEngine
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.task import TrainingState
from hypernudge.trial import Config, History, Job
from hypernudge.warmstart.measurement.measure import (
    HyperGradientSpec,
    curvature_rate,
    curvature_rates,
    hyper_gradient,
    hyper_gradients,
)
from tests.engine.tasks import digits
from tests.tasks.module.small import CONFIG, NETWORKS, SPACE, Plain, plain_task, task_of

pytestmark = pytest.mark.filterwarnings("ignore:.*(cuDNN|cudnn|TensorFloat32).*:UserWarning")
WITHOUT = not torch.cuda.is_available()
CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.cuda, pytest.mark.skipif(WITHOUT, reason="needs a CUDA device, there is none")],
)
RATES = {"sgd": 0.02, "adamw": 0.002}


@pytest.fixture(params=["cpu", CUDA])
def device(request):
    return request.param


def trained(task, units, seed=7, config=CONFIG):
    """Return a trial after some units, with its scores."""
    state, scores = task.start(seed), []
    for _ in range(units):
        assert task.advance(state, config)
        scores.append(task.evaluate(state, "validation"))
    return state, scores


def weights(state):
    """Return what training has changed, on the CPU in float64."""
    found = state.training._changing()
    return {name: value.detach().cpu().double() for name, value in found.items()}


def close(one, other, tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_what_is_measured(name, rule, device):
    config = {**CONFIG, "lr": RATES[rule], "weight_decay": 0.05}
    task = task_of(name, optimizer=rule, precision="float64", steps_per_unit=20, device=device)
    state, _ = trained(task, 1, config=config)
    measured = task.at(config)
    twin = TrainingState(measured.init(7), {}, 7)
    assert {value.device.type for value in twin.params.values()} == {device}
    twin.optimizer_state = measured.optimizer.init(measured.trained(twin.params))
    assert measured.advance(twin, config)
    params = {
        name.removeprefix("model."): value.detach().cpu().double() for name, value in twin.params.items()
    }
    close(weights(state), params, 1e-10 if device == "cpu" else 1e-8)


@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize("name", ["resnet", "plain"])
def test_devices_agree_where_nothing_is_drawn(name, rule, device):
    config = {**CONFIG, "lr": RATES[rule]}
    options = {"optimizer": rule, "precision": "float64", "units": 3, "schedule": "cosine"}
    if name == "plain":
        make, options = plain_task, {**options, "model": lambda hp: Plain(dropout=0.0)}
    else:
        make, options = lambda **given: task_of("resnet", **given), options
    here, scores = trained(make(device="cpu", **options), 3, config=config)
    there, found = trained(make(device=device, **options), 3, config=config)
    close(weights(there), weights(here), 1e-8)
    assert found == scores


def test_mini_batches_are_those_of_the_cpu(device):
    for name in NETWORKS:
        here, there = (task_of(name, device=place)._reader({}) for place in ("cpu", device))
        for step in (0, 1, 5):
            for a, b in zip(here.read(3, step), there.read(3, step), strict=True):
                assert torch.equal(a, b.cpu())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trial_goes_on_from_its_file(name, device, tmp_path):
    options = {
        "optimizer": "adamw",
        "precision": "float64",
        "units": 4,
        "schedule": {"name": "cosine", "warmup": 0.2},
        "fixed": {"ema": 0.5, "grad_clip": 1.0},
        "device": device,
    }
    straight, scores = trained(task_of(name, **options), 4)
    for killed in (1, 2, 3):
        folder = tmp_path / str(killed)
        trained(task_of(name, checkpoint_dir=folder, **options), killed)
        state, found = trained(task_of(name, checkpoint_dir=folder, **options), 4)
        close(weights(state), weights(straight), 0.0 if device == "cpu" else 1e-8)
        assert found == scores


def test_a_trial_goes_on_on_another_device(device, tmp_path):
    options = {"precision": "float64", "units": 4, "fixed": {"ema": 0.5}}
    straight, _ = trained(task_of("resnet", device="cpu", **options), 4)
    for number, (before, after) in enumerate([(device, "cpu"), ("cpu", device)]):
        folder = tmp_path / str(number)
        trained(task_of("resnet", device=before, checkpoint_dir=folder, **options), 2)
        state, _ = trained(task_of("resnet", device=after, checkpoint_dir=folder, **options), 4)
        assert state.training.params[0].device.type == after
        close(weights(state), weights(straight), 1e-8)


def test_trials_take_turns_in_memory(device):
    options = {"units": 2, "device": device}
    task = task_of("lm", **options)
    states = [task.start(seed) for seed in range(3)]
    for _ in range(2):
        for state in states:
            assert task.advance(state, CONFIG)
            task.evaluate(state, "validation")
    alone, _ = trained(task_of("lm", **options), 2, seed=2)
    close(weights(states[-1]), weights(alone), 0.0 if device == "cpu" else 1e-4)


def test_precision_and_layout_are_options(device):
    plain, _ = trained(task_of("resnet", device=device), 1)
    for options in (
        {"precision": "bf16"},
        {"channels_last": True},
        {"precision": "bf16", "channels_last": True},
    ):
        state, _ = trained(task_of("resnet", device=device, **options), 1)
        assert all(value.dtype == torch.float32 for value in state.training.params)
        last = state.training.model.blocks[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
        assert last or "channels_last" not in options
        found, expected = weights(state), weights(plain)
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=0.1, atol=0.05, msg=name)


@pytest.mark.slow  # the compiler
@pytest.mark.filterwarnings("ignore")  # its own advice
@pytest.mark.parametrize("device", [CUDA])
def test_a_compiled_model_makes_the_same_steps(device):
    plain, scores = trained(plain_task(device=device, model=lambda hp: Plain(dropout=0.0)), 2)
    state, found = trained(plain_task(device=device, model=lambda hp: Plain(dropout=0.0), compile=True), 2)
    close(weights(state), weights(plain), 1e-3)
    assert found == pytest.approx(scores, abs=0.1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("policy", ["informed", "literal", "curvature_band"])
def test_warm_starts_measure_what_they_measure_on_the_cpu(name, policy, device):
    def nudge(place):
        task = task_of(name, precision="float64", device=place)
        return build("warm_start", {"name": policy})(task, Config(CONFIG), History(), Streams(0))

    here, there = nudge("cpu"), nudge(device)
    assert not there.flagged and "raised" not in there.reason and there.flops > 0
    if name in ("resnet", "frozen"):  # a GPU draws dropout otherwise, and has other kernels for attention
        assert there.flops == here.flops
        assert there.config == pytest.approx(here.config, rel=1e-6)


def test_trials_measured_together_are_those_measured_alone(device, monkeypatch):
    def alone(*arguments):
        raise AssertionError("measured one by one")

    task = plain_task(
        model=lambda hp: Plain(dropout=0.0),
        optimizer=SGD(decay="matrices"),
        device=device,
        precision="float64",
    )
    configs, seeds = [Config({**CONFIG, "lr": lr}) for lr in (0.01, 0.1)], [1, 2]
    spec = HyperGradientSpec("lookahead", 8)
    one_by_one = [
        hyper_gradient(task, config, seed, spec) for config, seed in zip(configs, seeds, strict=True)
    ]
    rates = [curvature_rate(task, config, seed, 8)[0] for config, seed in zip(configs, seeds, strict=True)]
    with monkeypatch.context() as patched:
        for name in ("hyper_gradient", "curvature_rate"):
            patched.setattr(f"hypernudge.warmstart.measurement.measure.{name}", alone)
        together = hyper_gradients(task, configs, seeds, spec)
        found = [rate for rate, _ in curvature_rates(task, configs, seeds, 8)]
    for a, b in zip(together, one_by_one, strict=True):
        assert not a.fallback and a.gradient == pytest.approx(b.gradient, rel=1e-6, abs=1e-9)
    assert found == pytest.approx(rates, rel=1e-6)


def test_global_generators_are_left_as_they_were(device):
    def drawn():
        return [torch.rand(2).tolist(), torch.rand(2, device=device).tolist()]

    torch.manual_seed(11)
    expected = drawn()
    torch.manual_seed(11)
    task = task_of("lm", device=device)
    trained(task, 1)
    build("warm_start", {"name": "informed"})(task, Config(CONFIG), History(), Streams(0))
    assert drawn() == expected


def test_a_study_runs(device):
    task = task_of("lm", device=device)
    asha = ASHA(SPACE, max_units=3, eta=3, max_trials=4)
    found = tune(task, asha, seed=1, workers=2, warm_start="informed", engine="population")
    assert all(report.outcome == "ok" for report in found.reports)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_population_is_the_serial_engine(model, device):
    streams = Streams(5)

    def scores(make):
        task = digits(model)
        engine = make(task)
        configs = [task.space.sample(streams("config", i)).replace(lr=0.02) for i in range(5)]
        for i, config in enumerate(configs):
            engine.submit(Job(i, config, 0, 2))
        reports = sorted((engine.next() for _ in configs), key=lambda report: report.job.trial)
        assert all(report.error is None for report in reports)
        return [(unit.validation, unit.test) for report in reports for unit in report.units]

    serial = scores(lambda task: SerialEngine(task, streams.trial_seed, workers=5))
    together = scores(lambda task: PopulationEngine(task, streams.trial_seed, workers=5, device=device))
    for a, b in zip(serial, together, strict=True):
        assert b == pytest.approx(a, abs=1e-10)
