"""`hypernudge compare`: files of other tools in, verdicts out, bad rows refused by row and column."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.loading.fromtable import study_from_table
from hypernudge.evidence.loading.longform import check_long_form, read_long_form
from hypernudge.evidence.loading.longform_files import SUFFIXES
from hypernudge.evidence.loading.outcomes import Curves
from hypernudge.evidence.report.compare_file import Request, compare_file
from tests.evidence.long_tables import of_mixed_hardware, results, without_a_pair, written
from tests.evidence.reference import outcomes_by_walking


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


def test_a_directory_gets_tables_figures_and_a_page(tmp_path, capsys):
    frame = results(seeds=7)
    place, out = tmp_path / "runs.csv", tmp_path / "out"
    frame.assign(score=-frame["score"]).to_csv(place, index=False)
    arguments = ["compare", str(place), "--baseline", "asha", "--target=-0.9", "--minimise"]
    assert main([*arguments, "--output", str(out), "--json"]) == 0
    written = {event["file"] for event in lines(capsys) if event["event"] in ("table", "figure", "report")}
    assert written == {str(path) for path in out.rglob("*.*")}
    tables = {path.stem for path in (out / "tables").iterdir()}
    assert tables == {"comparisons", "criteria", "tau_sensitivity"}
    whole = pd.read_csv(out / "tables" / "comparisons.csv")
    assert len(whole) == 2 and {"ratio low", "Holm p", "AUC Holm p", "final not worse p"} <= set(whole)
    assert not {"overhead %", "memory ratio", "wall ratio"} & set(whole)
    assert pd.read_csv(out / "tables" / "tau_sensitivity.csv")["target"].lt(0).all()
    for name in tables:
        head, *rows = [
            line.removesuffix(r" \\").split(" & ")
            for line in (out / "tables" / f"{name}.tex").read_text().splitlines()
            if " & " in line
        ]
        widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
        assert len(head) <= 10 and sum(widths) <= 100, (head, widths)
    page = (out / "report.html").read_text()
    assert page.count("<svg") >= 6 and "exploratory" in page and "src=" not in page and "Plan " not in page
    (tmp_path / "file").write_text("")
    assert main([*arguments, "--output", str(tmp_path / "file")]) == 2
    assert "--output: must be a directory" in capsys.readouterr().err


def test_a_score_near_zero_is_compared_in_its_own_units(tmp_path, capsys):
    frame = results(tasks=("r2",))
    frame["score"] -= (
        frame.loc[frame["variation"] == "asha", "score"].groupby(frame["seed"]).max().median() + 0.001
    )
    frame.loc[(frame["variation"] == "mine") & (frame["seed"] == 3), "score"] -= 0.4
    frame.to_csv(tmp_path / "runs.csv", index=False)
    arguments = ["compare", str(tmp_path / "runs.csv"), "--baseline", "asha", "--target=-0.05"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("r2 "))
    assert row.count(" abs.") == 2 and "-0.397 abs." in row and "%" not in row
    assert "r2 / mine: the final score is near zero beside its differences" in said
    assert not re.search(r"[-+]\d{3,}\.\d\d %", said), "-770 % of next to nothing"
    (numbers,) = pd.read_csv(tmp_path / "out" / "tables" / "comparisons.csv").to_dict("records")
    assert np.isnan(numbers["final diff %"]) and -0.1 < numbers["final diff"] < 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_three_formats_say_the_same(tmp_path, suffix):
    frame = results(seeds=7)
    read = read_long_form(written(frame, tmp_path / f"runs{suffix}")).frame
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


def test_a_missing_pair_is_left_out_and_one_seed_is_unpowered(tmp_path):
    path, events = tmp_path / "runs.csv", []
    frame = without_a_pair(results())
    frame[(frame["task"] == "wine") | (frame["seed"] == 0)].to_csv(path, index=False)
    compare_file(path, Request(baseline="asha", target=0.9), events.append)
    by_task = {e["task"]: e for e in events if e["event"] == "comparison"}
    assert (by_task["wine"]["pairs"], by_task["wine"]["missing_pairs"]) == (9, 1)
    assert (by_task["digits"]["pairs"], by_task["digits"]["verdict"]) == (1, "unpowered")


def test_declared_clocks_and_equal_hardware_pass(tmp_path):
    frame = of_mixed_hardware(results())
    assert check_long_form(frame, wall_clock=False).flags == ()
    assert check_long_form(frame.assign(hardware="a100")).flags == ()


def test_trials_may_end_at_the_same_moment():
    frame = results()
    twice = pd.concat([frame.assign(trial=1), frame.assign(trial=2)]).sort_index(kind="stable")
    assert len(check_long_form(twice).frame) == 2 * len(frame)
    with pytest.raises(InvalidArgumentError, match="add a column `trial`"):
        check_long_form(twice.drop(columns="trial"))


def walk(frame):
    """The order checks row by row, in plain Python: the first violation's position."""
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


def test_compare_does_not_import_torch(runs):
    import subprocess

    code = (
        "import sys; from hypernudge.cli import main; "
        f"main(['compare', {str(runs)!r}, '--baseline', 'asha', '--target', '0.9', '--json']); "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_losses_that_nobody_says_are_minimised_are_suspected(tmp_path, capsys):
    path = tmp_path / "losses.csv"
    results(seeds=20).assign(score=lambda frame: 1 - frame["score"]).to_csv(path, index=False)
    arguments = ["compare", str(path), "--baseline", "asha", "--method", "mine", "--target", "0.1"]
    assert main(arguments) == 0
    assert "or say --minimise if smaller scores are better" in capsys.readouterr().out
    assert main([*arguments, "--minimise"]) == 0
    said = capsys.readouterr().out
    assert "--minimise" not in said
    assert "  <0.0001  " in said
