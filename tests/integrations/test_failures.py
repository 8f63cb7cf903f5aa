"""A warm start that fails in another tool's study: said with its cause, and by the count."""

import logging

import optuna
import pytest
from optuna.distributions import FloatDistribution

from hypernudge import CurvatureBand, Informed, ModuleLoss
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._adapter import WarmStartAdapter
from hypernudge.integrations._external_space import ExternalSpace
from hypernudge.integrations.optuna import RECORD, WarmStartSampler
from hypernudge.space import Categorical, Real, SearchSpace
from hypernudge.task import GradientTask
from hypernudge.trial import History, Started
from tests.integrations.helpers import Tenfold, X, Y, loss, model, no_model, training

CAUSE = "the warm start raised RuntimeError: out of memory"


def space():
    declared = ExternalSpace()
    declared.real("lr", 1e-4, 1.0, log=True)
    return declared


def drive(adapter, n, values=None):
    """Nudge `n` trials as a tool's study does; return their nudges."""
    history = History()
    for number in range(n):
        _, nudge = adapter(values or {"lr": 1e-3}, history)
        history.append(Started(number, nudge.config, nudge, 0.0))
    return [trial.nudge for trial in history.trials]


@pytest.mark.parametrize(
    "policy", ["informed", "probe_band", "placebo", "curvature_band", "newton", "literal"]
)
def test_the_reason_stays_the_cause_and_the_count_is_said(policy, caplog):
    with caplog.at_level(logging.WARNING):
        nudges = drive(WarmStartAdapter(ModuleLoss(no_model, (X, Y), loss), space(), policy), 12)
    assert all(nudge.flagged and CAUSE in nudge.reason for nudge in nudges)
    said = [record.getMessage() for record in caplog.records]
    each, total, end = said[:3], said[3:-1], said[-1]
    assert all(line.startswith(f"warm start of trial {n}: {CAUSE}") for n, line in enumerate(each))
    assert total == [
        f"warm start: failed at each of the {count} trials so far, trained as sampled; the first: {CAUSE}"
        for count in (3, 10)
    ]
    assert (
        end == f"warm start: failed at each of 12 trials, trained as sampled; the first, at trial 0: {CAUSE}"
    )


def test_one_that_works_is_told_of_single_failures_only(caplog):
    class Sometimes(Tenfold):
        def __call__(self, task, sampled, history, streams):
            if len(history.trials) % 2:
                raise RuntimeError("not today")
            return super().__call__(task, sampled, history, streams)

    drive(WarmStartAdapter(training(), space(), Sometimes()), 12)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 6 and all("not today" in line for line in said)


def test_what_was_out_of_bounds_is_no_failure_of_the_policy():
    history, adapter = History(), WarmStartAdapter(training(), space())
    for number in range(5):
        values, nudge = adapter({"lr": 50.0 if number < 4 else 1e-3}, history)
        history.append(Started(number, nudge.config, nudge, 0.0))
    *outside, last = (trial.nudge for trial in history.trials)
    assert {nudge.policy for nudge in outside} == {"none"} and all(nudge.flagged for nudge in outside)
    assert last.measurements and not last.flagged and values["lr"] == last.config["lr"]


def test_a_loss_that_can_never_work_stops_the_first_trial_and_no_later_one():
    calls = []

    def spoiled(model, batch, hp):
        calls.append(1)
        value = loss(model, batch, hp)
        return value if len(calls) < 3 else value.repeat(2)

    never = WarmStartAdapter(ModuleLoss(model, (X, Y), lambda model, batch, hp: model(batch[0])), space())
    with pytest.raises(InvalidArgumentError, match="loss: must return a scalar"):
        drive(never, 1)
    nudges = drive(
        WarmStartAdapter(ModuleLoss(model, (X, Y), spoiled), space(), CurvatureBand(batch_size=32)), 4
    )
    assert [nudge.flagged for nudge in nudges][:2] == [False, True]
    assert "loss: must return a scalar" in nudges[1].reason


class Own(GradientTask):
    """A task of one's own, whose space is not quite the tool's."""

    name, batch_size, steps_per_unit = "own", 8, 4
    space = SearchSpace([Real("lr", 1e-6, 10.0, log=True), Real("momentum", 0.0, 0.99)])

    def init(self, seed):
        return {"w": X[0].clone()}

    def batch(self, seed, step):
        return {"x": X[:8]}

    def loss(self, params, batch, hp):
        return ((batch["x"] @ params["w"] - 1.0) ** 2).mean()

    def score(self, params, split):
        return 0.0


class Fixed(Own):
    @property
    def space(self):
        return Own.space


def test_a_task_of_ones_own_is_seen_with_the_space_that_is_tuned():
    seen = []

    def policy(task, sampled, history, streams):
        seen.append((task.space, task))
        return Tenfold()(task, sampled, history, streams)

    task = Own()
    (nudge,) = drive(WarmStartAdapter(task, space(), policy), 1, {"lr": 0.5})
    assert nudge.config["lr"] == 1.0 and task.space is Own.space
    assert (
        seen[0][0] == SearchSpace([Real("lr", 1e-4, 1.0, log=True)])
        and seen[0][1].loss.__self__ is seen[0][1]
    )
    same = ExternalSpace({p.name: p for p in Own.space})
    drive(WarmStartAdapter(task, same, policy), 1, {"lr": 0.5, "momentum": 0.1})
    assert seen[1][1] is task
    with pytest.raises(InvalidArgumentError, match=r"^objective: its space must be the declared one"):
        WarmStartAdapter(Fixed(), space())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": Own}, "^objective: must be a ModuleLoss or a task"),
        ({"objective": model}, "^objective: must be a ModuleLoss or a task"),
        ({"warm_start": Informed}, "^warm_start: must be an instance"),
        ({"warm_start": {"name": "informed", "prior": "no/such/file"}}, "^prior: "),
        ({"seed": True}, "^seed: "),
        ({"names": "lr"}, "^names: must map names to names"),
        ({"names": {"lr": 3}}, "^names: must map names to names"),
    ],
)
def test_arguments(arguments, message):
    arguments = {"objective": training(), "declared": space(), **arguments}
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        WarmStartAdapter(**arguments)
    assert "\n" not in str(refused.value)


def test_an_optimizer_that_is_no_rule_is_refused():
    task = Own()
    task.optimizer = "sgd"
    with pytest.raises(InvalidArgumentError, match=r"^objective\.optimizer: must be an update rule"):
        WarmStartAdapter(task, space())


def test_declared_choices():
    declared = ExternalSpace()
    declared.choice("x", [1, 1, True, 1.0, None, None])
    assert declared.parameters["x"] == Categorical("x", (1, True, 1.0, None))
    assert [type(declared.own("x", value)) for value in (1, True, 1.0)] == [int, bool, float]
    declared.choice("one", ["a", "a"])
    assert "one" not in declared.parameters


def test_a_study_with_optuna_says_it_too(caplog):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {"lr": FloatDistribution(1e-4, 1.0, log=True)}
    sampler = WarmStartSampler(
        optuna.samplers.RandomSampler, ModuleLoss(no_model, (X, Y), loss), distributions
    )
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-4, 1.0, log=True), n_trials=5)
    assert all(CAUSE in trial.user_attrs[RECORD]["reason"] for trial in study.trials)
    assert "failed at each of the 3 trials so far" in caplog.text
