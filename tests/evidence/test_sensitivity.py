import json

import pytest

from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.evidence.verdicts.sensitivity import target_sensitivity


@pytest.fixture(scope="module")
def study(small_study):
    return load_study(small_study)


def test_the_declared_target_is_in_the_grid_with_the_published_ratio(study):
    for comparison in compare(study):
        frame = target_sensitivity(study, comparison)
        assert frame["target"].is_monotonic_increasing
        (row,) = frame[frame["declared"]].to_dict("records")
        assert row["ratio"] == pytest.approx(comparison.effects.ratio.estimate, rel=1e-12)
        assert row["low"] == pytest.approx(comparison.effects.ratio.low, rel=1e-12)
        assert row["reached_method"] == int(comparison.frame["method.reached"].sum())


def test_another_target_agrees_with_a_study_that_declares_it(study, study_copy):
    comparison = compare(study)[0]
    row = target_sensitivity(study, comparison).iloc[0]
    path = study_copy / "plan.json"
    plan = json.loads(path.read_text())
    for variation in plan["variations"].values():
        variation["target"] = row["target"]
    path.write_text(json.dumps(plan))
    again = compare(load_study(study_copy))[0]
    assert row["ratio"] == pytest.approx(again.effects.ratio.estimate, rel=1e-12)
