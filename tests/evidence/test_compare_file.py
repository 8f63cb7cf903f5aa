"""`hypernudge compare`: files of other tools in, verdicts out, bad rows refused by row and column."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.compare_file import Request, compare_file
from hypernudge.evidence.fromtable import study_from_table
from hypernudge.evidence.longform import check_long_form, read_long_form
from hypernudge.evidence.outcomes import Curves, outcomes_by_walking


def results(tasks=("digits", "wine"), seeds=10, factor=0.7, seed=0):
    """Saturating curves; the method `mine` is `factor` times as slow as `asha`."""
    rng, rows = np.random.default_rng(seed), []
    for task in tasks:
        for number in range(seeds):
            pace = 20.0 * np.exp(0.3 * rng.normal())
            for variation, speed in (("asha", 1.0), ("mine", factor)):
                own = pace * speed * np.exp(0.1 * rng.normal())
                for step in range(1, 21):
                    score = 0.95 * (1 - np.exp(-5.0 * step / own)) + 0.004 * rng.normal()
                    rows.append((task, variation, number, 5.0 * step, round(score, 4)))
    return pd.DataFrame(rows, columns=["task", "variation", "seed", "time", "score"])


@pytest.fixture
def runs(tmp_path):
    path = tmp_path / "runs.csv"
    results().to_csv(path, index=False)
    return path


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_csv_gives_a_verdict_effects_and_figures(runs, tmp_path, capsys):
    arguments = ["compare", str(runs), "--baseline", "asha", "--method", "mine", "--target", "0.9"]
    assert main([*arguments, "--json", "--figures", str(tmp_path / "figures")]) == 0
    events = lines(capsys)
    verdict = events[-1]
    assert (verdict["event"], verdict["verdict"], verdict["improved"]) == ("verdict", "supported", 2)
    assert verdict["ratio"]["low"] < 0.7 < verdict["ratio"]["high"] < 0.85
    assert not verdict["declared_before_the_runs"]
    (first, _) = [event for event in events if event["event"] == "comparison"]
    assert (first["pairs"], first["verdict"]) == (10, "improved")
    assert {"ratio", "hodges_lehmann_ratio", "win_probability", "p_holm"} <= set(first["time_to_target"])
    assert "overhead" not in first
    drawn = [event for event in events if event["event"] == "figure"]
    assert {"forest_time_to_target.pdf", "best_so_far_auc.pdf"} <= {event["name"] for event in drawn}
    assert not any("test" in event["name"] for event in drawn)
    assert all((tmp_path / "figures" / event["name"]).read_bytes()[:5] == b"%PDF-" for event in drawn)
    assert main(arguments) == 0
    assert "SUPPORTED" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_three_formats_say_the_same(tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs hypernudge[parquet]")
    frame = results(seeds=7)
    path = tmp_path / f"runs.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    read = read_long_form(path).frame
    for name in ("task", "variation", "seed", "time", "score"):
        assert read[name].tolist() == frame[name].tolist()


def test_outcomes_agree_with_walking_the_rows():
    frame = results(seeds=6).sample(frac=0.6, random_state=1).sort_index()
    table = check_long_form(frame)
    study = study_from_table(table, baseline="asha", target=0.88, budget=80.0)
    for _, cell in study.cells.iterrows():
        chosen = frame[
            (frame["task"] == cell["task"])
            & (frame["variation"] == cell["warm_start"])
            & (frame["seed"] == cell["seed"])
        ]
        zeros = np.zeros(len(chosen), dtype=np.int64)
        score = chosen["score"].to_numpy()
        slow = outcomes_by_walking(
            Curves(zeros, chosen["time"].to_numpy(), score, score),
            target=np.array([0.88]),
            budget=np.array([80.0]),
            floor=np.array([cell["floor"]]),
        )
        assert (cell["time"], cell["reached"], cell["final"]) == (
            slow.time[0],
            slow.reached[0],
            slow.final[0],
        )
        assert cell["auc"] == pytest.approx(slow.auc[0], abs=1e-12)


def test_minimising_is_the_mirror(tmp_path):
    frame, events = results(), {}
    for name, sign in (("up", 1.0), ("down", -1.0)):
        path = tmp_path / f"{name}.csv"
        frame.assign(score=sign * frame["score"]).to_csv(path, index=False)
        request = Request(baseline="asha", target=sign * 0.9, minimise=sign < 0)
        events[name] = compare_file(path, request, lambda event: None)
    assert events["up"] == events["down"]


def test_a_target_per_task(runs, capsys):
    common = ["compare", str(runs), "--baseline", "asha", "--json"]
    assert main([*common, "--target", "digits=0.9", "--target", "wine=0.8"]) == 0
    targets = {e["task"]: e["target"] for e in lines(capsys) if e["event"] == "comparison"}
    assert targets == {"digits": 0.9, "wine": 0.8}
    assert main([*common, "--target", "digits=0.9"]) == 2
    assert "wine" in capsys.readouterr().err
    assert main([*common, "--target", "0.9", "--target", "wine=0.8"]) == 2


def swap(frame, first, second):
    order = list(range(len(frame)))
    order[first], order[second] = order[second], order[first]
    return frame.iloc[order]


def put(frame, row, column, value):
    frame = frame.astype({column: object})
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


REFUSED = {
    "duplicated entry": (lambda f: pd.concat([f.iloc[:1], f]), ["row 3", "repeats row 2"]),
    "duplicated cell": (lambda f: pd.concat([f, f.iloc[:20]]), ["row 802", "repeats row 2", "19 more"]),
    "time backwards": (lambda f: swap(f, 4, 5), ["row 7, column time", "backwards", "digits, asha, seed 0"]),
    "negative time": (lambda f: put(f, 3, "time", -1.0), ["row 5, column time", "-1.0"]),
    "no time": (lambda f: put(f, 3, "time", None), ["row 5, column time"]),
    "text score": (lambda f: put(f, 3, "score", "good"), ["row 5, column score", "good"]),
    "half a seed": (lambda f: put(f, 3, "seed", 1.5), ["row 5, column seed", "1.5"]),
    "no task": (lambda f: put(f, 3, "task", None), ["row 5, column task"]),
    "no column": (lambda f: f.drop(columns="seed"), ["seed"]),
    "no row": (lambda f: f.iloc[:0], ["at least one row"]),
    "mixed hardware": (
        lambda f: f.assign(hardware=["a100"] * 3 + ["h100"] * (len(f) - 3)),
        ["row 5, column hardware", "one kind of hardware", "h100", "--clock declared"],
    ),
    "unknown baseline": (lambda f: f.replace({"asha": "ASHA2"}), ["--baseline", "asha", "ASHA2"]),
    "one variation": (lambda f: f[f["variation"] == "asha"], ["--method", "beside the baseline"]),
    "never reached": (lambda f: f.assign(score=f["score"] / 2), ["--target", "no run reached", "best score"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_row_and_column(tmp_path, capsys, case):
    change, words = REFUSED[case]
    path = tmp_path / "runs.csv"
    change(results()).to_csv(path, index=False)
    assert main(["compare", str(path), "--baseline", "asha", "--target", "0.9"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for word in words:
        assert word in error


FLAGGED = {
    "nan score": (lambda f: put(f, 3, "score", np.nan), "row 5, column score", "NaN"),
    "missing pair": (
        lambda f: f[~((f["task"] == "wine") & (f["variation"] == "mine") & (f["seed"] == 4))],
        "cells wine-mine",
        "no row for seed 4",
    ),
    "one seed": (lambda f: f[(f["task"] == "digits") | (f["seed"] == 0)], "wine", "1 seed:"),
    "one task never reached": (
        lambda f: f.assign(score=f["score"].where(f["task"] == "digits", f["score"] / 2)),
        "wine",
        "no run reached the target 0.9",
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


@pytest.mark.parametrize("case", FLAGGED)
def test_doubts_are_flagged_and_kept(tmp_path, case):
    change, where, rule = FLAGGED[case]
    path, events = tmp_path / "runs.csv", []
    change(results()).to_csv(path, index=False)
    compare_file(path, Request(baseline="asha", target=0.9), events.append)
    problems = [event for event in events if event["event"] == "problem"]
    assert any(event["where"] == where and rule in event["rule"] for event in problems), problems


def test_a_missing_pair_is_left_out_and_one_seed_is_unpowered(tmp_path):
    path, events = tmp_path / "runs.csv", []
    frame = FLAGGED["missing pair"][0](results())
    frame[(frame["task"] == "wine") | (frame["seed"] == 0)].to_csv(path, index=False)
    compare_file(path, Request(baseline="asha", target=0.9), events.append)
    by_task = {e["task"]: e for e in events if e["event"] == "comparison"}
    assert (by_task["wine"]["pairs"], by_task["wine"]["missing_pairs"]) == (9, 1)
    assert (by_task["digits"]["pairs"], by_task["digits"]["verdict"]) == (1, "unpowered")


def test_declared_clocks_and_equal_hardware_pass(tmp_path):
    frame = REFUSED["mixed hardware"][0](results())
    assert check_long_form(frame, wall_clock=False).flags == ()
    assert check_long_form(frame.assign(hardware="a100")).flags == ()


def test_trials_may_end_at_the_same_moment():
    frame = results()
    twice = pd.concat([frame.assign(trial=1), frame.assign(trial=2)]).sort_index(kind="stable")
    assert len(check_long_form(twice).frame) == 2 * len(frame)
    with pytest.raises(InvalidArgumentError, match="add a column `trial`"):
        check_long_form(twice.drop(columns="trial"))


def walk(frame):
    """Slow twin of the order checks: row by row, in plain Python; the first violation's position."""
    last, seen = {}, set()
    repeated, backwards = [], []
    for position, row in enumerate(frame.to_dict("records")):
        cell = (row["task"], row["variation"], row["seed"])
        if (*cell, row["time"]) in seen:
            repeated.append(position)
        if row["time"] < last.get(cell, 0.0):
            backwards.append(position)
        seen.add((*cell, row["time"]))
        last[cell] = row["time"]
    return (repeated or backwards or [None])[0]


@pytest.mark.parametrize("seed", range(30))
def test_order_checks_agree_with_walking(seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "task": rng.choice(["a", "b"], 8),
            "variation": rng.choice(["x", "y"], 8),
            "seed": 0,
            "time": np.sort(rng.integers(1, 6, 8)).astype(float) if seed % 2 else rng.integers(1, 9, 8) * 1.0,
            "score": rng.normal(size=8),
        }
    )
    bad = walk(frame)
    if bad is None:
        check_long_form(frame)
    else:
        with pytest.raises(InvalidArgumentError, match=f"^row {bad + 1}, "):
            check_long_form(frame)


def test_broken_files(tmp_path, capsys):
    def refused(name, text):
        path = tmp_path / name
        path.write_text(text)
        assert main(["compare", str(path), "--baseline", "a", "--target", "1"]) == 2
        return capsys.readouterr().err

    assert "row 2" in refused("a.jsonl", '{"task": 1}\n{"task"\n')
    assert "JSON object" in refused("b.jsonl", "[1]\n")
    assert "end in one of" in refused("c.xlsx", "")
    assert "header" in refused("d.csv", "")
    assert "must be Parquet" in refused("e.parquet", "PAR0")
    assert main(["compare", str(tmp_path / "none.csv"), "--baseline", "a", "--target", "1"]) == 2
    assert main(["compare", str(tmp_path / "none.csv"), "--baseline", "a", "--target", "x"]) == 2


def test_compare_does_not_import_torch(runs):
    import subprocess

    code = (
        "import sys; from hypernudge.cli import main; "
        f"main(['compare', {str(runs)!r}, '--baseline', 'asha', '--target', '0.9', '--json']); "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
