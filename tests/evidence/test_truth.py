"""The statistics on simulated studies with known truth: a fast version of `python -m benchmarks.evidence`.

Limits are the promised ones plus three standard errors of the simulation, so that chance alone hardly fails.
"""

import json
import math
import subprocess
import sys

import pytest

from benchmarks.evidence import speed, truth

STUDIES = 300


def above(limit, studies=STUDIES):
    return limit + 3 * math.sqrt(limit * (1 - limit) / studies)


def test_no_test_rejects_more_often_than_it_says():
    for world, shares in truth.type_1_error(STUDIES).items():
        for name, share in shares.items():
            assert share <= above(0.05), (world, name, share)


def test_intervals_cover():
    low = 0.93 - 3 * math.sqrt(0.93 * 0.07 / STUDIES)
    for world, shares in truth.coverage(STUDIES).items():
        # Without censoring both sides always reach the target: nothing to cover.
        constant = {"reached_difference"} if world.startswith("0%") else set()
        assert set(shares) == set(truth.INTERVALS) - constant
        for name, share in shares.items():
            assert share >= low, (world, name, share)
    for setting, share in truth.aggregate_coverage(STUDIES)["aggregate"].items():
        assert share >= low, (setting, share)


def test_holm_keeps_the_family_wise_error():
    for label, share in truth.family_wise_error(150).items():
        assert share <= above(0.05, 150), label


def test_keeping_the_misses_keeps_the_power():
    for world, shares in truth.power(100).items():
        assert shares["10"] < shares["30"]
        if world.startswith("60%"):
            assert shares["30"] > shares["30, misses dropped"] + 0.2


def test_many_rows_are_fast():
    result = speed.million_rows(tasks=4, variations=10, seeds=200)
    assert (result["rows"], result["comparisons"]) == (8000, 36)
    assert result["seconds"] < 10


@pytest.mark.slow
def test_the_last_line_of_the_benchmark():
    command = [
        sys.executable,
        "-m",
        "benchmarks.evidence",
        "--json",
        "--studies",
        "100",
        "--quick",
        "--processes",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert {
        "type_1_error",
        "coverage",
        "family_wise_error",
        "power",
        "speed",
        "noninferiority",
        "outside",
    } <= set(last)
