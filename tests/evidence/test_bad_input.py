"""Bad tables, in every format: refused or flagged, with row and column; never silently skipped.

Rows of the tables below are positions in the data; `<3>` in what a message must say is the row that an
editor shows.
"""

import re

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.evidence.loading.longform import read_long_form
from hypernudge.evidence.loading.longform_files import SUFFIXES
from hypernudge.evidence.report.compare_file import Request, compare_file
from tests.evidence.long_tables import of_mixed_hardware, put, results, swap, without_a_pair, written

FIRST = {".csv": 2, ".jsonl": 1, ".parquet": 1}


def as_shown(text, suffix):
    return re.sub(r"<(\d+)>", lambda found: str(int(found.group(1)) + FIRST[suffix]), text)


def refusal(path, capsys, *more):
    assert main(["compare", str(path), "--baseline", "asha", "--target", "0.9", *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


REFUSED = {
    "duplicated entry": (lambda f: pd.concat([f.iloc[:1], f]), ["row <1>", "repeats row <0>"]),
    "duplicated cell": (
        lambda f: pd.concat([f, f.iloc[:20]]),
        ["row <800>, columns cell, time", "repeats row <0>", "19 more", "digits, asha, seed 0"],
    ),
    "cell run twice": (
        lambda f: pd.concat([f, f.iloc[:20].assign(time=lambda g: g["time"] + 0.5)]),
        ["row <800>, column time", "backwards", "its own seed"],
    ),
    "time backwards": (
        lambda f: swap(f, 4, 5),
        ["row <5>, column time", "backwards", "digits, asha, seed 0"],
    ),
    "negative time": (lambda f: put(f, 3, "time", -1.0), ["row <3>, column time", "-1.0"]),
    "no time": (lambda f: put(f, 3, "time", np.nan), ["row <3>, column time"]),
    "text score": (
        lambda f: put(f, 3, "score", "good").astype({"score": str}),
        ["row <3>, column score", "good"],
    ),
    "decimal comma": (
        lambda f: f.assign(score=f["score"].map(lambda x: str(x).replace(".", ","))),
        ["row <0>, column score", "with a point"],
    ),
    "no seed": (lambda f: put(f, 3, "seed", 1e30), ["row <3>, column seed", "below 2^53"]),
    "no score at all": (lambda f: f.assign(score=np.nan), ["row <0>, column score", "some score"]),
    "half a seed": (lambda f: put(f, 3, "seed", 1.5), ["row <3>, column seed", "1.5"]),
    "no task": (lambda f: put(f, 3, "task", None), ["row <3>, column task", "must not be empty"]),
    "mixed hardware": (
        of_mixed_hardware,
        ["row <3>, column hardware", "one kind of hardware", "h100", "--clock declared"],
    ),
    "no row": (lambda f: f.iloc[:0], ["at least one row"]),
    "unknown baseline": (
        lambda f: f.replace({"asha": "ASHA2"}),
        ["--baseline", "variation of the file", "'asha'", "did you mean 'ASHA2'"],
    ),
    "one variation": (lambda f: f[f["variation"] == "asha"], ["--method", "beside the baseline"]),
    "never reached": (
        lambda f: f.assign(score=f["score"] / 2),
        ["--target", "no run reached", "the best score is 0.4"],
    ),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", REFUSED)
def test_bad_tables_are_refused_with_row_and_column(tmp_path, capsys, case, suffix):
    change, words = REFUSED[case]
    error = refusal(written(change(results()), tmp_path / f"runs{suffix}"), capsys)
    for word in words:
        assert as_shown(word, suffix) in error


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("column", ["task", "variation", "seed", "time", "score"])
def test_a_missing_column_is_named(tmp_path, capsys, column, suffix):
    error = refusal(written(results().drop(columns=column), tmp_path / f"runs{suffix}"), capsys)
    assert column in error.split("but got")[0]


def test_a_target_reached_after_the_cut_is_said_to_be_so(tmp_path, capsys):
    """The table of docs/evidence.md: the shortest run, which misses, cuts off the score that reaches it."""
    rows = [("asha", 12.5, 0.81), ("asha", 25.1, 0.93), ("mine", 9.8, 0.84)]
    frame = pd.DataFrame(rows, columns=["variation", "time", "score"]).assign(task="digits", seed=0)
    error = refusal(written(frame, tmp_path / "runs.csv"), capsys)
    assert "the best score is 0.84" in error
    assert "it was reached after 9.8, where all are cut off: pass --budget" in error


FLAGGED = {
    "nan score": (lambda f: put(f, 3, "score", np.nan), "row <3>, column score", "1 of 800 scores are NaN"),
    "missing pair": (without_a_pair, "cells wine-mine", "no row for seed 4"),
    "one seed": (lambda f: f[(f["task"] == "digits") | (f["seed"] == 0)], "wine", "1 seed:"),
    "one task never reached": (
        lambda f: f.assign(score=f["score"].where(f["task"] == "digits", f["score"] / 2)),
        "wine",
        "no run reached the target 0.9",
    ),
    "reached at once": (
        lambda f: f.assign(score=f["score"] + (f["task"] == "wine")),
        "wine",
        "20 of 20 runs reach the target 0.9 with their first score",
    ),
    "no hardware": (lambda f: f, "column hardware", "one machine"),
    "uneven ends": (
        lambda f: f.assign(score=f["score"].where(f["seed"] != 1, 0.1))[
            ~((f["seed"] == 1) & (f["time"] > 60) & (f["variation"] == "asha"))
        ],
        "digits",
        "end between 60 and 100",
    ),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", FLAGGED)
def test_doubts_are_flagged_and_kept(tmp_path, case, suffix):
    change, where, rule = FLAGGED[case]
    path, events = written(change(results()), tmp_path / f"runs{suffix}"), []
    compare_file(path, Request(baseline="asha", target=0.9), events.append)
    problems = [event for event in events if event["event"] == "problem"]
    shown = as_shown(where, suffix)
    assert any(event["where"] == shown and rule in event["rule"] for event in problems), problems


HEADER = "task,variation,seed,time,score"


ROW = "digits,asha,0,1,0.5"


BROKEN = {
    "empty": ("a.csv", "", ["row 1", "must be a header"]),
    "only a header": ("a.csv", HEADER + "\n", ["at least one row"]),
    "duplicated header": ("a.csv", f"{HEADER},score\n{ROW},1\n", ["row 1, column score", "once"]),
    "too many fields at once": ("a.csv", f"{HEADER}\n{ROW},9\n{ROW},9\n", ["row 2", "5 fields", "header"]),
    "too many fields later": ("a.csv", f"{HEADER}\n{ROW}\n{ROW},9\n", ["row 3", "5 fields", "6"]),
    "truncated": ("a.csv", f"{HEADER}\n{ROW}\ndigits,asha,0,2", ["row 3", "5 fields", "truncated"]),
    "truncated within": ("a.csv", f"{HEADER}\n{ROW}\ndigits,asha,0,2\n{ROW}\n", ["row 3", "truncated"]),
    "after a quoted break": (
        "a.csv",
        f'{HEADER},note\n{ROW},"two\nlines"\ndigits,asha,0,-1,0.5,x\n',
        ["row 4, column time", "-1"],
    ),
    "unclosed quote": ("a.csv", f'{HEADER}\n"{ROW}\n', ["must be CSV"]),
    "not utf-8": ("a.csv", b"task\xff\n", ["UTF-8"]),
    "utf-16": ("a.csv", f"{HEADER}\n{ROW}\n".encode("utf-16"), ["UTF-8"]),
    "jsonl truncated": (
        "a.jsonl",
        '{"task": "a", "variation": "b", "seed": 0, "time": 1, "sc',
        ["row 1", "JSON"],
    ),
    "jsonl lacks a key": (
        "a.jsonl",
        '{"task": "a", "variation": "b", "seed": 0, "time": 1, "score": 1}\n\n{"task": "a"}\n',
        ["row 3", "variation, seed, time, score"],
    ),
    "jsonl array": ("a.jsonl", "[1]\n", ["row 1", "JSON object"]),
    "jsonl nested": (
        "a.jsonl",
        '{"task": "a", "variation": "b", "seed": 0, "time": 1, "score": [1]}\n',
        ["row 1, column score", "[1]"],
    ),
    "jsonl truth": (
        "a.jsonl",
        '{"task": "a", "variation": "b", "seed": 0, "time": 1, "score": true}\n',
        ["row 1, column score", "must be a number"],
    ),
    "jsonl not utf-8": ("a.jsonl", b"{\xff}\n", ["UTF-8"]),
    "jsonl empty": ("a.jsonl", "", ["at least one row"]),
    "another suffix": ("a.xlsx", "", ["end in one of"]),
    "no parquet": ("a.parquet", "PAR0", ["must be Parquet"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_by_name_or_row(tmp_path, capsys, case):
    name, content, words = BROKEN[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    error = refusal(path, capsys)
    for word in words:
        assert word in error


def test_parquet_truncated_or_with_times_of_day(tmp_path, capsys):
    whole = written(results(), tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-50])
    assert "must be Parquet" in refusal(tmp_path / "cut.parquet", capsys)
    dated = results().assign(time=lambda f: pd.to_datetime(f["time"], unit="s"))
    error = refusal(written(dated, tmp_path / "dated.parquet"), capsys)
    assert "row 1, column time" in error
    assert "since the cell began" in error
    results().set_index(["task", "seed"]).to_parquet(tmp_path / "indexed.parquet")
    assert len(read_long_form(tmp_path / "indexed.parquet").frame) == 800


def spreadsheet(text):
    return "\ufeff" + text.replace(",", ";").replace("\n", "\r\n")


ODD = {
    "semicolons and a mark": spreadsheet,
    "tabs": lambda text: text.replace(",", "\t"),
    "quotes": lambda text: re.sub(r"[^,\n]+", lambda word: f'"{word.group()}"', text),
    "blanks after commas": lambda text: text.replace(",", ", "),
    "blank lines": lambda text: text.replace("digits,mine,3,5.0", "\n\ndigits,mine,3,5.0") + "\n\n",
    "old line ends": lambda text: text.replace("\n", "\r"),
    "another column": lambda text: re.sub(r"(?<=.)\n", ",note\n", text),
    "no last line break": lambda text: text.rstrip("\n"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_spreadsheets_do_to_a_table_changes_nothing(tmp_path, case):
    plain, odd = results(), tmp_path / "odd.csv"
    odd.write_bytes(ODD[case](plain.to_csv(index=False, lineterminator="\n")).encode())
    read = read_long_form(odd)
    for name in ("task", "variation", "seed", "time", "score"):
        assert read.frame[name].tolist() == plain[name].tolist()
    cut = [flag for flag in read.flags if "truncated" in flag.rule]
    assert len(cut) == (case in ("no last line break", "old line ends") and "last" in case)
    lines = odd.read_bytes().decode("utf-8-sig").splitlines()
    last = read.frame["row"].iloc[-1]
    assert re.split(r"[,;\t]", lines[last - 1])[0].strip('" ') == "wine"


def test_names_that_look_like_nothing_are_names(tmp_path):
    frame = results().replace({"asha": "None", "mine": "007", "digits": "NA", "wine": "1e3"})
    read = read_long_form(written(frame, tmp_path / "runs.csv")).frame
    assert set(read["variation"]) == {"None", "007"}
    assert set(read["task"]) == {"NA", "1e3"}


WRONG = {
    "no such file": (["none.csv", "--target", "1"], ["FILE", "none.csv", "check the path"]),
    "a directory": (["", "--target", "1"], ["FILE", "hypernudge report"]),
    "no number": (["runs.csv", "--target", "x"], ["--target", "'x'"]),
    "no task of that name": (["runs.csv", "--target", "digit=1"], ["--target", "did you mean 'digits'"]),
    "mixed targets": (["runs.csv", "--target", "1", "--target", "wine=1"], ["--target", "mix"]),
    "no budget": (["runs.csv", "--target", "0.9", "--budget", "0"], ["--budget", "positive"]),
    "itself": (["runs.csv", "--target", "0.9", "--method", "asha"], ["--method", "differ"]),
    "unknown method": (
        ["runs.csv", "--target", "0.9", "--method", "min"],
        ["--method", "did you mean 'mine'"],
    ),
    "figures over a file": (
        ["runs.csv", "--target", "0.9", "--figures", "runs.csv"],
        ["--figures", "directory"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused(tmp_path, capsys, monkeypatch, case):
    (file, *more), words = WRONG[case]
    folder = tmp_path / "with a blank"
    folder.mkdir()
    monkeypatch.chdir(folder)
    written(results(), folder / "runs.csv")
    assert main(["compare", str(folder / file), "--baseline", "asha", *more]) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
