"""Methods against their controls, and two factors together."""

import json

import numpy as np
import pytest

from hypernudge.evidence.loading.criteria_schema import BUDGET_MATCHED
from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.evidence.report.html import write_report
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.evidence.verdicts.controls import against_controls, budget_matched, interactions
from hypernudge.results.plan import ResultsError
from tests.evidence.synthetic import write_study

EVIDENCE = {
    "controls": {"gradient_free": "literal"},
    "factorial": [["literal", "random_step", "curvature_band"], ["literal", "absent", "multi_step"]],
}


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    root = tmp_path_factory.mktemp("controlled") / "study"
    return write_study(root, tasks=("digits_mlp",), seeds=range(8), target=0.8, evidence=EVIDENCE)


def times(study, label):
    cells = study.cells[study.cells["warm_start"] == label]
    return np.log(cells.set_index("seed")["time"])


def test_every_method_meets_every_control_that_is_there(controlled):
    study = load_study(controlled)
    found = list(against_controls(compare(study), study.plan.criteria))
    met = {(c.comparison.method.warm_start, c.role): c for c in found}
    assert {role for method, role in met if method == "curvature_band"} == {
        *("random_step", "gradient_free", "several_steps", BUDGET_MATCHED)
    }
    assert ("literal", "gradient_free") not in met  # a control is not compared with itself
    for (method, role), control in met.items():
        if role != BUDGET_MATCHED:
            ratio = np.exp((times(study, method) - times(study, control.label)).mean())
            assert control.ratio.estimate == pytest.approx(ratio, rel=1e-12)
            assert 0 <= control.p_value <= 1
            assert control.pairs == 8


def test_the_placebo_is_the_baseline_with_the_bill_as_extra_budget(small_study):
    for comparison in compare(load_study(small_study)):
        found = budget_matched(comparison)
        ratio = found.ratio
        share = comparison.frame["method.warm_start_flops"] / comparison.frame["method.total_flops"]
        factor = float(np.exp(np.mean(np.log(1 - share))))
        assert ratio.estimate == pytest.approx(comparison.effects.ratio.estimate / factor, rel=1e-12)
        assert ratio.estimate >= comparison.effects.ratio.estimate
        assert 0 <= found.p_value <= 1


def test_factors_together_against_their_product(controlled):
    study = load_study(controlled)
    (found,) = interactions(compare(study), study.plan.criteria)
    assert (found.factors, found.both, found.pairs) == (("literal", "random_step"), "curvature_band", 8)
    names = ("curvature_band", "none", "literal", "random_step")
    both, none, first, second = (times(study, name) for name in names)
    assert found.ratio.estimate == pytest.approx(np.exp((both + none - first - second).mean()), rel=1e-12)


def test_controls_and_interactions_reach_events_tables_and_report(controlled, tmp_path):
    events = []
    evaluation = evaluate(controlled, events.append, figures=False)
    assert [e["role"] for e in evaluation.controls].count(BUDGET_MATCHED) == 4
    assert len(evaluation.interactions) == 1
    saved = json.loads(evaluation.path.read_text())
    assert saved["controls"] == list(evaluation.controls)
    assert {event["name"] for event in evaluation.tables} >= {"controls", "interactions"}
    write_report(controlled, tmp_path / "r.html", ())
    text = (tmp_path / "r.html").read_text()
    assert "against random_step" in text
    assert "literal and random_step together" in text


def test_designs_are_triples():
    with pytest.raises(ResultsError, match=r"evidence\.factorial\[0\]: must hold triples"):
        Criteria(factorial=[["a", "b"]])
