"""Records of cells as studies, and studies in Optuna."""

import json
import math
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from torch import nn

from hypernudge import Categorical, RandomSearch, SearchSpace, Study, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.build import prepare
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.results.records import cell_path
from hypernudge.trial import Job, Report
from tests.study.tools import SPACE, Minimised, asha, module

optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_choices_that_are_classes_are_one_thing_in_optuna_whoever_exports(tmp_path):
    task = Minimised()
    act, sizes = Categorical("act", (nn.ReLU, nn.Tanh)), Categorical("sizes", ((4,), (4, 2)))
    task.space = space = SearchSpace([*task.space, act, sizes])
    study = tune(task, RandomSearch(space, max_units=1, max_trials=4), seed=0, study=tmp_path / "kept")
    storage = optuna.storages.InMemoryStorage()
    live = study.to_optuna(storage, name="mine")
    read = Study.open(tmp_path / "kept").to_optuna(storage, name="mine")  # refused if it were another study
    assert [trial.params for trial in live.trials] == [trial.params for trial in read.trials]
    assert {trial.params["act"] for trial in live.trials} == {"ReLU", "Tanh"}
    assert "act=ReLU" in str(study) or "act=Tanh" in str(study)


@pytest.mark.parametrize("units", [30, 200])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_record_opens_as_the_study_that_it_is_of(units, workers, tmp_path):
    common = {
        "task": "tests.study.tools:Troubled",
        "target": -0.1,
        "budget": {"units": units},
        "workers": workers,
        "scheduler": {"name": "asha", "max_units": 9},
        "warm_start": {"name": "fixed_band"},
        "seeds": [3],
    }
    plan = resolve_plan({"common": common, "variations": {"mine": {}}}, tmp_path)
    variation = plan.variations[0]
    record = run_cell(variation, 3, tmp_path)
    opened = Study.open(cell_path(tmp_path, 3))
    prepared = prepare(variation.spec)
    declared = prepared.declared
    study = tune(
        prepared.task,
        prepared.scheduler,
        seed=3,
        budget=declared["budget_seconds"],
        warm_start=prepared.warm_start,
        workers=workers,
        flops_per_second=declared["flops_per_second"],
        test="every",
    )
    statuses = {trial.status for trial in study.trials}
    assert {"paused", "failed", "diverged" if units > 30 else "stopped"} <= statuses
    assert [trial.status for trial in opened.trials] == [t["status"] for t in record["trials"]]
    for ours, theirs in zip(opened.trials, study.trials, strict=True):
        assert ours.config == theirs.config and ours.sampled == theirs.sampled
        assert repr(ours.units) == repr(theirs.units)
        assert (ours.status, ours.started, ours.nudge.policy) == (
            theirs.status,
            theirs.started,
            theirs.nudge.policy,
        )
        assert ours.cause == theirs.cause
    # What schedulers read is the same too: the same milestones, in the same order.
    assert opened.history.milestones() == study.history.milestones()
    for milestone in study.history.milestones():
        assert {n for *_, n in opened.history.ranked(milestone)} == {
            n for *_, n in study.history.ranked(milestone)
        }
    jobs = {(e.trial, e.since) for e in study.history.events if isinstance(e, Job)}
    assert {(e.trial, e.since) for e in opened.history.events if isinstance(e, Job)} == jobs
    assert opened.best_value == study.best_value and opened.best_test == study.best_test
    assert opened.to_long_form().equals(
        study.to_long_form()[opened.to_long_form().columns].assign(
            task=opened.about.task, scheduler=opened.about.scheduler
        )
    )
    assert opened.to_optuna().best_value == study.best_value
    with pytest.raises(ValueError, match=r"^best_weights: .* are not kept"):
        opened.best_weights()
    times = [e.finished for e in opened.history.events if isinstance(e, Report)]
    assert times == sorted(times)


def test_a_record_that_was_changed_is_refused(tmp_path):
    common = {"task": "tests.study.tools:Troubled", "target": -0.1, "budget": {"units": 9}, "seeds": [0]}
    variation = resolve_plan({"common": common, "variations": {"a": {}}}, tmp_path).variations[0]
    run_cell(variation, 0, tmp_path)
    path = cell_path(tmp_path, 0)
    record = json.loads(path.read_text())
    record["curve"]["validation"][0] = 7.0
    path.write_text(json.dumps(record))
    with pytest.raises(InvalidArgumentError, match="digest does not match"):
        Study.open(path)


STATES = {"failed": TrialState.FAIL, "diverged": TrialState.FAIL}


def equal(ours, theirs):
    assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))


@pytest.mark.parametrize("kept", [False, True])
def test_optuna_sees_values_curves_states_and_distributions(kept, tmp_path):
    study = tune(module(), asha(SPACE, 20), seed=0, workers=2, study=tmp_path / "mine")
    if kept:
        study = Study.open(tmp_path / "mine")
    storage = f"sqlite:///{tmp_path}/optuna.db"
    study.to_optuna(storage, name="mine")
    read = optuna.load_study(storage=storage, study_name="mine")
    assert read.best_value == study.best_value
    assert read.best_trial.number == study.best_trial.number
    assert read.direction.name == "MAXIMIZE"
    assert len(read.trials) == len(study.trials) == 20
    for ours, theirs in zip(study.trials, read.trials, strict=True):
        assert theirs.number == ours.number
        assert (theirs.state == TrialState.FAIL) == (ours.status in STATES)
        assert list(theirs.intermediate_values) == [unit.unit for unit in ours.units]
        for unit in ours.units:
            equal(unit.validation, theirs.intermediate_values[unit.unit])
        if ours.status not in STATES:
            assert theirs.value == ours.value
            whole = ours.units[-1].unit == 9 or ours.number == study.best_trial.number
            assert theirs.state == (TrialState.COMPLETE if whole else TrialState.PRUNED)
        assert theirs.params["lr"] == ours.config["lr"]
        assert theirs.distributions["lr"] == optuna.distributions.FloatDistribution(1e-3, 10.0, log=True)
        width = ours.config["width"]
        assert theirs.params["width"] == (width if isinstance(width, int) else "[1, 2]")
        assert theirs.user_attrs["status"] == ours.status
        assert theirs.user_attrs.get("cause", "") == ours.cause
    assert {trial.state for trial in read.trials} == {TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED}
    again = study.to_optuna(storage, name="mine")  # nothing new
    assert [trial._trial_id for trial in again.trials] == [trial._trial_id for trial in read.trials]


def test_optuna_is_brought_up_to_date_after_more_trials(tmp_path):
    storage, options = f"sqlite:///{tmp_path}/optuna.db", {"seed": 0, "study": tmp_path / "mine"}
    random = RandomSearch(SPACE, max_units=1, max_trials=4)
    first = tune(module(), random, **options).to_optuna(storage, name="mine")
    first.set_user_attr("note", "mine")
    more = tune(module(), random, **options, max_trials=7)
    after = more.to_optuna(storage, name="mine")
    assert len(after.trials) == 7 and after.user_attrs["note"] == "mine"  # appended
    whole = tune(module(), random, seed=0, max_trials=7).to_optuna()
    assert [trial.params for trial in after.trials] == [trial.params for trial in whole.trials]
    assert [trial.values for trial in after.trials] == [trial.values for trial in whole.trials]


def test_trials_that_went_on_replace_what_optuna_knew_of_them(bowl, tmp_path):
    storage, seen = f"sqlite:///{tmp_path}/optuna.db", []

    def stop(study, report):
        if len(study.reports) == 5:
            seen.append([trial.state for trial in study.to_optuna(storage, name="mine").trials])
            study.stop()

    options = {"seed": 1, "workers": 2, "study": tmp_path / "mine"}
    tune(bowl, asha(bowl.space), **options, callbacks=[stop])
    done = tune(bowl, asha(bowl.space), **options)
    read = done.to_optuna(storage, name="mine")
    assert TrialState.RUNNING in seen[0]
    assert len(read.trials) == 12 and TrialState.RUNNING not in {trial.state for trial in read.trials}
    assert read.best_value == done.best_value
    assert len(optuna.get_all_study_names(storage)) == 1


def test_another_study_of_its_name_stays_as_it_is(bowl, tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    one = tune(bowl, asha(bowl.space), seed=1)
    one.to_optuna(storage, name="mine")
    for other in (
        tune(bowl, asha(bowl.space), seed=2),
        tune(bowl, asha(bowl.space, 5), seed=1),  # fewer trials
        tune(bowl, asha(bowl.space), seed=1, warm_start="literal"),
    ):
        with pytest.raises(
            InvalidArgumentError, match=r"^name: must be new in the storage, or a former state"
        ):
            other.to_optuna(storage, name="mine")
    optuna.create_study(storage=storage, study_name="by hand")
    with pytest.raises(InvalidArgumentError, match=r"another study 'by hand'; pass name="):
        one.to_optuna(storage, name="by hand")


@pytest.mark.parametrize("storage", ["study.db", Path("folder/study.db")])
def test_a_path_is_no_storage_of_optuna(bowl, storage):
    study = tune(bowl, asha(bowl.space), seed=0)
    with pytest.raises(InvalidArgumentError, match=rf"^storage: must be .*; write 'sqlite:///{storage}'$"):
        study.to_optuna(storage)


def test_optuna_minimises_what_is_minimised(bowl):
    study = tune(Minimised(), asha(bowl.space), seed=0, direction="minimize")
    read = study.to_optuna()
    assert read.direction.name == "MINIMIZE"
    assert read.best_value == study.best_value


def test_a_trial_that_runs_is_running_in_optuna(bowl):
    seen = []

    def look(study, report):
        if len(study.reports) == 3:
            seen.extend(trial.state for trial in study.to_optuna().trials)

    tune(bowl, asha(bowl.space), seed=0, workers=3, callbacks=[look])
    assert seen.count(TrialState.RUNNING) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda study: study.to_optuna(1),
            r"^storage: must be None, a URL, or a storage .*, but got 1;",
        ),
        (lambda study: study.to_optuna(""), r"^storage: must be None, a URL, .* write 'sqlite:///study.db'$"),
        (
            lambda study: study.to_optuna("nope://x"),
            r"^storage: must be one that can be opened, .*'nope://x'",
        ),
        (
            lambda study: study.to_optuna("sqlite:////nowhere/x.db"),
            r"^storage: must be .* unable to open",
        ),
        (
            lambda study: study.to_optuna("nope://me:secret@x/y"),
            r"^storage: .*'nope://me:\*\*\*@x/y' \(",
        ),
        (lambda study: study.to_optuna(name=3), r"^name: must be a name, or None, but got 3;"),
        (lambda study: study.to_optuna(name=""), r"^name: must be a name, or None, but got '';"),
        (lambda study: study.to_long_form(1), r"^variation: must be a name, or None, but got 1;"),
        (lambda study: study.to_frame(per="x"), r"^per: "),
        (lambda study: study.plot.slices(path="a\0.pdf"), r"^path: must be the path of a file, but got "),
    ],
)
def test_what_nobody_can_export_to_is_refused(call, message, bowl):
    study = tune(bowl, asha(bowl.space, 3), seed=0)
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        call(study)
    assert "\n" not in str(refused.value) and "secret" not in str(refused.value)
