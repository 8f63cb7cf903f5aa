"""A study on disk goes on from wherever it was cut, to the bits that it would have had."""

import contextlib
import json
import math
import os
import re
import subprocess
import sys

import pytest
import torch

from hypernudge import Hyperband, PopulationEngine, Real, SearchSpace, Study, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.study.store import BEST, FILE, LOCK, TRIALS
from hypernudge.tasks.module.scores import accuracy
from hypernudge.tasks.module.training import Training
from hypernudge.tasks.module.trials import Trials
from hypernudge.trial import Job
from tests.conftest import Bowl
from tests.study.tools import SPACE, asha, module, plain


class Killed(BaseException):
    pass


def killed_at(number):
    """Return an observer that dies at an event, after it is in the file."""
    left = [number]

    def observe(event):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return observe


def rounded(event, engine):
    """Return an event's text, its numbers to nine digits under the population engine."""
    if engine == "serial":
        return event
    return re.sub(r"\d+\.\d+(e[+-]?\d+)?", lambda number: f"{float(number[0]):.9g}", event)


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_a_study_killed_at_any_event_is_the_undisturbed_one(engine, bowl, tmp_path):
    options = {"seed": 1, "workers": 3, "engine": engine, "warm_start": "fixed_band", "test": "every"}
    # What `torch.vmap` batches is the same up to rounding: others share a cohort after a kill.
    close = {"rtol": 0.0, "atol": 0.0} if engine == "serial" else {"rtol": 1e-9, "atol": 1e-12}

    def same(ours, others):
        return [rounded(e, engine) for e in plain(ours)] == [rounded(e, engine) for e in plain(others)]

    whole = tune(bowl, asha(bowl.space), **options)
    for number in range(2, len(whole.history.events), 7):
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            tune(bowl, asha(bowl.space), study=folder, callback=killed_at(number), **options)
        seen = []
        again = tune(bowl, asha(bowl.space), study=folder, callback=seen.append, **options)
        assert same(again.history.events, whole.history.events)
        assert len(seen) < len(whole.history.events)
        torch.testing.assert_close(again.best_weights()["w"], whole.best_weights()["w"], **close)
        assert plain(Study.open(folder).history.events) == plain(again.history.events)


def test_no_unit_of_a_module_is_trained_twice(tmp_path, monkeypatch):
    trained = []

    def advance(self, honest=Training.advance):
        trained.append((self.seed, self.unit + 1))
        return honest(self)

    whole = tune(module(), asha(SPACE, 20), seed=0, workers=2)
    monkeypatch.setattr(Training, "advance", advance)
    for number in (3, 4, 9, 2, 11):  # each run dies after so many new events
        with pytest.raises(Killed):
            tune(module(), asha(SPACE, 20), seed=0, workers=2, study=tmp_path, callback=killed_at(number))
    study = tune(module(), asha(SPACE, 20), seed=0, workers=2, study=tmp_path)
    assert plain(study.history.events) == plain(whole.history.events)
    finished = {(seed, unit) for seed, unit in trained}
    failed = [trial for trial in study.trials if trial.status == "failed"]
    assert failed
    assert any(trial.status == "diverged" for trial in study.trials)
    count = sum(len(trial.units) for trial in study.trials)
    assert len(finished) == count + len(failed)
    seeds = {Streams(0).trial_seed(trial.number) for trial in failed}
    twice = {key for key in finished if trained.count(key) > 1}
    assert all(seed in seeds for seed, _ in twice)  # what raises has trained no unit: it raises again
    assert study.best_value == whole.best_value
    for name, value in whole.best_weights().items():
        assert torch.equal(value, study.best_weights()[name])
    assert not (tmp_path / TRIALS).exists()
    assert len(list((tmp_path / BEST).iterdir())) == 1


@pytest.mark.parametrize("first", range(4))
def test_a_kill_between_two_units_of_a_job_costs_no_unit(first, tmp_path, monkeypatch):
    """Scores tie, so that units are looked at again that were no candidates before the kill."""
    trained, left = [], [0]

    def advance(self, state, honest=Trials.advance):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        before = state.reached
        going = honest(self, state)
        if state.reached > before:
            trained.append((state.file, state.unit))
        return going

    def coarse(net, split):
        return round(4 * accuracy(net, split)) / 4

    def go():
        return tune(module(score=coarse), asha(SPACE, 20), seed=1, workers=3, study=tmp_path)

    monkeypatch.setattr(Trials, "advance", advance)
    for count in range(first + 1, 30, 4):
        left[0] = count
        with contextlib.suppress(Killed):
            go()
    left[0] = 10_000
    study = go()
    assert len(trained) == len(set(trained)) == sum(len(trial.units) for trial in study.trials)
    monkeypatch.undo()
    whole = tune(module(score=coarse), asha(SPACE, 20), seed=1, workers=3)
    assert plain(study.history.events) == plain(whole.history.events)
    assert study.best_test == whole.best_test
    for name, value in whole.best_weights().items():
        assert torch.equal(value, study.best_weights()[name])


def test_a_study_that_is_done_returns_at_once(bowl, tmp_path, monkeypatch):
    first = tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    content = (tmp_path / FILE).read_bytes()
    monkeypatch.setattr(Bowl, "batch", None)  # training would raise
    again = tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    assert plain(again.history.events) == plain(first.history.events)
    assert again.ended == first.ended == "scheduler"
    assert (tmp_path / FILE).read_bytes() == content
    assert not (tmp_path / LOCK).exists()


def test_a_larger_budget_is_the_study_that_had_it_from_the_start(bowl, tmp_path):
    options = {"seed": 2, "workers": 3}
    whole = tune(bowl, asha(bowl.space, 40), budget=6e-6, **options)
    short = tune(bowl, asha(bowl.space, 40), budget=2.5e-6, study=tmp_path, **options)
    assert any(trial.status == "stopped" for trial in short.trials)
    assert short.ended == "budget"
    longer = tune(bowl, asha(bowl.space, 40), budget=6e-6, study=tmp_path, **options)
    assert plain(longer.history.events) == plain(whole.history.events)
    opened = Study.open(tmp_path)
    assert plain(opened.history.events) == plain(whole.history.events)
    assert opened.budget == 6e-6
    with pytest.raises(InvalidArgumentError, match=r"budget was 6e-06, is 1e-06"):
        tune(bowl, asha(bowl.space, 40), budget=1e-6, study=tmp_path, **options)


def test_more_trials_go_on(bowl, tmp_path):
    first = tune(bowl, asha(bowl.space), seed=0, study=tmp_path, max_trials=8)
    more = tune(bowl, asha(bowl.space), seed=0, study=tmp_path, max_trials=20)
    assert [len(first.trials), len(more.trials)] == [8, 20]
    count = len(first.history.events)
    assert plain(more.history.events[:count]) == plain(first.history.events)
    with pytest.raises(InvalidArgumentError, match=r"scheduler\.max_trials was 20, is 9"):
        tune(bowl, asha(bowl.space), seed=0, study=tmp_path, max_trials=9)


def test_brackets_that_more_trials_would_change_are_refused(bowl, tmp_path):
    brackets = Hyperband(bowl.space, max_units=9)
    tune(bowl, brackets, seed=0, study=tmp_path, max_trials=4)
    with pytest.raises(InvalidArgumentError, match=r"^max_trials: must stay as it was with Hyperband"):
        tune(bowl, brackets, seed=0, study=tmp_path, max_trials=30)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"workers": 2}, "workers was 1, is 2"),
        ({"warm_start": "fixed_band"}, r"warm_start\.type was 'NoWarmStart', is 'FixedBand'"),
        ({"direction": "minimize"}, "direction was 'maximize', is 'minimize'"),
        ({"test": "never"}, "test was 'best', is 'never'"),
        ({"scheduler": {"name": "asha", "max_units": 9, "max_trials": 12, "eta": 2}}, r"eta was 3, is 2"),
        ({"scheduler": {"name": "random", "max_units": 9, "max_trials": 12}}, r"type was 'ASHA', is"),
        ({"task": Bowl(torch.float32)}, None),
    ],
)
def test_other_arguments_are_refused_with_what_differs(change, said, bowl, tmp_path):
    arguments = {"task": bowl, "scheduler": asha(bowl.space), "seed": 0, "study": tmp_path}
    tune(**arguments)
    before = (tmp_path / FILE).read_bytes()
    if said is None:  # of what a task computes nobody can tell
        tune(**{**arguments, **change})
        return
    with pytest.raises(
        InvalidArgumentError, match=rf"^study: .* begun with other arguments: .*{said}"
    ) as told:
        tune(**{**arguments, **change})
    assert "\n" not in str(told.value)
    assert (tmp_path / FILE).read_bytes() == before


def test_another_space_is_refused(bowl, tmp_path):
    tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    other = Bowl()
    other.space = SearchSpace([*list(other.space)[:-1], Real("label_smoothing", 0.0, 0.4)])
    with pytest.raises(InvalidArgumentError, match=r"space\.label_smoothing\.high was 0\.3, is 0\.4"):
        tune(other, asha(other.space), seed=0, study=tmp_path)


def test_a_second_writer_is_refused_and_names_the_first(bowl, tmp_path):
    told = []

    def second(event):
        if not told and isinstance(event, Job):
            with pytest.raises(InvalidArgumentError) as error:
                tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
            told.append(str(error.value))
            assert Study.open(tmp_path).trials  # reading is allowed

    tune(bowl, asha(bowl.space), seed=0, study=tmp_path, callback=second)
    assert re.match(rf"study: .* must have one writer, but process {os.getpid()} on .* has it; ", told[0])
    assert "\n" not in told[0]


@pytest.mark.parametrize("bytes_lost", [1, 2, 30])
def test_a_torn_last_line_is_cut_off(bytes_lost, bowl, tmp_path):
    options = {"seed": 0, "study": tmp_path}
    with pytest.raises(Killed):
        tune(bowl, asha(bowl.space), callback=killed_at(11), **options)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-bytes_lost])
    assert Study.open(tmp_path).trials
    again = tune(bowl, asha(bowl.space), **options)
    assert plain(again.history.events) == plain(tune(bowl, asha(bowl.space), seed=0).history.events)


def test_a_header_that_was_never_finished_is_begun_again(bowl, tmp_path):
    tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidArgumentError, match="has no whole line yet"):
        Study.open(tmp_path)
    assert len(tune(bowl, asha(bowl.space), seed=3, study=tmp_path).trials) == 12


def going_on(bowl, folder):
    return tune(bowl, asha(bowl.space), seed=0, study=folder)


def reading(bowl, folder):
    return Study.open(folder)


def test_damage_elsewhere_is_refused_by_line(bowl, tmp_path):
    tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    path = tmp_path / FILE
    lines = path.read_bytes().split(b"\n")
    whole = b"\n".join(lines)
    damages = {
        "bit": [*lines[:4], lines[4].replace(b"0", b"1", 1), *lines[5:]],
        "lost": [*lines[:4], *lines[5:]],
        "twice": [*lines[:5], lines[4], *lines[5:]],
        "text": [*lines[:4], b"hello", *lines[5:]],
    }
    for damage in damages.values():
        path.write_bytes(b"\n".join(damage))
        for attempt in (going_on, reading):
            with pytest.raises(InvalidArgumentError, match=r"line [56] was changed after") as told:
                attempt(bowl, tmp_path)
            assert str(path) in str(told.value)
            assert "\n" not in str(told.value)
    path.write_bytes(whole)
    assert Study.open(tmp_path).ended == "scheduler"


def test_the_file_is_json_lines_with_the_users_scores(bowl, tmp_path):
    study = tune(bowl, asha(bowl.space), seed=0, study=tmp_path, direction="minimize")
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [line["event"] for line in lines[:3]] == ["study", "start", "job"]
    assert lines[-1]["event"] == "ended"
    header = lines[0]["arguments"]
    assert header["seed"] == 0 and header["task"]["name"] == "bowl" and header["budget"] == "Infinity"
    assert lines[0]["environment"]["torch"] == torch.__version__
    scores = [unit[2] for line in lines if line["event"] == "report" for unit in line["units"]]
    assert sorted(scores) == sorted(unit.validation for trial in study.trials for unit in trial.units)


def test_a_timeout_stops_and_the_study_goes_on(bowl, tmp_path):
    options = {"seed": 0, "study": tmp_path, "workers": 2}
    begun = tune(bowl, asha(bowl.space), timeout=1e-9, **options)
    assert begun.ended is None
    assert "can go on" in repr(begun)
    stopped = tune(bowl, asha(bowl.space), callbacks=[lambda study, report: study.stop()], **options)
    assert len(stopped.reports) == 1
    whole = tune(bowl, asha(bowl.space), **options)
    assert whole.ended == "scheduler"
    assert plain(whole.history.events) == plain(
        tune(bowl, asha(bowl.space), seed=0, workers=2).history.events
    )


def test_a_disk_that_is_full_stops_the_study_and_loses_nothing(bowl, tmp_path, monkeypatch):
    honest, left = os.write, [2500]

    def write(handle, data):
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return honest(handle, data)

    monkeypatch.setattr("hypernudge.study.log.os.write", write)
    with pytest.raises(OSError, match="No space left"):
        tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    monkeypatch.undo()
    again = tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    assert plain(again.history.events) == plain(tune(bowl, asha(bowl.space), seed=0).history.events)


@pytest.mark.parametrize("study", ["mine", "mine/inside", "mine/further/inside"])
def test_a_folder_that_is_a_file_is_refused(bowl, tmp_path, study):
    (tmp_path / "mine").write_text("something else")
    with pytest.raises(InvalidArgumentError, match=r"^study: must be a folder"):
        tune(bowl, asha(bowl.space), seed=0, study=tmp_path / study)


def test_the_lock_is_free_after_a_kill(tmp_path):
    code = (
        "import os, sys\nfrom hypernudge import tune\nfrom tests.conftest import Bowl\n"
        "from tests.study.tools import asha\nbowl = Bowl()\n"
        "def die(event):\n    os.kill(os.getpid(), 9)\n"
        f"tune(bowl, asha(bowl.space), seed=0, study={str(tmp_path)!r}, callback=die)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / LOCK).exists()
    bowl = Bowl()
    assert len(tune(bowl, asha(bowl.space), seed=0, study=tmp_path).trials) == 12
    assert not (tmp_path / LOCK).exists()


def test_the_engine_may_change(bowl, tmp_path, caplog):
    with pytest.raises(Killed):
        tune(bowl, asha(bowl.space), seed=0, study=tmp_path, callback=killed_at(9))
    study = tune(bowl, asha(bowl.space), seed=0, study=tmp_path, engine=PopulationEngine(device="cpu"))
    assert "engine SerialEngine then, PopulationEngine now" in caplog.text
    assert math.isfinite(study.best_value)
