"""Hyper-gradients by finite differences: equal to exact ones, on every task without gradients, flagged."""

import math

import numpy as np
import pytest
import torch

from hypernudge import ASHA, Integer, Real, SearchSpace, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.space import Config
from hypernudge.tasks.curves.tabulated import Tabulated
from hypernudge.trial import History
from hypernudge.warmstart.failures import total_failure
from hypernudge.warmstart.measurement import differences, measure
from hypernudge.warmstart.measurement.measure import HyperGradientSpec
from tests.engine.tasks import digits

POLICIES = ("literal", "multi_step", "random_step", "placebo")


class Valley:
    """A black box whose score is a known function of its hyper-parameters and units, with noise by seed."""

    name, metric, metric_range = "valley", "negative distance", (-math.inf, 0.0)

    def __init__(self, sign=1.0, fails=False):
        self.space = SearchSpace(
            [Real("rate", 1e-3, 10.0, log=True), Real("share", 0.0, 1.0), Integer("size", 1, 8)]
        )
        self.sign, self.fails, self.trained = sign, fails, []

    def start(self, seed):
        return {"noise": np.random.default_rng(seed % 2**32).normal(), "seed": seed}

    def advance(self, state, hp):
        if self.fails:
            return False
        self.trained.append((state["seed"], dict(hp)))
        state["loss"] = (
            math.log(hp["rate"]) ** 2 + 3 * (hp["share"] - 0.25) ** 2 + hp["size"] + state["noise"]
        )
        return True

    def evaluate(self, state, split):
        return -self.sign * state["loss"]

    def unit_flops(self, hp):
        return 100.0 * hp["size"]


CONFIG = Config({"rate": 2.0, "share": 0.5, "size": 3})


def measured(task, config=CONFIG, **options):
    spec = HyperGradientSpec("lookahead", 128, **options)
    (found,) = measure.hyper_gradients(task, [config], [5], spec)
    return found


def test_a_black_box_is_measured_by_central_differences_in_the_unit_cube_and_charged_in_full():
    task = Valley()
    found = measured(task)
    # Central differences of a quadratic are exact; the noise of the seed is common to both ends.
    assert found.gradient == pytest.approx({"rate": 2 * math.log(2.0), "share": 1.5}, rel=1e-9)
    assert found.differences == "no gradient" and found.fallback
    assert found.flops == 4 * 300.0 and len(task.trained) == 4
    assert {seed for seed, _ in task.trained} == {5}  # common random numbers
    steps = [task.space.encode(hp) - task.space.encode(CONFIG) for _, hp in task.trained]
    step = differences.TRAINED_STEP
    assert np.allclose(steps, [[step, 0, 0], [-step, 0, 0], [0, step, 0], [0, -step, 0]])
    other = Valley()
    assert measured(other, index=1).gradient == pytest.approx(found.gradient)
    assert {seed for seed, _ in other.trained} != {5}  # a further step has other data


def test_at_an_edge_the_difference_is_one_sided_and_nothing_leaves_the_space():
    task = Valley()
    found = measured(task, Config({"rate": 10.0, "share": 0.0, "size": 3}))
    for _, hp in task.trained:
        task.space.check(hp)
    step = differences.TRAINED_STEP
    assert found.gradient["share"] == pytest.approx(3 * ((step - 0.25) ** 2 - 0.25**2) / step)
    assert math.isfinite(found.gradient["rate"]) and found.gradient["rate"] > 0


def test_only_what_is_named_is_moved():
    task = Valley()
    assert measured(task, only=("share",)).gradient.keys() == {"share"} and len(task.trained) == 2


@pytest.mark.parametrize("objective", ["lookahead", "direct"])
@pytest.mark.parametrize("make", ["bowl", "mlp", "cnn"])
def test_finite_differences_agree_with_exact_hyper_gradients_to_one_percent(make, objective, bowl):
    task = bowl if make == "bowl" else digits(make, "float64")
    for number in range(3):
        config = task.space.sample(Streams(1)("config", number))
        exact, found = (
            measure.hyper_gradients(
                task, [config], [number], HyperGradientSpec(objective, 64, estimator=estimator)
            )[0]
            for estimator in ("exact", "finite_differences")
        )
        assert not exact.fallback and found.differences == "as asked for"
        a, b = (np.array([m.gradient[n] for n in task.space.names]) for m in (exact, found))
        inside = np.array([0 < p.encode(config[p.name]) < 1 for p in task.space])
        assert np.linalg.norm((a - b)[inside]) <= 0.01 * np.linalg.norm(a)
        assert found.flops > exact.flops  # two evaluations per hyper-parameter


def test_all_coordinates_at_once_are_those_one_by_one(bowl, monkeypatch):
    config = bowl.space.sample(Streams(1)("config", 0))
    spec = HyperGradientSpec("lookahead", 64, estimator="finite_differences")
    together = measure.hyper_gradients(bowl, [config], [3], spec)[0]

    def refuse(*given):
        raise RuntimeError("no rule for this operation")

    monkeypatch.setattr(differences, "_together", refuse)
    alone = measure.hyper_gradients(bowl, [config], [3], spec)[0]
    assert alone.gradient == pytest.approx(together.gradient, rel=1e-9, abs=1e-12)
    assert alone.flops == together.flops


def test_an_estimator_says_what_may_serve(bowl):
    policy = build("warm_start", {"name": "literal", "estimator": "finite_differences"})
    nudge = policy(bowl, bowl.space.middle(), History(), Streams(0))
    assert nudge.flagged and nudge.changed and nudge.kind == "finite_differences"
    assert nudge.reason.endswith("(finite differences: as asked for)")
    exact = build("warm_start", {"name": "literal", "estimator": "exact"})
    with pytest.raises(InvalidArgumentError, match="literal needs a GradientTask, but got 'Valley'"):
        tune(Valley(), ASHA(Valley().space), seed=0, max_trials=1, warm_start=exact)
    with pytest.raises(InvalidArgumentError, match=r"^estimator: must be one of 'auto', 'exact'"):
        build("warm_start", {"name": "random_step", "estimator": "forward"})
    bowl.loss = lambda params, batch, hp: Once.apply(batch["x"] @ params["w"]).mean() ** 1.5
    assert (
        "RuntimeError"
        in tune(bowl, ASHA(bowl.space, max_units=1), seed=0, max_trials=1, warm_start=exact)
        .history.trials[0]
        .nudge.reason
    )


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad


@pytest.mark.parametrize("engine", ["serial", "population"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_study_of_a_black_box_runs_under_every_policy_flagged_and_charged(name, engine):
    task, steps = Valley(), 5 if name == "multi_step" else 1
    study = tune(
        task, ASHA(task.space, max_units=3), seed=0, max_trials=6, workers=2, warm_start=name, engine=engine
    )
    for trial in study.history.trials:
        nudge = trial.nudge
        assert nudge.flagged and nudge.kind == "finite_differences" and "finite differences" in nudge.reason
        assert nudge.flops == steps * 4 * 100.0 * trial.config["size"]
        assert set(nudge.gradient) == {"rate", "share"} and nudge.gradient_norm > 0
        assert trial.config["size"] == trial.sampled["size"]  # whole numbers are not moved
        assert nudge.changed == (name != "placebo") == (trial.config != trial.sampled)
        first = next(r for r in study.reports if r.job.trial == trial.number)
        assert first.flops == nudge.flops + first.job.until * 100.0 * trial.config["size"]
    assert study.warnings == () and total_failure(study.history) == ""


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_steps_go_downhill_whichever_way_a_score_is_to_go(direction):
    task = Valley(sign=1.0 if direction == "maximize" else -1.0)
    study = tune(
        task, ASHA(task.space, max_units=1), seed=0, max_trials=8, direction=direction, warm_start="literal"
    )
    for trial in study.history.trials:
        before, after = (abs(math.log(c["rate"])) for c in (trial.sampled, trial.config))
        assert after < before or trial.sampled["rate"] in (1e-3, 10.0)


def test_a_training_that_diverges_leaves_the_configuration_as_it_was():
    task = Valley(fails=True)
    for name in POLICIES:
        nudge = build("warm_start", {"name": name})(task, CONFIG, History(), Streams(0))
        assert nudge.flagged and nudge.kind == "not_finite" and nudge.config == CONFIG
        assert nudge.flops == 1200.0


def test_a_table_of_curves_is_stepped_from_row_to_row(tmp_path):
    rng = np.random.default_rng(0)
    hp = np.stack([10 ** rng.uniform(-4, 0, 40), rng.uniform(0, 1, 40)], axis=1)
    valid = (np.log10(hp[:, :1]) + 2) ** 2 + hp[:, 1:] + np.linspace(1, 0, 5)
    np.savez(tmp_path / "curves.npz", hp=hp, hp_names=["lr", "share"], valid=valid)
    task = Tabulated(tmp_path / "curves.npz")
    for name in POLICIES:
        policy = {"name": name} if name == "placebo" else {"name": name, "eta_h": 1.0}
        study = tune(task, ASHA(task.space, max_units=5), seed=0, max_trials=10, warm_start=policy)
        assert {report.outcome for report in study.reports} == {"ok"}
        assert all(trial.nudge.kind == "finite_differences" for trial in study.history.trials)
        assert all(trial.config in task.table.row_of for trial in study.history.trials)
        moved = [trial.nudge.changed for trial in study.history.trials]
        assert any(moved) == (name != "placebo")
