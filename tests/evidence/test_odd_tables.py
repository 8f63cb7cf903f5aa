"""Odd tables for `compare`: what stands where a number belongs, runs without a score, strange names."""

import json

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.evidence.loading.wording import number_remedy
from hypernudge.evidence.report.compare_file import Request, compare_file
from hypernudge.plotting.style import file_name
from tests.evidence.long_tables import results, written
from tests.evidence.refusals import ended

# --- `compare`: what stands where a number belongs ---

REMEDIES = {
    "a seed with its name": ("seed", "seed0", "write the number alone (0)"),
    "a seed of two numbers": ("seed", "0-1", "write a whole number"),
    "per cent": ("score", "58%", "without the per cent sign (0.58)"),
    "per cent with a blank": ("score", "58.5 %", "without the per cent sign (0.585)"),
    "a decimal comma": ("score", "0,58", "write it with a point (0.58)"),
    "thousands": ("time", "1,234.5", "without separators of thousands (1234.5)"),
    "thousands of the French": ("time", "1 234 567", "without separators of thousands (1234567)"),
    "thousands of the Germans": ("time", "1.234,5", "(1234.5)"),
    "either": ("time", "1,234", "may mean either: write 1234 or 1.234"),
    "an ISO time": ("time", "2024-01-01T10:00", "the seconds since the run began"),
    "a date": ("time", "01.02.2024", "the seconds since the run began"),
    "a time of day": ("time", "10:00:05", "the seconds since the run began"),
    "a span": ("time", "0 days 00:01:00", "the seconds since the run began"),
    "a unit": ("time", "12.5s", "write the number alone (12.5)"),
    "a word": ("score", "good", "leave the score empty where the run diverged"),
}


@pytest.mark.parametrize("case", REMEDIES)
def test_the_remedy_fits_what_stands_there(tmp_path, capsys, case):
    column, text, remedy = REMEDIES[case]
    frame = results(seeds=2).astype({column: object})
    frame.iloc[3, frame.columns.get_loc(column)] = text
    path = written(frame, tmp_path / "runs.csv")
    error = ended(["compare", path, "--baseline", "asha", "--target", "0.9"], capsys)
    assert f"row 5, column {column}" in error
    assert remedy in error
    assert number_remedy(text, column) in error


# --- `compare`: runs without a score ---


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_run_without_a_finite_score_is_a_miss_in_every_format(tmp_path, suffix, bad):
    frame = results(seeds=8)
    diverged = (frame["variation"] == "mine") & (frame["seed"] < 3)
    frame.loc[diverged, "score"] = bad
    events = []
    compare_file(
        written(frame, tmp_path / f"runs{suffix}"), Request(baseline="asha", target=0.8), events.append
    )
    for comparison in (event for event in events if event["event"] == "comparison"):
        assert (comparison["pairs"], comparison["missing_pairs"]) == (8, 0)
        assert (comparison["reached_baseline"], comparison["reached_method"]) == (8, 5)
    flags = [e for e in events if e["event"] == "problem" and "no finite score" in e["rule"]]
    assert [flag["where"] for flag in flags] == ["cells digits-mine", "cells wine-mine"]
    assert "seed 0, 1, 2" in flags[0]["rule"]


def one_row_miss(frame, when):
    diverged = (frame["variation"] == "mine") & (frame["seed"] < 3)
    rows = frame[diverged].groupby(["task", "variation", "seed"], as_index=False).first()
    return pd.concat([frame[~diverged], rows.assign(time=when, score=np.nan)])


@pytest.mark.parametrize("when", [0.0, 2.0])
def test_a_run_that_ended_by_diverging_does_not_shorten_the_others(tmp_path, when):
    path = written(one_row_miss(results(seeds=8), when), tmp_path / "runs.csv")
    events = []
    compare_file(path, Request(baseline="asha", target=0.8), events.append)
    for comparison in (event for event in events if event["event"] == "comparison"):
        assert (comparison["reached_baseline"], comparison["reached_method"]) == (8, 5)


def test_a_run_that_diverged_later_does_not_shorten_the_others_either(tmp_path):
    frame = results(tasks=("digits",), seeds=8)
    early = (frame["variation"] == "mine") & (frame["time"] > 10)
    cut = frame[~early].copy()
    cut.loc[(cut["variation"] == "mine") & (cut["time"] == 10), "score"] = np.nan
    events = []
    compare_file(written(cut, tmp_path / "runs.csv"), Request(baseline="asha", target=0.8), events.append)
    (comparison,) = [event for event in events if event["event"] == "comparison"]
    assert (comparison["reached_baseline"], comparison["reached_method"]) == (8, 0)
    assert comparison["verdict"] == "harmed"


def test_of_two_misses_the_one_without_a_score_loses_and_two_without_are_equal(tmp_path):
    """Seed 0: both without a score. Seeds 1 to 7: the baseline's only score is the worst anyone ever saw."""
    rows = [("t", "asha", 0, 10.0, np.nan), ("t", "mine", 0, 10.0, np.nan)]
    rows += [("t", "asha", seed, 10.0, 0.1) for seed in range(1, 8)]
    rows += [("t", "mine", seed, 10.0, np.nan) for seed in range(1, 8)]
    rows += [("t", side, 8, 10.0, 0.95) for side in ("asha", "mine")]
    frame = pd.DataFrame(rows, columns=["task", "variation", "seed", "time", "score"])
    events = []
    compare_file(written(frame, tmp_path / "runs.csv"), Request(baseline="asha", target=0.9), events.append)
    (comparison,) = [event for event in events if event["event"] == "comparison"]
    assert comparison["pairs"] == 9
    time = comparison["time_to_target"]
    assert (time["wins"], time["losses"], time["ties"]) == (0, 7, 2)
    assert time["p"] == pytest.approx(2 / 2**7)


# --- Names ---


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_long_name_still_has_its_figures_and_a_verdict(tmp_path, capsys, suffix):
    frame = results(tasks=("x" * 250,), seeds=6).replace({"mine": "y" * 250})
    frame["task"] = frame["task"].where(frame["seed"] % 2 == 0, frame["task"].str[:-1] + "z")
    path = written(frame, tmp_path / f"runs{suffix}")
    arguments = ["compare", path, "--baseline", "asha", "--target", "0.9", "--json"]
    figures = ["--figures", tmp_path / "figures"] if suffix == ".csv" else []
    assert main([str(a) for a in [*arguments, *figures]]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "verdict" and events[-1]["method"] == "y" * 250
    if not figures:
        return
    drawn = [event["name"] for event in events if event["event"] == "figure"]
    assert len(set(drawn)) == len(drawn) > 5
    assert max(map(len, drawn)) <= 130


def test_file_names_are_bounded_and_differ():
    names = {file_name("topic", "x" * 300 + end, "mine") for end in "abc"}
    assert len(names) == 3
    assert all(len(name) == 120 and name.startswith("topic_xxx") for name in names)
    assert file_name("topic", "a/b") == "topic_a_b"


def test_a_verdict_is_there_though_no_figure_can_be_written(tmp_path, capsys, monkeypatch):
    from hypernudge.plotting import style

    def full(figure, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(style, "save", full)
    path = written(results(), tmp_path / "runs.csv")
    arguments = ["compare", path, "--baseline", "asha", "--target", "0.9", "--figures", tmp_path / "f"]
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert "SUPPORTED" in captured.out
    assert "No space left on device" in captured.out


JSON_ROW = '"task": "d", "variation": "a", "seed": 0, "time": 1, "score": '
JSON_LINES = {
    "digits without end": ("{" + JSON_ROW + "9" * 400 + "}", ["row 1, column score", "must be a number"]),
    "more digits": ("{" + JSON_ROW + "9" * 5000 + "}", ["row 1, column score", "must be a number"]),
    "deep": ("[" * 100_000, ["row 1", "must be JSON"]),
    "nested names": ("{" + JSON_ROW.replace('"d"', "[1]") + "1}", ["row 1, column task", "must be one name"]),
    "nested hardware": ('{"hardware": {}, ' + JSON_ROW + "1}", ["row 1, column hardware", "one name"]),
    "nested trials": ('{"trial": [2], ' + JSON_ROW + "1}", ["row 1, column trial", "one name"]),
}


@pytest.mark.parametrize("case", JSON_LINES)
def test_odd_json_is_refused_by_row_and_column(tmp_path, capsys, case):
    text, words = JSON_LINES[case]
    (tmp_path / "runs.jsonl").write_text(text + "\n")
    error = ended(["compare", tmp_path / "runs.jsonl", "--baseline", "a", "--target", "1"], capsys)
    for word in words:
        assert word in error


def test_long_notes_are_no_damage(tmp_path):
    frame = results(tasks=("digits",), seeds=6).assign(note="")
    frame.iloc[5, frame.columns.get_loc("note")] = "x" * 200_000
    path, events = written(frame, tmp_path / "runs.csv"), []
    compare_file(path, Request(baseline="asha", target=0.8), events.append)
    assert events[-1]["event"] == "verdict"


def test_dollars_in_names_set_no_formulas(tmp_path):
    frame = results(tasks=("digits",), seeds=6).replace({"digits": r"$\foo$", "mine": "a $ and $ b"})
    path, events = written(frame, tmp_path / "runs.csv"), []
    request = Request(baseline="asha", target=0.8, metric="$x^{", figures=tmp_path / "figures")
    compare_file(path, request, events.append)
    assert events[-1]["method"] == "a $ and $ b"
    drawn = [event for event in events if event["event"] == "figure"]
    assert len(drawn) > 5 and not any(r"\$" in event["shows"] for event in drawn)


def test_half_a_character_is_no_name(tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    row = {"task": "a", "variation": "b", "seed": 0, "time": 1, "score": 1}
    path.write_text(json.dumps({**row, "variation": "\ud800"}) + "\n" + json.dumps(row) + "\n")
    error = ended(["compare", path, "--baseline", "b", "--target", "1"], capsys)
    assert "row 1, column variation: must be a name" in error
