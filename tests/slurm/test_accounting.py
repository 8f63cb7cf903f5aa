"""A cluster with an accounting of its own: its numbers and the workers' measurements, side by side."""

import json

import pytest

from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.results.accounting import noted_usage
from tests.slurm import cluster as slurm
from tests.slurm.tools import digests, leftovers, paced, run


@pytest.fixture(scope="module")
def accounted():
    lacking = slurm.missing(accounting=True)
    if lacking:
        reason = f"Slurm's accounting is not installed ({', '.join(lacking)})"
        pytest.skip(f"{reason}; python tests/slurm/cluster.py install --accounting")
    with slurm.running(accounting=True) as found:
        yield found


def test_both_measurements_are_kept_and_billed(accounted, tmp_path, monkeypatch):
    for name, value in accounted.env.items():
        monkeypatch.setenv(name, value)
    confined = accounted.run("scontrol", "show", "config").count("cgroup") >= 3
    results = tmp_path / "r"
    options = {"cgroup": str(confined).lower(), "gpus": 2, "poll_seconds": 1}
    done = run(paced(tmp_path, 2), results, tmp_path / "jobs", pace=0.05, **options)
    assert done.returncode == 0, done.stderr
    assert len(digests(results)) == 2 and leftovers(results, tmp_path / "jobs") == []
    jobs = list(noted_usage(results))
    assert sorted(seeds for _, seeds, _ in jobs) == [(0,), (1,)]
    for run_id, (seed,), usage in jobs:
        record = json.loads((results / run_id / "cells" / f"seed-{seed:04d}.json").read_text())
        used, quoted = record["wall"]["resources"], record["wall"]["slurm"]
        assert (usage.state, usage.turns) == ("COMPLETED", 1) and usage.is_over
        # A job is longer than its cell, and GPUs are charged for all of it.
        assert usage.seconds >= int(used["wall_seconds"]) and usage.gpu_seconds == 2 * usage.seconds
        assert usage.core_seconds >= used["core_seconds"] > 0 and usage.peak_memory_bytes > 50e6
        assert quoted["job"] == usage.job and quoted["state"] == "RUNNING"
        assert 0 < quoted["seconds"] <= usage.seconds and quoted["gpu_seconds"] == 2 * quoted["seconds"]
        # Steps that run are quoted in whole seconds, rounded down; the two are not counted in the same ticks.
        assert 0 < quoted["core_seconds"] <= usage.core_seconds + 0.1
        assert used["gpu_seconds"] == pytest.approx(2 * used["wall_seconds"])
    (summary,) = evaluate(results, lambda _: None, figures=False).summaries
    cluster = summary["bill"]["cluster"]
    assert cluster["jobs"] == cluster["turns"] == 2
    assert cluster["gpu_seconds"] == sum(usage.gpu_seconds for _, _, usage in jobs)
    table = (results / "tables" / "bill.csv").read_text()
    assert "cluster GPU h" in table and "core h" in table
