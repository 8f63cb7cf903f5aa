"""Blocks of the confirmation study, pooled."""

import json
import math

import pytest

from benchmarks.confirmation import figure, report


def comparison(task, ratio, p, *, method="informed", scheduler="asha", favours="method"):
    return {
        "task": task,
        "scheduler": scheduler,
        "warm_start": method,
        "pairs": 30,
        "time_to_target": {
            "p": p,
            "favours": favours,
            "both_reached": 30,
            "ratio": {"estimate": ratio, "low": ratio / 1.1, "high": ratio * 1.1},
        },
        "final_score": {
            "relative_difference": {"estimate": 0.001, "low": 0.0, "high": 0.002},
            "not_worse": {
                "typical_pair": {"estimate": 0.001, "low": 0.0, "high": 0.002},
                "mean": {"estimate": 0.001, "low": 0.0, "high": 0.002},
                "worst_pair": 0.0,
                "best_pair": 0.004,
            },
        },
        "overhead": 0.002,
    }


def unfinished(task):
    """A comparison of one pair, which has no interval."""
    found = comparison(task, 1.0, 1.0)
    found["time_to_target"]["ratio"] |= {"low": None, "high": None}
    return {**found, "pairs": 1}


@pytest.fixture
def blocks(tmp_path):
    asha = [comparison("a_mid", 0.5, 0.001), comparison("a_wide", 0.5, 0.03), comparison("b_mid", 1.0, 0.9)]
    narrow = [
        comparison("a_narrow", 1.3, 1e-4, favours="baseline"),
        {**comparison("b_narrow", 1, 1), "pairs": 0},
        unfinished("c_narrow"),
    ]
    for name, comparisons in (("asha", asha), ("narrow", narrow)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps({"comparisons": comparisons}))
    return [tmp_path / "asha", tmp_path / "narrow"]


def test_scopes_ratios_and_verdicts(blocks):
    settings = report.read(blocks)
    assert [(t.task, t.space, t.block) for t in settings] == [
        ("a", "mid", "asha"),
        ("a", "wide", "asha"),
        ("b", "mid", "asha"),
        ("a", "narrow", "narrow"),
    ]
    found = {row["scope"]: row for row in report.rows(settings)}
    assert list(found) == ["all", "mid and wide", "asha, narrow", "asha, mid", "asha, wide"]
    both = found["mid and wide"]
    # Two tasks: the mean of their mean log ratios, log .5 and log 1.
    assert both["tuples"] == 3 and both["tasks"] == 2
    assert both["ratio"] == pytest.approx(math.sqrt(0.5))
    # .03 becomes .06 beside .001 and .9: one setting of three is improved.
    assert (both["improved"], both["harmed"], both["significantly_later"]) == (1, 0, 0)
    assert found["asha, wide"]["improved"] == 1
    narrow = found["asha, narrow"]
    assert (narrow["harmed"], narrow["significantly_later"]) == (0, 1)  # later, but the final score is higher
    assert "| mid and wide | `informed` | 3 | 0.707 [" in report.markdown(report.rows(settings))


def test_a_later_block_supersedes_what_it_has_run_again(blocks, tmp_path):
    (tmp_path / "again").mkdir()
    again = [comparison("a_mid", 0.4, 0.001), comparison("a_mid", 0.8, 0.5, method="probe_band")]
    (tmp_path / "again" / "evaluation.json").write_text(json.dumps({"comparisons": again}))
    found = {(t.task, t.space, t.method): t for t in report.read([*blocks, tmp_path / "again"])}
    assert len(found) == 5 and found["a", "mid", "informed"].ratio.estimate == 0.4
    assert found["a", "mid", "informed"].block == "again" and found["a", "wide", "informed"].block == "asha"


def test_figures(blocks):
    settings = [*report.read(blocks), *report.read(blocks[:1])]
    drawn = figure.draw_spaces(settings, ["informed"])
    points = {line.get_marker(): line.get_xydata().tolist() for line in drawn.axes[0].get_lines()}
    # The mid space, a row for each task.
    assert points["s"] == [[pytest.approx(0.5), 0], [pytest.approx(1.0), 1]]
    assert points["v"] == [[pytest.approx(1.3), 0]]
    rows = [label.get_text() for label in figure.draw(settings, ["informed"]).axes[0].get_yticklabels()]
    assert rows == ["a, mid", "a, wide", "b, mid", "a, narrow"]
