"""What people ask of a study."""

import importlib.util
import io
import math
import sys

import pandas as pd
import pytest
import torch

from hypernudge import PopulationEngine, RandomSearch, Study, tune
from hypernudge.engine.serial import SerialEngine
from hypernudge.errors import InvalidArgumentError, MissingExtraError, package
from hypernudge.evidence.loading.fromtable import study_from_table
from hypernudge.evidence.loading.longform import check_long_form
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.random import Streams
from hypernudge.study.progress import Progress, duration
from tests.conftest import Bowl
from tests.study.tools import SPACE, TEST, VALID, AlwaysFails, Minimised, asha, data, module


def accuracy(task, study, part):
    net = task.recipe.model(study.best_config)
    net.load_state_dict(study.best_weights())
    x, y = data()
    with torch.no_grad():
        return float((net(x[part]).argmax(1) == y[part]).double().mean())


@pytest.mark.parametrize("engine", ["serial", "population"])
@pytest.mark.parametrize("kept", [False, True])
def test_the_best_weights_of_a_module_score_what_was_recorded(engine, kept, tmp_path):
    task = module()
    study = tune(task, asha(SPACE, 20), seed=0, workers=3, engine=engine, study=tmp_path if kept else None)
    assert accuracy(task, study, VALID) == study.best_value
    assert accuracy(task, study, TEST) == study.best_test
    if kept:
        opened = Study.open(tmp_path)
        assert accuracy(task, opened, VALID) == opened.best_value == study.best_value
        assert opened.best_test == study.best_test


@pytest.mark.parametrize("kept", [False, True])
def test_averaged_weights_are_those_that_were_scored(kept, tmp_path):
    task = module(fixed={"ema": 0.5})
    study = tune(task, asha(SPACE, 8), seed=0, study=tmp_path if kept else None)
    assert accuracy(task, study, VALID) == study.best_value


@pytest.mark.parametrize("engine", ["serial", "population"])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_weights_are_those_of_the_best_unit(engine, direction, tmp_path):
    bowl = Bowl() if direction == "maximize" else Minimised()
    options = {"seed": 3, "workers": 4, "engine": engine, "direction": direction}
    study = tune(bowl, asha(bowl.space, 30), study=tmp_path, **options)
    assert bowl.score(study.best_weights(), "validation") == study.best_value
    assert len(list((tmp_path / "best").iterdir())) == 1
    trial, unit = study.best()
    state = bowl.start(Streams(3).trial_seed(trial.number))
    for _ in range(unit.unit):
        bowl.advance(state, trial.config)
    torch.testing.assert_close(state.params["w"].detach(), study.best_weights()["w"])
    in_memory = tune(bowl, asha(bowl.space, 30), **options)
    assert torch.equal(in_memory.best_weights()["w"], study.best_weights()["w"])


def test_a_score_that_is_made_small_has_the_users_sign(bowl):
    large = tune(bowl, asha(bowl.space), seed=0, workers=2)
    small = tune(Minimised(), asha(bowl.space), seed=0, workers=2, direction="minimize")
    assert small.best_value == -large.best_value > 0
    assert small.best_config == large.best_config
    assert small.best_trial.number == large.best_trial.number
    assert small.best_test == -large.best_test
    assert [t.value for t in small.trials] == [-t.value for t in large.trials]
    assert (small.to_frame()["value"] == -large.to_frame()["value"]).all()
    assert [r.units for r in small.reports] != [r.units for r in large.reports]
    assert small.reports[0].units[0].validation == -large.reports[0].units[0].validation
    assert "minimize" in repr(small)
    fast = tune(Minimised(), asha(bowl.space), seed=0, workers=2, direction="minimize", engine="population")
    assert fast.best_value == pytest.approx(small.best_value)


class Counting(Bowl):
    def __init__(self):
        super().__init__()
        self.scored = {"validation": 0, "test": 0}

    def score(self, params, split):
        self.scored[split] += 1
        return super().score(params, split) - (split == "test")


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_the_test_part_is_scored_where_it_is_asked_for(engine):
    found = {}
    for policy in ("every", "best", "never"):
        task = Counting()
        study = tune(task, asha(task.space, 20), seed=0, workers=2, engine=engine, test=policy)
        units = [unit for trial in study.trials for unit in trial.units]
        assert task.scored["validation"] >= len(units)
        found[policy] = study
        scored = [unit for unit in units if math.isfinite(unit.test)]
        if policy == "every":
            assert len(scored) == len(units)
        elif policy == "best":
            assert not scored
            assert 0 < task.scored["test"] < len(units) / 2
        else:
            assert task.scored["test"] == 0
    assert found["best"].best_test == found["every"].best_test
    assert found["best"].best()[1] == found["every"].best()[1]
    assert math.isnan(found["never"].best_test)


def test_a_frame_has_every_trial_and_every_unit(tmp_path):
    study = tune(module(), asha(SPACE, 20), seed=0, workers=2, study=tmp_path)
    frame = study.to_frame()
    assert len(frame) == 20
    assert set(frame["status"]) == {"paused", "failed", "diverged"}
    assert frame.loc[frame["status"] == "failed", "error"].str.contains("this rate is too large").all()
    assert list(frame["config.lr"]) == [trial.config["lr"] for trial in study.trials]
    assert (1, 2) in list(frame["config.width"])
    units = study.to_frame(per="unit")
    assert len(units) == sum(len(trial.units) for trial in study.trials)
    assert units["validation"].max() == study.best_value
    pd.testing.assert_frame_equal(
        Study.open(tmp_path).to_frame().drop(columns="config.width"),
        frame.drop(columns="config.width"),
        check_like=True,
    )
    with pytest.raises(InvalidArgumentError, match=r"^per: "):
        study.to_frame(per="epoch")


def test_the_long_form_is_what_compare_reads(bowl):
    rows = [
        tune(bowl, asha(bowl.space), seed=seed, warm_start=policy).to_long_form(name)
        for seed in range(6)
        for policy, name in ((None, "plain"), ("fixed_band", None))
    ]
    table = check_long_form(pd.concat(rows), wall_clock=False)
    assert set(table.frame["variation"]) == {"plain", "fixed_band"}
    study = study_from_table(table, baseline="plain", target=-1.0)
    assert [c.method.warm_start for c in compare(study)] == ["fixed_band"]


def test_it_reads_well(bowl, tmp_path):
    study = tune(bowl, asha(bowl.space), seed=0, warm_start="fixed_band", study=tmp_path)
    text = repr(study)
    whole = sum(trial.units[-1].unit == 9 for trial in study.trials)
    assert 0 < whole < 12 and {trial.status for trial in study.trials} == {"paused"}  # the scheduler's word
    assert text.startswith("Study of bowl, ASHA, warm start fixed_band, seed 0\n")
    for part in (
        f"trials: 12 ({whole} finished, {12 - whole} paused)",
        f"{study.best_value:.6g}",
        "lr=",
        "ended by its scheduler",
        str(tmp_path),
    ):
        assert part in text
    html = study._repr_html_()
    assert html.count("<td>finished</td>") >= 1 and html.count("<td>paused</td>") >= 1
    assert html.count("<tr>") > 10 and "warm start fixed_band" in html and "<script" not in html


def test_best_says_how_many_failed_and_why():
    task = AlwaysFails()
    study = tune(task, RandomSearch(task.space, max_units=1, max_trials=5), seed=0)
    for attempt in (study.best, lambda: study.best_value, lambda: study.best_config, study.best_weights):
        with pytest.raises(ValueError, match=r"^best: no trial has a score: of 5 trials 5 failed; ") as told:
            attempt()
        assert "the first, trial 0: OSError: the disk is gone" in str(told.value)
        assert "\n" not in str(told.value)
    assert "5 failed" in repr(study)


def test_a_loss_that_raises_for_some_configurations_fails_those_trials_alone():
    """FLOPs are counted by running the loss: what it raises belongs to that trial, as in training."""
    first = {"serial": None, "population": None}
    for engine in first:
        study = tune(module(), asha(SPACE, 20), seed=4, engine=engine)
        first[engine] = [(trial.status, trial.flops, trial.finished) for trial in study.trials]
        assert {status for status, *_ in first[engine]} == {"paused", "failed", "diverged"}
    assert first["serial"] == first["population"]


def test_a_study_of_failures_that_cost_nothing_ends(monkeypatch):
    class Broken(Bowl):
        def unit_flops(self, hp):
            if hp == self.space.decode([0.5] * len(self.space)):  # asked before the study
                return 1.0
            raise OSError("nobody can tell")

    monkeypatch.setattr("hypernudge.tuner.STALLED", 20)
    task = Broken()
    with pytest.raises(
        RuntimeError, match="the last 20 trials failed before they were trained: OSError: nobody"
    ):
        tune(task, RandomSearch(task.space, max_units=1), seed=0, budget=1.0)


def test_an_engine_needs_no_task(bowl):
    expected = tune(bowl, asha(bowl.space), seed=0, workers=3, test="every")
    engine = PopulationEngine(device="cpu", threads=1)
    for _ in range(2):  # it is bound anew for every study
        assert (
            tune(bowl, asha(bowl.space), seed=0, workers=3, engine=engine).best_config == expected.best_config
        )
    own = tune(bowl, asha(bowl.space), seed=0, engine=PopulationEngine(workers=3), test="every")
    assert [r.finished for r in own.reports] == [r.finished for r in expected.reports]
    assert tune(bowl, asha(bowl.space), seed=0, engine=SerialEngine()).trials
    with pytest.raises(InvalidArgumentError, match=r"^workers: must be given once, but the engine has 3"):
        tune(bowl, asha(bowl.space), seed=0, workers=2, engine=PopulationEngine(workers=3))
    with pytest.raises(InvalidArgumentError, match=r"^seed_of: must be a function where task is given"):
        PopulationEngine(bowl)
    with pytest.raises(InvalidArgumentError, match=r"^engine: must know its task"):
        SerialEngine().submit(expected.reports[0].job)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"direction": "min"}, r"^direction: .*did you mean 'minimize'"),
        ({"test": True}, r"^test: must be one of 'best', 'every', 'never'"),
        ({"timeout": 0}, r"^timeout: must be a finite number above 0"),
        ({"timeout": "1h"}, r"^timeout: "),
        ({"callbacks": print}, r"^callbacks: must be a list of callables"),
        ({"callbacks": [lambda study: None]}, r"^callbacks: "),
        ({"progress": "yes"}, r"^progress: must be true or false"),
        ({"keep_weights": 1}, r"^keep_weights: must be true or false"),
        ({"study": 3}, r"^study: must be the path of a folder"),
        ({"study": ""}, r"^study: must be the path of a folder"),
        ({"study": "x", "resume_from": [1]}, r"^resume_from: must be left out with study="),
        ({"max_trials": 0}, r"^max_trials: must be a whole number >= 1"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(options, said, bowl):
    with pytest.raises(InvalidArgumentError, match=said) as told:
        tune(bowl, asha(bowl.space), seed=0, **options)
    assert "\n" not in str(told.value)


def test_a_scheduler_that_takes_no_number_of_trials_is_refused(bowl):
    class Own:
        max_units = 1

        def __call__(self, history, streams):
            raise AssertionError

    with pytest.raises(InvalidArgumentError, match=r"^max_trials: the scheduler must take it"):
        tune(bowl, Own(), seed=0, max_trials=3)


@pytest.mark.parametrize(
    "name",
    [
        "random",
        "successive_halving",
        "hyperband",
        "asha",
        "asha_stopping",
        "pasha",
        "bohb",
        "dyhpo",
        "boil",
        "one_epoch",
    ],
)
def test_every_scheduler_takes_a_number_of_trials(name, bowl):
    options = {"keep": 1} if name == "one_epoch" else {}
    study = tune(bowl, {"name": name, "max_units": 3, **options}, seed=0, max_trials=3)
    assert len(study.trials) == 3


def test_weights_that_are_not_kept_are_missed_in_one_line(bowl):
    study = tune(bowl, asha(bowl.space), seed=0, keep_weights=False)
    with pytest.raises(
        ValueError, match=r"^best_weights: those of trial \d+, unit \d+ are not kept; "
    ) as told:
        study.best_weights()
    assert "\n" not in str(told.value)
    assert math.isfinite(study.best_test)


def test_callbacks_see_the_study_and_every_report(bowl):
    seen = []
    study = tune(
        bowl, asha(bowl.space), seed=0, callbacks=[lambda s, report: seen.append((len(s.reports), report))]
    )
    assert [count for count, _ in seen] == list(range(1, len(study.reports) + 1))
    assert [report for _, report in seen] == study.reports


class Shown:
    def __init__(self):
        self.lines = []

    def show(self, lines, *, last=False):
        self.lines.append((" | ".join(lines), last))


def test_progress_tells_best_rungs_rate_and_what_is_left(bowl):
    study = tune(bowl, asha(bowl.space), seed=0)
    clock = iter(float(second) for second in range(1000))
    shown = Shown()
    empty = Study(type(study.history)(), 0, math.inf, study.about)
    progress = Progress(empty, 24, shown, clock=lambda: next(clock))
    for event in study.history.events:
        empty.history.append(event)
        progress.update(event)
    progress.end()
    last, ended = shown.lines[-1]
    assert ended and len(shown.lines) == len(study.reports) + 1
    best, unit = study.best()
    assert f"best {bowl.metric} {unit.validation:.6g} (trial {best.number}, unit {unit.unit}: lr=" in last
    assert "12/24 trials; at unit 1:12 3:6 9:2; 36 units" in last
    assert "units/s" in last and "left" in last


def test_progress_is_off_where_nobody_looks_and_plain_where_it_is_no_terminal(bowl, capsys):
    tune(bowl, asha(bowl.space), seed=0)
    tune(bowl, asha(bowl.space), seed=0, progress=False)
    assert capsys.readouterr() == ("", "")
    tune(bowl, asha(bowl.space), seed=0, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("bowl (ASHA, seed 0): 12/12 trials") and err.count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_shows_it_with_rich_and_without(rich, bowl, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    honest = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "rich" and not rich else honest(name)
    )
    tune(bowl, asha(bowl.space), seed=0)
    assert "12/12 trials" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) == rich


def test_durations():
    assert [duration(s) for s in (5, 600, 7800)] == ["5 s", "10 min", "2 h 10 min"]


def test_a_package_that_is_not_there_is_named_with_its_extra(bowl, monkeypatch):
    study = tune(bowl, asha(bowl.space), seed=0)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        MissingExtraError, match=r"^to_frame needs pandas, .*pip install 'hypernudge\[harness\]'"
    ):
        study.to_frame()
    with pytest.raises(MissingExtraError, match=r"nowhere"):
        package("hypernudge_nowhere", "none", "this")


def test_a_study_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"^path: must be the folder of a study or the record"):
        Study.open(tmp_path / "nothing")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InvalidArgumentError, match=r"must be the record of a cell"):
        Study.open(tmp_path / "other.json")
