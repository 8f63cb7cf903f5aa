"""What is recorded is what was trained, whatever an objective suggests and a sampler fixes."""

import json
import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import (
    BruteForceSampler,
    GPSampler,
    GridSampler,
    NSGAIIISampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import TrialState

from hypernudge import OHGW, Informed
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations.optuna import RECORD, WarmStartSampler
from hypernudge.trial import Nudge
from tests.integrations.helpers import Tenfold, score, training

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:`constraints_func` has been deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Choices for a categorical distribution"),
]
optuna.logging.set_verbosity(optuna.logging.ERROR)
LR = FloatDistribution(1e-5, 1.0, log=True)
SPACE = {"lr": LR, "momentum": FloatDistribution(0.0, 0.99)}


def trained(trial):
    return dict(trial.params)


def records(study):
    return [trial.user_attrs[RECORD] for trial in study.trials]


def run(objective, sampler=RandomSampler, space=SPACE, policy=None, n=6, **options):
    wrapped = WarmStartSampler(sampler, training(), space, warm_start=policy or Tenfold(), **options)
    study = optuna.create_study(sampler=wrapped)
    study.optimize(objective, n_trials=n)
    return study


def usual(trial, low=1e-5, high=1.0):
    lr = trial.suggest_float("lr", low, high, log=True)
    return score({"lr": lr, "momentum": trial.suggest_float("momentum", 0.0, 0.99)})


def all_true(study):
    """Every record says what its trial was trained with, and `changed` is whether that was sampled."""
    for trial in study.trials:
        record = trial.user_attrs[RECORD]
        assert record["config"] == trial.params
        assert record["changed"] == (record["config"] != record["sampled"])


def test_a_range_that_was_declared_otherwise_is_told_once_and_never_recorded_as_nudged(caplog):
    study = run(lambda trial: usual(trial, 1e-4, 1e-2), n=12)
    all_true(study)
    outside = [record for record in records(study) if "drawn anew" in record["reason"]]
    inside = [record for record in records(study) if "drawn anew" not in record["reason"]]
    assert outside and inside
    assert all(record["flagged"] and not record["changed"] and record["z"] is None for record in outside)
    assert all(record["changed"] and record["reason"] == "x10" for record in inside)
    (told,) = [line.getMessage() for line in caplog.records if line.getMessage().startswith("space.lr")]
    assert "declared as FloatDistribution(high=1.0, log=True, low=1e-05" in told
    assert (
        "suggested as FloatDistribution(high=0.01" in told and "declare what the objective suggests" in told
    )


def test_a_policy_learns_from_the_corrected_record():
    seen = []

    class Watching(Tenfold):
        def __call__(self, task, sampled, history, streams):
            seen.append([trial.config["lr"] for trial in history.trials])
            return super().__call__(task, sampled, history, streams)

    study = run(lambda trial: usual(trial, 1e-4, 1e-2), policy=Watching(), n=8)
    assert seen[-1] == [trial.params["lr"] for trial in study.trials[:-1]]


def test_a_worker_sees_what_another_corrected_after_it_had_looked():
    study = run(usual, n=1)
    first = study.ask()
    first.suggest_float("momentum", 0.0, 0.99)
    second = study.ask(SPACE)  # notes what is known of the first
    before = study.sampler._past.before(study, 3).trials[1].config
    first.suggest_float("lr", 1e-9, 1e-8, log=True)
    study.tell(first, 1.0)
    history = study.sampler._past.before(study, 3)
    assert before["lr"] > 1e-8 > history.trials[1].config["lr"] == first.params["lr"]
    assert history.trials[2].config == second.params


def test_a_dynamic_range_is_recorded_as_it_was(caplog):
    def narrowing(trial):
        return usual(trial, 1e-5, 1.0 if trial.number % 2 else 1e-4)

    study = run(narrowing, n=10)
    all_true(study)
    assert any("drawn anew" in record["reason"] for record in records(study))
    assert len([line for line in caplog.records if "space.lr" in line.getMessage()]) == 1


def test_what_a_trial_does_not_suggest_is_not_recorded(caplog):
    def conditional(trial):
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        kind = trial.suggest_categorical("kind", ["sgd", "adam"])
        if kind == "sgd":
            trial.suggest_float("momentum", 0.0, 0.99)
        return lr

    study = run(conditional, space=SPACE | {"kind": CategoricalDistribution(["sgd", "adam"])}, n=8)
    all_true(study)
    assert {len(record["config"]) for record in records(study)} == {2, 3}
    told = [line.getMessage() for line in caplog.records if "space.momentum" in line.getMessage()]
    assert len(told) == 1 and "not suggested by trial" in told[0]


def test_a_learning_rate_under_another_name_is_no_silent_nothing(caplog):
    study = run(lambda trial: trial.suggest_float("learning_rate", 1e-5, 1.0, log=True), n=2)
    assert all(record["config"] == {} and not record["changed"] for record in records(study))
    assert (
        "space.lr: declared, but not suggested by trial 0, which suggested ['learning_rate']" in caplog.text
    )


def test_a_trial_that_failed_keeps_what_it_was_to_be_trained_with():
    def failing(trial):
        trial.suggest_float("lr", 1e-5, 1.0, log=True)
        raise ValueError

    wrapped = WarmStartSampler(RandomSampler, training(), SPACE, warm_start=Tenfold())
    study = optuna.create_study(sampler=wrapped)
    study.optimize(failing, n_trials=1, catch=(ValueError,))
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL
    assert set(trial.user_attrs[RECORD]["config"]) == {"lr", "momentum"}
    assert trial.user_attrs[RECORD]["config"]["lr"] == trial.params["lr"]


def test_another_kind_of_distribution_is_refused_by_optuna_at_the_first_trial():
    with pytest.raises(ValueError, match="different distribution kind"):
        run(lambda trial: trial.suggest_int("lr", 1, 3))
    with pytest.raises(ValueError, match="dynamic value space"):
        space = SPACE | {"act": CategoricalDistribution(["a", "b"])}
        run(lambda trial: usual(trial) + len(trial.suggest_categorical("act", ["a", "c"])), space=space)


def test_a_single_value_is_a_constant():
    space = SPACE | {"width": IntDistribution(8, 8), "act": CategoricalDistribution(["relu"])}

    def objective(trial):
        trial.suggest_int("width", 8, 8)
        trial.suggest_categorical("act", ["relu"])
        return usual(trial)

    study = run(objective, TPESampler, space)
    assert all(set(record["config"]) == {"lr", "momentum"} for record in records(study))
    assert all(trial.params["width"] == 8 and trial.params["act"] == "relu" for trial in study.trials)


def test_whole_numbers_and_floats_stay_on_their_grid():
    space = SPACE | {"width": IntDistribution(4, 64, step=4), "drop": FloatDistribution(0.1, 0.5, step=0.1)}

    class Wide(Tenfold):
        def __call__(self, task, sampled, history, streams):
            return Nudge(sampled.replace(width=27, drop=0.33), "wide", changed=True, reason="wider")

    def objective(trial):
        trial.suggest_int("width", 4, 64, step=4)
        trial.suggest_float("drop", 0.1, 0.5, step=0.1)
        return usual(trial)

    study = run(objective, space=space, policy=Wide())
    all_true(study)
    assert {(trial.params["width"], round(trial.params["drop"], 9)) for trial in study.trials} == {(28, 0.3)}


@pytest.mark.parametrize(
    "make",
    [
        lambda: PartialFixedSampler({"momentum": 0.9}, RandomSampler(seed=0)),
        lambda: PartialFixedSampler(
            {"momentum": 0.9}, PartialFixedSampler({"momentum": 0.1}, TPESampler(seed=0))
        ),
        lambda: lambda seed: PartialFixedSampler({"momentum": 0.9}, TPESampler(seed=seed)),
    ],
)
@pytest.mark.parametrize("policy", [Informed(), OHGW(eta_h=10.0)])
def test_what_is_fixed_stays_fixed(make, policy):
    study = run(usual, make(), policy=policy, n=8)
    all_true(study)
    assert {trial.params["momentum"] for trial in study.trials} == {0.9}
    assert any(record["changed"] for record in records(study))
    assert not any(record["flagged"] for record in records(study))


def test_a_policy_that_could_only_move_what_is_fixed_is_refused():
    fixed = PartialFixedSampler({"lr": 0.01}, RandomSampler(seed=0))
    with pytest.raises(InvalidArgumentError, match=r"continuous 'lr'.*\(fixed by the sampler: \['lr'\]\)"):
        WarmStartSampler(fixed, training(), SPACE)
    study = run(usual, fixed, policy=OHGW(eta_h=10.0))
    assert {trial.params["lr"] for trial in study.trials} == {0.01}
    assert any(record["changed"] for record in records(study))


def test_a_fixed_value_beyond_the_declared_range_is_trained_and_recorded():
    sampler = PartialFixedSampler({"momentum": 0.995}, RandomSampler(seed=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = run(usual, sampler, policy=Informed(), n=3)
    all_true(study)
    assert {trial.params["momentum"] for trial in study.trials} == {0.995}


@pytest.mark.parametrize(
    "make",
    [
        lambda: GridSampler({"lr": [1e-3, 1e-2], "momentum": [0.5]}),
        lambda: BruteForceSampler,
        lambda: PartialFixedSampler({"momentum": 0.9}, BruteForceSampler(seed=0)),
    ],
)
def test_samplers_that_enumerate_are_refused_at_once(make):
    with pytest.raises(InvalidArgumentError, match=r"^sampler: must draw its values") as refused:
        WarmStartSampler(make(), training(), SPACE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (GridSampler, "callable with seed="),
        (lambda seed: "tpe", "must make a sampler"),
        (WarmStartSampler(RandomSampler, training(), SPACE), "must not be nudged already"),
    ],
)
def test_what_makes_no_sampler_is_refused(sampler, message):
    with pytest.raises(InvalidArgumentError, match=message):
        WarmStartSampler(sampler, training(), SPACE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: QMCSampler(seed=0),
        lambda: QMCSampler,
        lambda: GPSampler(seed=0, n_startup_trials=3),
        lambda: TPESampler(seed=0, multivariate=True, group=True, n_startup_trials=3),
        lambda: TPESampler(
            seed=0, constraints_func=lambda trial: (trial.params["lr"] - 0.5,), n_startup_trials=3
        ),
        lambda: NSGAIISampler(seed=0, population_size=3),
    ],
)
def test_every_other_sampler_works(make):
    study = run(usual, make(), n=6)
    all_true(study)
    assert not any(record["flagged"] for record in records(study))


def test_several_objectives_with_constraints():
    sampler = NSGAIIISampler(
        seed=0, population_size=4, constraints_func=lambda trial: (trial.params["lr"] - 0.5,)
    )
    wrapped = WarmStartSampler(sampler, training(), SPACE)
    study = optuna.create_study(sampler=wrapped, directions=["minimize", "maximize"])
    study.optimize(lambda trial: (usual(trial), trial.params["lr"]), n_trials=8)
    all_true(study)
    assert all("constraints" in trial.system_attrs for trial in study.trials)


def test_enqueued_in_part():
    wrapped = WarmStartSampler(RandomSampler, training(), SPACE, warm_start=Tenfold())
    study = optuna.create_study(sampler=wrapped)
    study.enqueue_trial({"lr": 5e-3})
    study.enqueue_trial({"lr": 50.0})  # beyond the range: Optuna warns, and trains it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(usual, n_trials=3)
    assert [trial.params["lr"] for trial in study.trials[:2]] == [5e-3, 50.0]
    assert [RECORD in trial.user_attrs for trial in study.trials] == [False, False, True]


CHOICES = {
    "lists": ([64, 64], [128]),
    "none": (None, 1e-4),
    "names": ("low", "high"),
    "alike": (1, True),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_choices_are_kept_as_they_are(kind, caplog):
    space = SPACE | {"weight_decay": CategoricalDistribution(CHOICES[kind])}
    seen = []

    def objective(trial):
        seen.append(trial.suggest_categorical("weight_decay", CHOICES[kind]))
        return usual(trial)

    study = run(objective, TPESampler, space, Informed(), n=14)
    assert not any(record["flagged"] for record in records(study)) and not caplog.records
    for trial, value in zip(study.trials, seen, strict=True):
        assert any(type(value) is type(choice) and value == choice for choice in CHOICES[kind])
        assert json.loads(json.dumps(trial.user_attrs[RECORD]))["config"]["weight_decay"] == value


def test_a_stored_choice_comes_back_as_the_choice():
    choices = ((64, 64), (128,))
    space = SPACE | {"width": CategoricalDistribution(choices)}

    def objective(trial):
        trial.suggest_categorical("width", choices)
        return usual(trial)

    study = run(objective, space=space)
    history = study.sampler._past.before(study, 6)
    for trial, known in zip(study.trials, history.trials, strict=True):
        assert any(known.config["width"] is choice for choice in choices)
        assert known.config["width"] == trial.params["width"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warm_start": "informd"}, "^warm_start: .*did you mean 'informed'"),
        ({"warm_start": Informed}, r"^warm_start: must be an instance.*Informed\("),
        ({"warm_start": lambda config: config}, "^warm_start: must take 4 arguments"),
        ({"space": [("lr", LR)]}, "^space: must map names to distributions"),
        ({"seed": "x"}, "^seed: must be a whole number"),
        ({"seed": 0.5}, "^seed: must be a whole number"),
    ],
)
def test_arguments_that_are_nothing_of_their_kind_are_refused_at_once(change, message):
    arguments = {"space": SPACE, **change}
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        WarmStartSampler(RandomSampler, training(), arguments.pop("space"), **arguments)
    assert "\n" not in str(refused.value)


def test_a_policy_by_its_name():
    named, built = (run(usual, policy=policy, seed=3) for policy in ("informed", Informed()))
    assert [trial.params for trial in named.trials] == [trial.params for trial in built.trials]
