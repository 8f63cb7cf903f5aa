"""Seconds of the wall and of GPUs as the clock of a comparison, and the bill of a study."""

import json

import pytest

from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.bill import bill_line
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.evidence.report.text import evaluation_text
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.results.accounting import JobUsage, note_usage
from hypernudge.results.plan import ResultsError
from tests.evidence.synthetic import edit_record, write_study

TASKS, METHODS = ("digits_mlp",), ("none", "literal")
FASTER = 0.5  # on the wall the method takes half of what its declared cost says


def study(folder, clock=None, seeds=range(8), change=None):
    """A study whose cells were measured: the wall takes the seconds of the virtual clock, or half of them."""
    evidence = {} if clock is None else {"clock": clock}
    root = write_study(folder, tasks=TASKS, methods=METHODS, seeds=seeds, target=0.8, evidence=evidence)
    for path in sorted(root.glob("*/cells/*.json")):
        edit_record(path, lambda record: measured(record, change))
    return root


def measured(record, change=None):
    scale = FASTER if record["cell"]["warm_start"] == "literal" else 1.0
    times = [scale * time for time in record["curve"]["time"]]
    used = {"wall_seconds": 100.0, "core_seconds": 90.0, "gpu_seconds": 200.0, "lost_seconds": 1.0}
    record["wall"] |= {
        "hardware": "a machine",
        "curve": {"seconds": times, "end": 90.0},
        "resources": {**used, "peak_gpu_bytes": 2e9, "worker": "", "node": "", "attempt": 1},
    }
    if change is not None:
        change(record)


def ratio(root):
    (comparison,) = compare(load_study(root))
    return comparison.effects.ratio.estimate


def test_the_clock_is_what_the_plan_says(tmp_path):
    virtual, wall, gpu = (ratio(study(tmp_path / str(c), c)) for c in (None, "wall", "gpu"))
    assert wall < 0.8 * virtual, "half the seconds of the wall"
    # Two GPUs were held all the time: everything takes twice as many seconds, for both.
    assert gpu == pytest.approx(wall)
    study_of = load_study(tmp_path / "gpu")
    assert study_of.plan.clock == "GPU time [s]" and study_of.cells["budget"].eq(180.0).all()
    assert load_study(tmp_path / "wall").plan.clock == "wall time [s]"


def test_nobody_is_given_more_measured_time_than_the_first_to_end(tmp_path):
    def early(record):
        if record["cell"]["seed"] == 3:
            record["wall"]["curve"]["end"] = 40.0

    found = load_study(study(tmp_path / "s", "wall", change=early))
    assert found.cells["budget"].eq(40.0).all() and found.problems == ()
    assert found.cells["time"].max() <= 40.0


def test_seconds_of_different_machines_are_refused(tmp_path):
    def other(record):
        record["wall"]["hardware"] = "another" if record["cell"]["seed"] == 2 else "a machine"

    with pytest.raises(
        ResultsError, match=r"must stem from one kind of hardware, but got a machine; another"
    ):
        load_study(study(tmp_path / "s", "wall", change=other))
    with pytest.raises(ResultsError, match=r"but got unknown for digits_mlp; run its cells on equal"):
        load_study(study(tmp_path / "t", "gpu", change=lambda record: record["wall"].pop("hardware")))
    load_study(study(tmp_path / "u", change=other))


REFUSED = {
    "none": (lambda record: record["wall"].pop("curve"), "it holds no measured seconds"),
    "of several": (lambda record: record["wall"].update(cells_together=4), "its cells were trained together"),
    "too few": (lambda record: record["wall"]["curve"]["seconds"].pop(), "other numbers of scores"),
    "no GPU": (lambda record: record["wall"]["resources"].update(gpu_seconds=0.0), "it used no GPU"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_record_without_such_seconds_is_named_and_left_out(tmp_path, case):
    change, said = REFUSED[case]

    def one(record):
        if (record["cell"]["seed"], record["cell"]["warm_start"]) == (1, "none"):
            change(record)

    found = load_study(study(tmp_path / "s", "gpu", change=one))
    assert (found.cells["status"] == "missing").sum() == 1
    (problem,) = [problem for problem in found.problems if said in problem.rule]
    assert "digits_mlp-asha-none/cells/seed-0001.json" in problem.where


def test_a_crashed_cell_is_a_miss_on_every_clock(tmp_path):
    def crash(record):
        if (record["cell"]["seed"], record["cell"]["warm_start"]) == (1, "none"):
            empty = {name: [] for name in record["curve"]}
            record |= {"status": "crashed", "trials": [], "curve": empty, "wall": {}}

    found = load_study(study(tmp_path / "s", "wall", change=crash))
    row = found.cells[found.cells["status"] == "crashed"].iloc[0]
    assert (row["budget"], row["time"], row["reached"]) == (90.0, 90.0, False)


def test_the_bill_adds_up_what_was_measured_and_what_the_cluster_says(tmp_path):
    root = study(tmp_path / "s", seeds=range(6))
    usage = JobUsage("7_0", "COMPLETED", 2, 3600.0, 3000.0, 7200.0, 3600.0, 5 * 10**9)
    note_usage(root, usage, "digits_mlp-asha-none", [0], "jobacct_gather/cgroup")
    evaluation = evaluate(root, lambda _: None, figures=False)
    none, literal = (summary["bill"] for summary in evaluation.summaries)
    assert (none["core_seconds"], none["gpu_seconds"], none["lost_seconds"]) == (540.0, 1200.0, 6.0)
    assert none["peak_gpu_bytes"] == 2e9 and none["total_flops"] > 0 and literal["cluster"] is None
    assert none["cluster"] == {
        **{"jobs": 1, "turns": 2, "seconds": 3600.0, "core_seconds": 3000.0, "gpu_seconds": 3600.0},
        **{"allocated_core_seconds": 7200.0, "peak_memory_bytes": 5 * 10**9},
    }
    line = bill_line(summary["bill"] for summary in evaluation.summaries)
    assert "0.3 core hours, 0.667 GPU hours, by the cluster's accounting 2 core hours and 1 GPU hours" in line
    whole = json.loads(evaluation.path.read_text())
    assert line in evaluation_text(whole)
    table = (root / "tables" / "bill.csv").read_text().splitlines()
    assert table[0].startswith("run id,cells,FLOPs,warm starts %,core h,GPU h,lost h,peak memory [GB]")
    assert len(table) == 3


def test_a_study_that_nobody_has_measured_has_no_bill_but_its_operations(tmp_path):
    root = write_study(tmp_path / "s", tasks=TASKS, methods=METHODS, seeds=range(6), target=0.8)
    evaluation = evaluate(root, lambda _: None, figures=False)
    assert all(summary["bill"]["core_seconds"] is None for summary in evaluation.summaries)
    assert not (root / "tables" / "bill.csv").exists()
    assert "cost:" not in evaluation_text(json.loads(evaluation.path.read_text()))
