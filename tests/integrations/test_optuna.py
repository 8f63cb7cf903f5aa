"""The study is asked what it learned, and answers with the nudged values."""

import pickle
import subprocess
import sys
from functools import partial

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import NSGAIISampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from hypernudge import CurvatureBand, Informed, ModuleLoss
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations.optuna import RECORD, WarmStartSampler
from hypernudge.warmstart.measurement.posterior import RANK_DEVIATION, RANK_MEAN
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

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "width": IntDistribution(4, 16),
    "act": CategoricalDistribution(["relu", "tanh"]),
}


def objective(trial):
    config = {
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "momentum": trial.suggest_float("momentum", 0.0, 0.99),
        "width": trial.suggest_int("width", 4, 16),
        "act": trial.suggest_categorical("act", ["relu", "tanh"]),
    }
    trial.set_user_attr("trained", config)
    return score(config)


def study_with(sampler=TPESampler, policy=None, storage=None, direction="minimize", **options):
    wrapped = WarmStartSampler(
        sampler, options.pop("objective", training()), SPACE, warm_start=policy, **options
    )
    return optuna.create_study(
        study_name="s", sampler=wrapped, storage=storage, direction=direction, load_if_exists=True
    )


def table(study):
    return [
        (trial.number, trial.params, trial.user_attrs.get(RECORD, {}).get("sampled"))
        for trial in study.trials
    ]


def measurements(trial):
    """What was measured for a trial; not how its start was believed to rank."""
    found = trial.user_attrs.get(RECORD, {}).get("measurements", {})
    return [name for name in found if name not in (RANK_MEAN, RANK_DEVIATION)]


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


@pytest.fixture
def hasty_sqlite():
    """SQLite that does not wait for the disk: two hundred commits a study take seconds elsewhere."""

    def listen(connection, _):
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", listen)
    yield
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", listen)


@pytest.mark.usefixtures("hasty_sqlite")
@pytest.mark.parametrize(
    ("sampler", "policy", "measured"),
    [
        (partial(TPESampler, n_startup_trials=4), CurvatureBand(batch_size=32), [0, 1, 2]),
        (NSGAIISampler, CurvatureBand(batch_size=32), [0, 1, 2]),
        (TPESampler, None, [0]),
    ],
)
def test_a_study_killed_on_sqlite_goes_on_as_if_nothing_had_happened(tmp_path, sampler, policy, measured):
    def killed(trial):
        if trial.number == 6:
            raise KeyboardInterrupt
        return objective(trial)

    whole = study_with(sampler, policy, f"sqlite:///{tmp_path}/whole.db", seed=3)
    whole.optimize(lambda trial: objective(trial) if trial.number != 6 else float("nan"), n_trials=10)
    storage = f"sqlite:///{tmp_path}/killed.db"
    with pytest.raises(KeyboardInterrupt):
        study_with(sampler, policy, storage, seed=3).optimize(killed, n_trials=10)
    again = study_with(sampler, policy, storage, seed=3)
    again.optimize(objective, n_trials=10 - len(again.trials))
    assert [t.number for t in again.trials if measurements(t)] == measured
    skip = [6]  # it failed in one study and never began in the other
    assert [row for row in table(again) if row[0] not in skip] == [
        row for row in table(whole) if row[0] not in skip
    ]


@pytest.mark.usefixtures("hasty_sqlite")
def test_two_workers_share_what_was_measured(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    studies = [study_with(RandomSampler, Tenfold(), storage, seed=0) for _ in range(2)]
    trials = [studies[i % 2].ask(SPACE) for i in range(6)]
    for study, trial in zip(studies * 3, trials, strict=True):
        study.tell(trial, score(trial.params))
    known = [trial.user_attrs[RECORD]["measurements"]["known"] for trial in studies[0].trials]
    assert known == [0, 1, 2, 3, 4, 5]


@pytest.mark.usefixtures("hasty_sqlite")
def test_a_worker_that_cannot_wait_for_the_others_measures_itself(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    study = study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1)
    others = optuna.load_study(study_name="s", storage=storage, sampler=RandomSampler(seed=0))
    begun = [others.ask() for _ in range(4)]  # elsewhere, and nobody knows their values yet
    assert [trial.number for trial in begun] == [0, 1, 2, 3]
    for _ in range(2):
        study.ask(SPACE)
    # What it measured is known to a worker that is started again.
    study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1).ask(SPACE)
    trials = study.trials[4:]
    assert [bool(measurements(trial)) for trial in trials] == [True, False, False]
    assert not any(trial.user_attrs[RECORD]["flagged"] for trial in trials)


WORKER = """
import os, sys
import torch
from optuna.samplers import RandomSampler
from hypernudge import CurvatureBand
from tests.integrations.test_optuna import SPACE, objective, study_with

torch.set_num_threads(1)
storage, die_in = sys.argv[1], int(sys.argv[2])

def run(trial):
    value = objective(trial)
    if len(finished) == die_in:
        os._exit(9)
    finished.append(value)
    return value

finished = []
study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1).optimize(run, n_trials=4)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_sqlite")
def test_of_parallel_workers_one_is_killed_and_started_again(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    study = study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1)

    def worker(die_in):
        return subprocess.Popen([sys.executable, "-W", "ignore", "-c", WORKER, storage, str(die_in)])

    workers = [worker(2), worker(-1)]
    assert [process.wait() for process in workers] == [9, 0]
    assert worker(-1).wait() == 0
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(11))
    states = [trial.state for trial in trials]
    assert states.count(TrialState.COMPLETE) == 10 and states.count(TrialState.RUNNING) == 1
    records = [trial.user_attrs[RECORD] for trial in trials]
    assert not any(record["flagged"] for record in records)
    assert all(trial.params == record["config"] for trial, record in zip(trials, records, strict=True))
    # The values of a trial depend on its number, not on the worker: those of one worker alone are the same.
    alone = study_with(RandomSampler, CurvatureBand(batch_size=32), seed=1)
    alone.optimize(objective, n_trials=11)
    assert [r["sampled"] for r in records] == [t.user_attrs[RECORD]["sampled"] for t in alone.trials]


def test_threads():
    study = study_with(TPESampler, CurvatureBand(batch_size=32))
    study.optimize(objective, n_trials=12, n_jobs=3)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 12
    assert all(trial.params == trial.user_attrs[RECORD]["config"] for trial in study.trials)


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
