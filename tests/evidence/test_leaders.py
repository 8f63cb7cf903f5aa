"""Who reaches a target first, over several plans."""

import json
import math

import pytest

from benchmarks.confirmation import leaders, winners
from benchmarks.confirmation.leaders import Cell
from benchmarks.sealed import sealed
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.results.digests import plan_digest
from hypernudge.results.jsonio import write_json
from hypernudge.results.records import DamagedRecordError
from tests.harness.tools import ROOT


def found(task, space, method, times, winners):
    pairs = enumerate(zip(times, winners, strict=True))
    return [Cell(task, space, method, seed, time, winner) for seed, (time, winner) in pairs]


CELLS = [
    *found("a", "mid", "plain", [16.0, 37.5], [4, None]),
    *found("a", "mid", "ours", [4.0, 37.5], [2, None]),
    *found("a", "mid", "rival", [8.0, 30.0], [8, 3]),
    *found("b", "mid", "plain", [10.0, 10.0], [5, 5]),
    *found("b", "mid", "ours", [5.0, 5.0], [5, 5]),
    *found("b", "mid", "rival", [2.0, 2.0], [2, 2]),
    *found("b", "mid", "only here", [1.0, 1.0], [1, 1]),
]


def test_ratios_are_paired_and_a_miss_counts_as_the_budget():
    table = {(r["task"], r["method"]): r for r in leaders.rows(CELLS, "plain")}
    ours = table["a", "ours"]
    assert ours["ratio"] == pytest.approx(math.sqrt(4 / 16 * 1)) and ours["reached"] == 1
    assert ours["limit"] == pytest.approx(math.sqrt(2 / 16 * 1))  # a miss has no limit but itself
    assert table["b", "plain"]["ratio"] == pytest.approx(1.0)
    assert table["b", "plain"]["limit"] == pytest.approx(0.5)


def test_who_is_first_is_counted_among_methods_of_all_tasks():
    rows = {row["method"]: row for row in leaders.pooled(leaders.rows(CELLS, "plain"))}
    assert set(rows) == {"plain", "ours", "rival"}
    assert {method: row["first"] for method, row in rows.items()} == {"plain": 0, "ours": 1, "rival": 1}
    assert rows["ours"]["ratio"].estimate == pytest.approx(math.sqrt(0.5 * 0.5))
    assert rows["rival"]["reached"] == 1.0


def test_cells_are_read_from_sealed_records(tmp_path, capsys):
    common = {"task": {"name": "digits_mlp", "label": "digits_mid"}, "space": "mid", "budget": {"units": 6}}
    common |= {"target": 0.05, "workers": 2, "seeds": {"first": 3, "count": 6}}
    common |= {"training": {"batch_size": 32, "steps_per_unit": 2}}
    variations = {"plain": {}, "fixed": {"warm_start": "fixed_band"}}
    plan = resolve_plan({"name": "two", "common": common, "variations": variations}, ROOT / "config")
    write_json(tmp_path / "plan.json", plan.as_dict())
    for run_id in variations:
        record = run_cell(plan[run_id], 3, tmp_path / run_id)
    cells = leaders.cells(tmp_path)
    assert [(c.task, c.space, c.method, c.seed) for c in cells] == [
        ("digits", "mid", "none", 3),
        ("digits", "mid", "fixed_band", 3),
    ]
    renamed = leaders.cells(tmp_path, {"fixed_band": "band"})
    assert [cell.method for cell in renamed] == ["none", "band"] and renamed[1].time == cells[1].time
    scores = zip(record["curve"]["time"], record["curve"]["unit"], record["curve"]["validation"], strict=True)
    time, unit = next((time, unit) for time, unit, score in scores if score is not None and score >= 0.05)
    assert cells[1].winner == unit
    assert cells[1].time == pytest.approx(3 * time / record["declared"]["budget_seconds"])
    text = leaders.markdown(leaders.rows([*CELLS, *cells], "plain"))
    assert "digits" not in text  # nobody has its baseline
    assert "| a | 24.5 (1) | 12.2 (1) | 15.5 (2) |" in text
    assert "| b | 10.0 (2) | 5.0 (2) | 2.0 (2) | 1.0 (2) |" in text


def test_cells_that_deviate_from_the_plan_count_where_that_is_on_record(tmp_path):
    common = {"task": "digits_mlp", "budget": {"units": 4}, "target": 0.05, "seeds": {"first": 3, "count": 6}}
    common |= {"training": {"batch_size": 32, "steps_per_unit": 2}}
    plan = resolve_plan({"name": "one", "common": common, "variations": {"plain": {}}}, ROOT / "config")
    write_json(tmp_path / "plan.json", plan.as_dict())
    run = plan["plain"].altered(target=0.06)
    run_cell(run, 3, tmp_path / "plain")
    with pytest.raises(DamagedRecordError, match="another configuration"):
        list(sealed(tmp_path))
    change = {"path": "variations.plain.target", "planned": 0.05, "run": 0.06}
    other = plan_digest({"plain": run.spec}, plan.evidence)
    line = json.dumps({"changes": [change], "reason": "a slip of the pen", "to_hash": other})
    (tmp_path / "deviations.jsonl").write_text(line + "\n")
    ((variation, seed, record),) = sealed(tmp_path)
    assert (variation.run_id, seed, record["declared"]["target"]) == ("plain", 3, 0.06)
    assert [cell.seed for cell in leaders.cells(tmp_path)] == [3] and len(winners.read(tmp_path)) == 1


def test_files_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(leaders, "cells", lambda directory, renamed: CELLS)
    monkeypatch.setattr("sys.argv", ["leaders", "x", "--baseline", "plain", "--output", str(tmp_path)])
    assert leaders.main() == 0
    assert (tmp_path / "leaders.csv").read_text().splitlines()[0] == (
        "space,task,method,seeds,reached,time,ratio,limit"
    )
    assert "only here" in (tmp_path / "leaders.svg").read_text()
    assert (tmp_path / "leaders.md").read_text().startswith("| scope |")


def test_tasks_that_name_no_space_are_pooled_in_their_own():
    table = leaders.rows(
        [*found("a_adamw", "own", "plain", [8.0], [4]), *found("a_adamw", "own", "ours", [2.0], [2])], "plain"
    )
    text = leaders.markdown(table)
    assert "| own | `ours` | 1 | 0.25 [" in text and "| a_adamw | 8.0 (1) | 2.0 (1) |" in text


def test_rates_are_those_of_the_first_trial_at_the_target():
    def trial(number, lr, **measured):
        return {"trial": number, "nudged": {"lr": lr}, "nudge": {"measurements": measured}}

    trials = [trial(0, 0.1, log10_probe=-1.5), trial(4, 0.01), trial(5, 0.001)]
    curve = {"trial": [0, 4, 5], "validation": [0.2, None, 0.9]}
    rates = winners.Rates()
    rates.add({"trials": trials, "curve": curve, "declared": {"target": 0.9}})
    assert (rates.winners, rates.starts, rates.probes) == ([-3.0], [-1.0, -2.0, -3.0], [-1.5])
    assert rates.first == 0
    rates.add({"trials": trials, "curve": curve, "declared": {"target": 0.1}})
    rates.add({"trials": trials, "curve": None, "declared": {"target": 0.1}})  # crashed: none won
    assert rates.winners == [-3.0, -1.0] and rates.first == 1
    shown = winners.markdown({("t", "m"): rates, ("t", "n"): winners.Rates()})
    assert (
        "| t | `m` | -2.00 [-2.80, -1.20] | 1 of 2 | -2.00 [" in shown and "| t | `n` |  | 0 of 0 |" in shown
    )
