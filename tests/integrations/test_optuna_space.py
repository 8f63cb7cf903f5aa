"""A space that nobody declares twice: it is what the first trial suggests."""

import gc

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from hypernudge import Informed, ModuleLoss
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations.optuna import WarmStartSampler
from tests.integrations.helpers import Tenfold, X, Y, loss, no_model, training
from tests.integrations.test_optuna_records import all_true, records, run, usual


def learning(sampler=RandomSampler, policy=None, **options):
    """A study whose space nobody declared."""
    return optuna.create_study(
        sampler=WarmStartSampler(sampler, training(), warm_start=policy or Tenfold(), **options)
    )


def test_a_space_that_is_not_declared_is_what_the_first_trial_suggests():
    study = learning()
    study.optimize(usual, n_trials=6)
    all_true(study)
    first, *others = records(study)
    assert not first["changed"] and not first["flagged"] and "declares it" in first["reason"]
    assert first["sampled"] == first["config"] == study.trials[0].params
    assert all(record["changed"] and record["reason"] == "x10" for record in others)
    for trial, record in zip(study.trials[1:], others, strict=True):
        assert trial.params["lr"] == min(record["sampled"]["lr"] * 10, 1.0)


def test_a_learned_space_is_the_declared_one():
    declared = run(usual, policy=Tenfold(), n=5, seed=4)
    learned_ = learning(seed=4)
    learned_.optimize(usual, n_trials=5)
    for a, b in zip(records(declared)[1:], records(learned_)[1:], strict=True):
        assert (a["sampled"], a["config"], a["reason"]) == (b["sampled"], b["config"], b["reason"])


def test_trials_that_fail_declare_nothing():
    def objective(trial):
        value = usual(trial)
        if trial.number < 2:
            raise ValueError("not yet")
        return value

    study = learning()
    study.optimize(objective, n_trials=5, catch=(ValueError,))
    assert [record["changed"] for record in records(study)] == [False, False, False, True, True]


def test_another_process_learns_the_same_space(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    for _ in range(2):
        sampler = WarmStartSampler(RandomSampler, training(), warm_start=Tenfold())
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True, sampler=sampler)
        study.optimize(usual, n_trials=2)
    assert [record["changed"] for record in records(study)] == [False, True, True, True]
    assert study.sampler._past.before(study, 4).trials[0].nudge.kind == "given"


def test_a_learned_space_without_what_the_policy_needs_is_refused_by_the_second_trial():
    study = learning(policy="informed")
    with pytest.raises(InvalidArgumentError, match=r"^space: informed needs a bounded, continuous 'lr'"):
        study.optimize(lambda trial: trial.suggest_float("rate", 1e-4, 1.0), n_trials=3)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "informd"}, "^warm_start: "),
        ({"policy": Informed}, "^warm_start: "),
        ({"seed": "x"}, "^seed: "),
        ({"names": ["lr"]}, "^names: "),
        ({"sampler": "tpe"}, "^sampler: "),
    ],
)
def test_without_a_space_everything_else_is_checked_at_once(change, message):
    with pytest.raises(InvalidArgumentError, match=message):
        learning(**change)


def test_names_of_a_learned_space():
    study = learning(names={"rate": "lr"})
    study.optimize(lambda trial: trial.suggest_float("rate", 1e-4, 1.0, log=True), n_trials=3)
    assert [record["changed"] for record in records(study)] == [False, True, True]


@pytest.mark.parametrize("order", [("momentum", "lr"), ("lr", "momentum")])
def test_a_range_of_one_value_is_a_constant_and_switches_nothing_off(order):
    ranges = {"lr": (1e-5, 1.0), "momentum": (0.5, 0.5)}

    def objective(trial):
        return sum(trial.suggest_float(name, *ranges[name], log=name == "lr") for name in order)

    study = run(objective, policy=Tenfold(), n=4)
    for trial, record in zip(study.trials, records(study), strict=True):
        assert trial.params["momentum"] == record["config"]["momentum"] == 0.5
        assert record["config"]["lr"] == trial.params["lr"] == min(10 * record["sampled"]["lr"], 1.0)


def test_that_it_failed_at_every_trial_is_said_at_the_end(caplog):
    sampler = WarmStartSampler(TPESampler(), ModuleLoss(no_model, (X, Y), loss))
    study = optuna.create_study(sampler=sampler)
    study.optimize(usual, n_trials=4)
    del sampler
    caplog.clear()
    del study
    gc.collect()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("warm start: failed at each of 3 trials, trained as sampled")
    assert "the first, at trial 1: " in line
