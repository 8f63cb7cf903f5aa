"""The searcher is asked what it learned, and answers with the nudged values."""

import datetime
from pathlib import Path

import dill
import numpy as np
import pytest

pytest.importorskip("syne_tune", reason="Syne Tune is an extra: install hypernudge[syne-tune]")

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import (
    choice,
    finrange,
    logfinrange,
    lograndint,
    loguniform,
    quniform,
    randint,
    uniform,
)
from syne_tune.optimizer.baselines import ASHA, TPE, RandomSearch
from syne_tune.optimizer.scheduler import TrialScheduler, TrialSuggestion
from syne_tune.optimizer.schedulers.pbt import PopulationBasedTraining

from hypernudge import CurvatureBand, Informed, ModuleLoss
from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.importers import syne_tune as importer
from hypernudge.integrations.syne_tune import declared, warm_started
from hypernudge.space import Categorical, Integer, Real
from tests.integrations.helpers import (
    Tenfold,
    X,
    Y,
    flat_loss,
    model,
    near_the_best,
    past_prior,
    score,
    training,
)

SPACE = {
    "lr": loguniform(1e-4, 1.0),
    "momentum": uniform(0.0, 0.99),
    "act": choice(["relu", "tanh"]),
    "epochs": 4,
}
OTHER = {"learning_rate": loguniform(1e-4, 1.0)}


def trials_of(scheduler, n):
    """Start `n` trials and report one result of each, as a tuner does."""
    trials = []
    for number in range(n):
        trial = Trial(number, scheduler.suggest().config, datetime.datetime(2026, 1, 1))
        scheduler.on_trial_add(trial)
        scheduler.on_trial_result(trial, {"loss": score(trial.config), "epoch": 1})
        scheduler.on_trial_complete(trial, {"loss": score(trial.config), "epoch": 2})
        trials.append(trial)
    return trials


def asha(**options):
    options = {"metric": "loss", "time_attr": "epoch", "max_t": 4, "random_seed": 0, **options}
    return ASHA(SPACE, **options)


def test_the_searcher_learns_the_nudged_point():
    scheduler = warm_started(
        TPE(SPACE, metric="loss", random_seed=0), training(), SPACE, warm_start=Tenfold()
    )
    trials = trials_of(scheduler, 8)
    searcher = scheduler.scheduler.searcher
    learned = [searcher._from_feature(feature)["lr"] for feature in searcher.X]
    for trial, known, lr in zip(trials, scheduler.history.trials, learned, strict=True):
        assert trial.config["lr"] == known.config["lr"] == min(known.sampled["lr"] * 10, 1.0)
        assert lr == pytest.approx(trial.config["lr"], rel=1e-6)
        assert trial.config["epochs"] == 4
        assert known.milestones[1] == -score(trial.config)


def test_rungs_and_equal_seeds():
    def run():
        np.random.seed(0)  # noqa: NPY002 -- Syne Tune's ASHA draws from the global generator
        scheduler = warm_started(asha(), training(), SPACE, warm_start=CurvatureBand(batch_size=32), seed=1)
        trials_of(scheduler, 8)
        return scheduler.history

    history = run()
    assert history.max_units == asha().max_t == 4
    assert [bool(trial.nudge.measurements) for trial in history.trials] == [True] * 3 + [False] * 5
    assert any(trial.nudge.changed for trial in history.trials)
    assert [trial.milestones.keys() for trial in history.trials] == [{1, 2}] * 8
    assert run().as_table() == history.as_table()


def test_a_point_that_somebody_chose_is_left_alone():
    chosen = {"lr": 2e-3, "momentum": 0.5, "act": "relu"}
    inner = RandomSearch(SPACE, metrics=["loss"], random_seed=0, points_to_evaluate=[chosen])
    scheduler = warm_started(inner, training(), SPACE, warm_start=Tenfold())
    trials = trials_of(scheduler, 2)
    assert trials[0].config["lr"] == 2e-3 and not scheduler.history.trials[0].nudge.changed
    assert scheduler.history.trials[1].nudge.changed


class Script(TrialScheduler):
    """Suggests what it is told."""

    def __init__(self, suggestions):
        super().__init__(random_seed=0)
        self.suggestions = iter(suggestions)

    def suggest(self):
        return next(self.suggestions)

    def metric_names(self):
        return ["loss"]

    def metric_mode(self):
        return "min"


def test_only_a_first_start_is_nudged():
    config = {"lr": 1e-3, "momentum": 0.5, "act": "relu", "epochs": 4}
    others = [TrialSuggestion.resume_suggestion(0, config), TrialSuggestion.start_suggestion(config, 0), None]
    inner = Script([TrialSuggestion.start_suggestion(config), *others])
    scheduler = warm_started(inner, training(), SPACE, warm_start=Tenfold())
    assert scheduler.suggest().config["lr"] == 1e-2
    assert [scheduler.suggest() for _ in others] == others
    assert len(scheduler.history.trials) == 1


def test_population_based_training_keeps_its_perturbations():
    inner = PopulationBasedTraining(
        SPACE, metric="loss", time_attr="epoch", max_t=4, population_size=4, random_seed=0
    )
    scheduler = warm_started(inner, training(), SPACE, warm_start=Tenfold())
    trials = trials_of(scheduler, 4)
    assert all(
        trial.config["lr"] == known.config["lr"]
        for trial, known in zip(trials, scheduler.history.trials, strict=True)
    )


def test_a_failed_measurement_leaves_the_values_and_says_so(caplog):
    scheduler = warm_started(asha(), ModuleLoss(model, (X, Y), flat_loss), SPACE)
    trials_of(scheduler, 3)
    assert all(trial.nudge.flagged and trial.config == trial.sampled for trial in scheduler.history.trials)
    assert "the probe was not finite" in caplog.text


def test_a_tuner_can_save_it():
    scheduler = warm_started(asha(), training(), SPACE, warm_start=CurvatureBand(batch_size=32))
    trials_of(scheduler, 4)
    copy = dill.loads(dill.dumps(scheduler))
    assert copy.history.as_table() == scheduler.history.as_table()
    assert copy.suggest() == scheduler.suggest()
    assert scheduler.metadata()["warm_start"] == "CurvatureBand"


ENTRY = """
import argparse
from syne_tune import Reporter

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
options, _ = parser.parse_known_args()
report = Reporter()
for epoch in (1, 2):
    report(loss=abs(options.lr - 0.1) / epoch, epoch=epoch)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_real_tuner_and_the_import_of_its_results(tmp_path, monkeypatch):
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend

    stray = Path.cwd() / "std.out"
    known = stray.exists()
    monkeypatch.chdir(tmp_path)  # it counts GPUs by way of a file std.out in the working directory
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    entry = tmp_path / "entry.py"
    entry.write_text(ENTRY)
    np.random.seed(0)  # noqa: NPY002 -- Syne Tune's ASHA draws from the global generator
    scheduler = warm_started(asha(max_t=2), training(), SPACE, warm_start=Tenfold())
    backend = LocalBackend(entry_point=str(entry))
    backend.set_path(results_root=str(tmp_path))
    tuner = Tuner(
        trial_backend=backend,
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_finished=3),
        n_workers=2,
        sleep_time=0.05,
        print_update_interval=1e6,
        save_tuner=False,
        tuner_name="digits-asha-0",
        metadata={"benchmark": "digits", "algorithm": "ASHA", "seed": 0},
    )
    tuner.run()
    for process in backend.trial_subprocess.values():
        process.wait()
    assert stray.exists() == known
    (run,) = importer.read(str(tmp_path))
    assert run.name == tuner.name and run.direction == "minimise"
    assert {run.attributes[key] for key in ("benchmark", "algorithm", "seed")} == {"digits", "ASHA", "0"}
    # Every score is one that the nudged configuration gives.
    trained = {str(trial.number): trial.config["lr"] for trial in scheduler.history.trials}
    assert len(run.scores) >= 3
    for result in run.scores:
        expected = abs(trained[result.trial] - 0.1)
        assert min(abs(result.value - expected), abs(result.value - expected / 2)) < 1e-9
        assert result.at > 0
    assert any(trial.nudge.changed for trial in scheduler.history.trials)
    frame = tmp_path / "runs.csv"
    assert main(["import", "syne-tune", str(tmp_path), "--output", str(frame)]) == 0
    assert len(frame.read_text().splitlines()) == 1 + len(run.scores)


def test_domains():
    space = declared(
        {
            **SPACE,
            "units": randint(1, 8),
            "layers": lograndint(1, 8),
            "half": quniform(0.0, 1.0, 0.5),
            "few": finrange(0.1, 0.5, 5),
            "decades": logfinrange(1e-4, 1e-1, 4),
        }
    )
    assert space.parameters["lr"] == Real("lr", 1e-4, 1.0, log=True)
    assert space.parameters["act"] == Categorical("act", ("relu", "tanh"))
    assert space.parameters["units"] == Integer("units", 1, 8)
    assert space.parameters["layers"] == Integer("layers", 1, 8, log=True)
    assert "epochs" not in space.parameters
    assert [space.snapped("half", value) for value in (0.2, 0.3, 7.0)] == [0.0, 0.5, 1.0]
    assert space.snapped("few", 0.22) == pytest.approx(0.2)
    assert space.snapped("decades", 2e-3) == pytest.approx(1e-3)


def test_choices_are_kept_as_they_are():
    space = {
        "lr": loguniform(1e-4, 1.0),
        "sizes": choice([[64, 64], [128]]),
        "arch": choice([{"kind": "mlp"}, {"kind": "cnn"}]),
        "steps": finrange(1, 9, 5, cast_int=True),
    }
    inner = RandomSearch(space, metrics=["loss"], random_seed=0)
    scheduler = warm_started(inner, training(), space)
    for trial, known in zip(trials_of(scheduler, 8), scheduler.history.trials, strict=True):
        assert not known.nudge.flagged, known.nudge.reason
        assert trial.config["sizes"] in space["sizes"].categories
        assert trial.config == dict(known.config)
        assert known.milestones


class GridSearcher:
    """What a grid's searcher is called in Syne Tune 0.14."""


class Grid(Script):
    searcher = GridSearcher()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: warm_started(RandomSearch(OTHER, metrics=["loss"]), training(), OTHER),
            "pass names=",
        ),
        (
            lambda: warm_started(asha(), training(), {**SPACE, "lr": loguniform(1e-5, 1.0)}),
            r"^config_space\.lr: must be the space that is searched",
        ),
        (
            lambda: warm_started(asha(), training(), {**SPACE, **OTHER}),
            r"^config_space\.learning_rate: .*has no",
        ),
        (lambda: warm_started(Grid([]), training(), SPACE), "^scheduler: must draw"),
        (
            lambda: warm_started(warm_started(asha(), training(), SPACE), training(), SPACE),
            "^scheduler: must not be nudged already",
        ),
        (lambda: warm_started(asha(), training(), [SPACE]), "^config_space: must map names to domains"),
        (lambda: warm_started(ASHA, training(), SPACE), "^scheduler: must be a scheduler's instance"),
        (lambda: warm_started(asha(), training(), SPACE, warm_start="informd"), "did you mean 'informed'"),
        (lambda: warm_started(asha(), training(), SPACE, warm_start=CurvatureBand), "must be an instance"),
        (lambda: warm_started(asha(), training(), SPACE, seed=1.5), "^seed: must be a whole number"),
        (lambda: warm_started(asha(), model, SPACE), "^objective: must be a ModuleLoss"),
    ],
)
def test_what_cannot_work_is_refused_at_once(make, message):
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_prior_of_past_studies_needs_no_objective(tmp_path):
    policy = Informed(prior=past_prior(tmp_path))
    scheduler = warm_started(asha(), None, SPACE, warm_start=policy)
    assert near_the_best(trial.config for trial in trials_of(scheduler, 16)) >= 8
    with pytest.raises(InvalidArgumentError, match="objective: must be there"):
        warm_started(asha(), None, SPACE)
