"""The study is asked what it learned, and answers with the nudged values."""

import pickle

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import NSGAIISampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from hypernudge import CurvatureBand, Informed, ModuleLoss
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations.optuna import RECORD, WarmStartSampler
from hypernudge.warmstart.policies.learning_rate_tpe import LearningRateTPE
from tests.integrations.helpers import (
    Tenfold,
    X,
    Y,
    flat_loss,
    loss,
    model,
    near_the_best,
    no_model,
    past_prior,
    score,
    training,
)
from tests.integrations.optuna_study import SPACE, measurements, objective, study_with

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Spy(RandomSampler):
    """Notes what the study shows to its sampler, which is all that a sampler can learn from."""

    def __init__(self, seed=0):
        super().__init__(seed=seed)
        self.shown = []

    def sample_independent(self, study, trial, param_name, param_distribution):
        self.shown.append([t.params["lr"] for t in study.get_trials(states=(TrialState.COMPLETE,))])
        return super().sample_independent(study, trial, param_name, param_distribution)


def test_the_study_stores_and_its_sampler_learns_the_nudged_point():
    spy = Spy()
    study = study_with(spy, Tenfold())
    study.optimize(objective, n_trials=6)
    for trial in study.trials:
        record = trial.user_attrs[RECORD]
        assert (
            trial.params["lr"] == min(record["sampled"]["lr"] * 10, 1.0) == trial.user_attrs["trained"]["lr"]
        )
        assert trial.params == trial.user_attrs["trained"] == record["config"]
        assert record["changed"] and record["reason"] == "x10"
    assert spy.shown[-1] == [trial.params["lr"] for trial in study.trials[:-1]]
    assert max(trial.params["lr"] for trial in study.trials) == 1.0, "one nudge met the bound"


def test_without_a_policy_it_is_informed():
    study = study_with(RandomSampler, seed=1)
    study.enqueue_trial({"lr": 2e-3, "momentum": 0.5, "width": 8, "act": "relu"})
    study.optimize(objective, n_trials=30)
    chosen, *records = [trial.user_attrs.get(RECORD) for trial in study.trials]
    assert chosen is None and {record["policy"] for record in records} == {"informed"}
    assert [measurements(trial) for trial in study.trials[1:]] == [["log10_probe"]] + [[]] * 28
    assert any("data of" in record["reason"] for record in records)

    def distance(record, which):
        return abs(score(record[which]))

    sampled, started = ([distance(r, which) for r in records] for which in ("sampled", "config"))
    assert sum(started) < sum(sampled) / 2


def test_curvature_band_raises_slow_rates_and_measures_three_times():
    study = study_with(RandomSampler, CurvatureBand(batch_size=32), seed=1)
    study.optimize(objective, n_trials=12)
    records = [trial.user_attrs[RECORD] for trial in study.trials]
    assert [bool(record["measurements"]) for record in records] == [True] * 3 + [False] * 9
    moved = [record for record in records if record["changed"]]
    assert moved and all(record["config"]["lr"] > record["sampled"]["lr"] for record in moved)
    assert all(record["z"] < -1.25 for record in moved)
    kept = [record for record in records if not record["changed"]]
    assert kept and all(record["config"] == record["sampled"] for record in kept)


def test_values_that_somebody_chose_are_left_alone():
    study = study_with(policy=Tenfold())
    study.enqueue_trial({"lr": 2e-3, "momentum": 0.5, "width": 8, "act": "relu"})
    study.enqueue_trial({"lr": 3e-3})
    study.optimize(objective, n_trials=3)
    assert [trial.params["lr"] for trial in study.trials[:2]] == [2e-3, 3e-3]
    assert [RECORD in trial.user_attrs for trial in study.trials] == [False, False, True]
    # They are part of what the policy sees, so that numbers and addressed draws stay in step.
    assert study.trials[2].user_attrs[RECORD]["trial"] == 2


@pytest.mark.parametrize("policy", [Informed(), LearningRateTPE(min_results=4)])
def test_trials_without_values_and_beyond_the_bounds_do_not_stop_a_policy_that_learns(policy, caplog):
    def fragile(trial):
        if trial.number in (2, 3):
            raise ValueError("before anything was suggested")
        return objective(trial)

    study = study_with(RandomSampler, policy, seed=1)
    for lr in (50.0, 0.0):
        values = {"lr": lr, "momentum": 1.0, "width": 4, "act": "relu"}
        distributions = SPACE | {"lr": FloatDistribution(0.0, 100.0), "momentum": FloatDistribution(0.0, 1.0)}
        study.add_trial(optuna.create_trial(params=values, distributions=distributions, value=9.0))
    study.optimize(fragile, n_trials=20, catch=(ValueError,))
    reasons = [trial.user_attrs[RECORD]["reason"] for trial in study.trials if RECORD in trial.user_attrs]
    assert len(reasons) == 18 and not caplog.records
    assert any("data of 12" in reason or "of 12 at" in reason for reason in reasons)


@pytest.mark.filterwarnings("ignore:Retry")
def test_a_retried_trial_keeps_its_values():
    study = study_with(policy=Tenfold())
    with pytest.raises(ZeroDivisionError):
        study.optimize(lambda trial: objective(trial) / 0, n_trials=1)
    storages = optuna.storages
    retry = getattr(storages, "RetryHeartbeatStaleTrialCallback", None) or storages.RetryFailedTrialCallback
    retry()(study, study.trials[0])
    study.optimize(objective, n_trials=1)
    assert study.trials[1].params == study.trials[0].params
    study.optimize(objective, n_trials=1)
    assert study.trials[2].user_attrs[RECORD]["measurements"]["known"] == 1


def test_pruned_steps_and_directions_reach_the_policy():
    seen = []

    class Watching(Tenfold):
        def __call__(self, task, sampled, history, streams):
            seen.append(history.as_table())
            return super().__call__(task, sampled, history, streams)

    def pruned(trial):
        objective(trial)
        for step in range(3):
            trial.report(10.0 * trial.number + step, step)
            if trial.number == 1 and step == 1:
                raise optuna.TrialPruned
        return 10.0 * trial.number + 2

    for direction, sign in (("minimize", -1), ("maximize", 1)):
        seen.clear()
        study_with(RandomSampler, Watching(), direction=direction).optimize(pruned, n_trials=3)
        milestones = [entry["milestones"] for entry in seen[-1]]
        assert milestones == [
            {"1": 0.0, "2": sign * 1.0, "3": sign * 2.0},
            {"1": sign * 10.0, "2": sign * 11.0},
        ]


@pytest.mark.parametrize(
    ("objective_", "reason"),
    [
        (ModuleLoss(no_model, (X, Y), loss), "RuntimeError: out of memory"),
        (ModuleLoss(model, (X, Y), flat_loss), "the probe was not finite"),
    ],
)
def test_a_failed_measurement_leaves_the_values_and_says_so(objective_, reason, caplog):
    study = study_with(RandomSampler, objective=objective_)
    study.optimize(objective, n_trials=3)
    for trial in study.trials:
        record = trial.user_attrs[RECORD]
        assert record["flagged"] and reason in record["reason"] and not record["changed"]
        assert trial.params == record["sampled"]
    assert reason in caplog.text


def test_hyperband_pruner_and_other_names():
    space = {"learning_rate": SPACE["lr"], "steps": FloatDistribution(0.0, 1.0, step=0.25)}
    sampler = WarmStartSampler(
        TPESampler, training(), space, names={"learning_rate": "lr"}, warm_start=CurvatureBand(batch_size=32)
    )
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.HyperbandPruner())

    def run(trial):
        trial.suggest_float("steps", 0.0, 1.0, step=0.25)
        value = trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
        trial.report(value, 1)
        trial.should_prune()
        return value

    study.optimize(run, n_trials=5)
    for trial in study.trials:
        assert trial.params["learning_rate"] == trial.user_attrs[RECORD]["config"]["lr"]
        assert trial.params["steps"] in (0.0, 0.25, 0.5, 0.75, 1.0)


def test_parameters_of_the_study_that_were_not_declared_are_sampled_as_ever():
    study = study_with(policy=Tenfold())
    study.optimize(lambda trial: objective(trial) + trial.suggest_float("extra", 0, 1), n_trials=12)
    assert all(0 <= trial.params["extra"] <= 1 for trial in study.trials)
    assert all("extra" not in trial.user_attrs[RECORD]["config"] for trial in study.trials)


@pytest.mark.filterwarnings("ignore:PartialFixedSampler is experimental")
def test_a_part_of_the_space_is_not_nudged(caplog):
    wrapped = PartialFixedSampler({"momentum": 0.9}, WarmStartSampler(RandomSampler, training(), SPACE))
    study = optuna.create_study(sampler=wrapped)
    study.optimize(objective, n_trials=1)
    assert study.trials[0].user_attrs[RECORD]["flagged"] and "without ['momentum']" in caplog.text
    inside = study_with(PartialFixedSampler({"momentum": 0.9}, RandomSampler(seed=0)), Tenfold())
    inside.optimize(objective, n_trials=1)
    assert inside.trials[0].params["momentum"] == 0.9 and inside.trials[0].user_attrs[RECORD]["changed"]


def test_several_objectives(caplog):
    wrapped = WarmStartSampler(NSGAIISampler, training(), SPACE, warm_start=Tenfold())
    study = optuna.create_study(sampler=wrapped, directions=["minimize", "maximize"])
    study.optimize(lambda trial: (objective(trial), 1.0), n_trials=3)
    assert all(trial.user_attrs[RECORD]["changed"] for trial in study.trials)
    assert caplog.text.count("no score of it reaches the warm start") == 1


def test_a_sampler_survives_pickling():
    study = study_with(TPESampler, CurvatureBand(batch_size=32))
    study.optimize(objective, n_trials=4)
    copy = pickle.loads(pickle.dumps(study.sampler))
    trial = study.ask()
    again = copy.sample_relative(study, trial._cached_frozen_trial, SPACE)
    assert again == trial.relative_params


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {"learning_rate": SPACE["lr"]}}, "pass names="),
        ({"space": {"lr": IntDistribution(1, 3)}}, "continuous 'lr'"),
        ({"space": {"lr": (1e-4, 1.0)}}, "space.lr: must be an Optuna distribution"),
        ({"names": {"rate": "lr"}}, "names: must name hyper-parameters"),
        ({"objective": loss}, "objective: must be a ModuleLoss or a task"),
        ({"sampler": "tpe"}, "sampler: must be a sampler or its class"),
    ],
)
def test_what_cannot_work_is_refused_at_once(change, message):
    arguments = {"sampler": TPESampler, "objective": training(), "space": SPACE, **change}
    with pytest.raises(InvalidArgumentError, match=message):
        WarmStartSampler(
            arguments.pop("sampler"), arguments.pop("objective"), arguments.pop("space"), **arguments
        )


def test_a_prior_of_past_studies_needs_no_objective(tmp_path):
    policy = Informed(prior=past_prior(tmp_path))
    study = study_with(objective=None, policy=policy)
    study.optimize(lambda trial: score(objective_values(trial)), n_trials=16)
    assert near_the_best(trial.params for trial in study.trials) >= 8
    records = [trial.user_attrs[RECORD] for trial in study.trials]
    assert all(record["config"]["width"] == record["sampled"]["width"] for record in records)
    assert {record["kind"] for record in records} <= {"prior", "data", "passthrough"}


def objective_values(trial):
    objective(trial)
    return trial.params


def test_a_prior_under_the_names_of_the_study(tmp_path):
    space = {"learning_rate": FloatDistribution(1e-4, 1.0, log=True)}
    policy = Informed(prior=past_prior(tmp_path))
    sampler = WarmStartSampler(TPESampler, None, space, warm_start=policy, names={"learning_rate": "lr"})
    study = optuna.create_study(sampler=sampler)

    def train(trial):
        return score({"lr": trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)})

    study.optimize(train, n_trials=12)
    assert near_the_best((trial.params for trial in study.trials), "learning_rate") >= 6


def test_what_probes_a_loss_needs_one():
    for policy in (None, Informed(), "informed"):
        with pytest.raises(InvalidArgumentError, match="objective: must be there for a policy that probes"):
            WarmStartSampler(TPESampler, None, warm_start=policy)
    with pytest.raises(InvalidArgumentError, match="needs a GradientTask"):
        WarmStartSampler(TPESampler, None, SPACE, warm_start=CurvatureBand())
