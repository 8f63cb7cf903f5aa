"""The seconds in which warm starts measured and chose: in records, `results.json`, tables and report."""

import json
import math

import pytest

from hypernudge import ASHA
from hypernudge.evidence.report.bill import bill_line
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.cells.group import run_group
from hypernudge.harness.cells.metering import CellMeter
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.variation_run import summarise
from hypernudge.random import Streams
from hypernudge.results.digests import record_digest
from hypernudge.results.resources import Resources, WallFee, wall_fee
from hypernudge.trial import History, Nudge, Started
from hypernudge.warmstart.runner import WarmStartRunner
from tests.evidence.synthetic import edit_record, write_study
from tests.harness.tools import experiment


@pytest.fixture
def plan(tmp_path):
    variations = {"asha": {}, "asha-informed": {"warm_start": "informed"}}
    return load_plan(experiment(tmp_path, "digits_mlp", 2, variations, target=0.9, budget={"units": 6}))


def test_a_record_and_the_results_of_a_study_say_it(tmp_path, plan):
    method = plan["asha-informed"]
    records = [run_cell(method, seed, tmp_path / "r") for seed in (0, 1)]
    for record in records:
        wall = record["wall"]
        fee = wall["wall_fee"]
        assert fee["seconds"] == wall["warm_start_seconds"] > 0
        assert fee["cell_seconds"] == pytest.approx(wall["total_seconds"])
        assert fee["share"] == fee["seconds"] / fee["cell_seconds"] and 0 < fee["share"] < 1
        bare = record | {"wall": {}}
        assert record_digest(bare) == record["digest"], "seconds are no result"
    results = summarise(plan, method, records)
    assert [cell["wall_fee"] for cell in results["cells"]] == [r["wall"]["wall_fee"] for r in records]
    shares = [record["wall"]["wall_fee"]["share"] for record in records]
    assert results["summary"]["wall_fee"]["median_share"] == pytest.approx(sum(shares) / 2)
    assert results["summary"]["median_overhead"] > 0


def test_of_cells_that_share_a_process_each_has_its_own_seconds(tmp_path):
    variations = {"asha-informed": {"warm_start": "informed"}}
    path = experiment(tmp_path, "digits_mlp", 2, variations, target=0.9, budget={"units": 6})
    method = load_plan(path, ["+engine=population"])["asha-informed"]
    run_group(method, [0, 1], tmp_path / "r")
    walls = [json.loads(p.read_text())["wall"] for p in sorted((tmp_path / "r" / "cells").glob("*.json"))]
    whole = max(wall["total_seconds"] for wall in walls)
    own = [wall["wall_fee"]["cell_seconds"] for wall in walls]
    assert sum(own) == pytest.approx(whole) and max(own) < whole


def test_of_workers_elsewhere_it_is_their_seconds(tmp_path):
    meter = CellMeter(tmp_path / "seed-0000.json", 1)
    meter.read()
    wall = {"training_seconds": 30.0, "warm_start_seconds": 0.3}
    assert meter.fee(wall, elsewhere=True)["cell_seconds"] == 30.3
    assert meter.fee(wall, elsewhere=False)["cell_seconds"] < 10


def test_earlier_turns_at_a_cell_count(tmp_path):
    path = tmp_path / "seed-0000.json"
    meter = CellMeter(path, 2)
    meter._before = Resources(wall_seconds=100.0)
    meter.read()
    fee = meter.fee({"training_seconds": 9.0, "warm_start_seconds": 1.0}, elsewhere=False)
    assert 100 < fee["cell_seconds"] < 110 and fee["share"] == 1.0 / fee["cell_seconds"]


def test_older_records_say_it_where_they_can():
    wall = {"warm_start_seconds": 0.5, "total_seconds": 10.0}
    assert wall_fee({"wall": wall}).share == 0.05
    together = wall_fee({"wall": wall | {"cells_together": 4}})
    assert together.seconds == 0.5 and math.isnan(together.share)
    assert together.as_data() == {"seconds": 0.5, "cell_seconds": None, "share": None}
    assert (
        wall_fee({}).as_data() == WallFee().as_data() == dict.fromkeys(("seconds", "cell_seconds", "share"))
    )
    assert WallFee(0.0, 0.0).as_data()["share"] is None


def test_tables_and_report_have_it_beside_the_fee_in_flops(tmp_path):
    def measure(record):
        started = record["cell"]["warm_start"] != "none"
        seconds = 0.5 if started else 0.0
        record["wall"] |= {"warm_start_seconds": seconds, "resources": Resources(core_seconds=9.0).as_data()}
        record["wall"]["wall_fee"] = WallFee(seconds, 20.0).as_data()

    tasks, methods = ("digits_mlp",), ("none", "literal")
    root = write_study(tmp_path / "s", tasks=tasks, methods=methods, seeds=range(6), target=0.8)
    for path in sorted(root.glob("*/cells/*.json")):
        edit_record(path, measure)
    evaluation = evaluate(root, lambda _: None, figures=False)
    fees = {summary["warm_start"]: summary["wall_fee"] for summary in evaluation.summaries}
    assert fees["none"] == {"share": 0.0, "median_seconds": 0.0}
    assert fees["literal"] == {"share": pytest.approx(0.025), "median_seconds": 0.5}
    (comparison,) = evaluation.comparisons
    assert comparison["wall_fee"] == pytest.approx(0.025)
    for name in ("comparisons", "variations", "bill"):
        header, *rows = (root / "tables" / f"{name}.csv").read_text().splitlines()
        column = header.split(",").index("wall fee %")
        assert float(rows[-1].split(",")[column]) == pytest.approx(2.5)
    line = bill_line(summary["bill"] for summary in evaluation.summaries)
    assert line.endswith("% of FLOPs and 2.5 % of seconds where they act")


class _Slow:
    """Measures three trials in 9 seconds and chooses in one, on a clock of its own."""

    name = "slow"
    now = 0.0

    def measure(self, task, configs, numbers, streams):
        self.now += 9.0
        return list(numbers)

    def nudge(self, task, sampled, number, history, streams, measured):
        self.now += 1.0
        return Nudge(sampled, self.name)

    def __call__(self, task, sampled, history, streams):
        return self.nudge(task, sampled, len(history.trials), history, streams, None)


def test_what_is_done_for_trials_that_never_start_counts(bowl, monkeypatch):
    policy, streams, history = _Slow(), Streams(0), History(max_units=9)
    monkeypatch.setattr("hypernudge.warmstart.runner.time.perf_counter", lambda: policy.now)
    runner = WarmStartRunner(policy, bowl, streams, ASHA(bowl.space, max_units=9), batch_size=3)

    def seconds(sampled):
        nudge = runner(sampled, history)
        history.append(Started(len(history.trials), sampled, nudge, 0.0))
        return nudge.wall_seconds

    first, second = (bowl.space.sample(streams("config", number)) for number in range(2))
    assert seconds(first) == 3.0 + 1.0
    assert [runner.expected(second, 1, history) for _ in range(5)] == [second] * 5
    assert seconds(second) == 5.0 + 3.0 + 1.0, "it was asked five times ahead"
    assert seconds(first) == 3.0 + 1.0, "what was measured for another trial in its place"
    assert policy.now == sum(trial.nudge.wall_seconds for trial in history.trials)


def test_a_measurement_that_fails_for_all_took_its_time_as_well(bowl, monkeypatch):
    class Failing(_Slow):
        def measure(self, task, configs, numbers, streams):
            super().measure(task, configs, numbers, streams)
            raise ValueError("no")

    policy, streams, history = Failing(), Streams(0), History(max_units=9)
    monkeypatch.setattr("hypernudge.warmstart.runner.time.perf_counter", lambda: policy.now)
    runner = WarmStartRunner(policy, bowl, streams, ASHA(bowl.space, max_units=9), batch_size=3)
    assert runner(bowl.space.sample(streams("config", 0)), history).wall_seconds == 9.0 + 1.0
