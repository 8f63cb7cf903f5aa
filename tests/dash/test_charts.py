"""Charts as data: strict, small for large studies, names as text."""

import json
import math

import pytest

from hypernudge import Categorical, Real, SearchSpace
from hypernudge.dash.charts import importance, incumbent, learning_curves, parallel_coordinates, timeline
from hypernudge.dash.charts.chart import text
from hypernudge.dash.study_view import CHARTS, StudyView, trial_table
from hypernudge.errors import InvalidArgumentError
from hypernudge.study.results import TrialResult
from tests.study.synthetic import study_of

HTML = "<script>alert(1)</script><b>&amp;"


def data(chart):
    return json.loads(json.dumps(chart.as_data(), allow_nan=False))


def named(chart):
    return {trace.get("name", ""): trace for trace in chart["traces"]}


def test_the_best_so_far_is_what_the_study_says():
    study = study_of(trials=30, lost=0.2)
    best = named(data(incumbent.chart(study)))["best so far"]
    assert best["y"] == sorted(best["y"]) and best["y"][-1] == pytest.approx(study.best_value, rel=1e-5)
    low = study_of(trials=30, direction="minimize", metric="loss")
    falls = named(data(incumbent.chart(low)))["best so far"]["y"]
    assert falls == sorted(falls, reverse=True) and falls[-1] == pytest.approx(low.best_value, rel=1e-5)


def test_the_bars_of_workers_are_their_jobs():
    study = study_of(trials=20, workers=3, nudge=lambda config: {"lr": config["lr"] / 2})
    chart = data(timeline.chart(study))
    bars = [trace for trace in chart["traces"] if trace["type"] == "bar"]
    jobs = [trace for trace in bars if trace["name"] != "warm start"]
    assert sum(len(trace["x"]) for trace in jobs) == len(study.reports)
    spent = sum(report.finished - report.started for report in study.reports)
    assert sum(sum(trace["x"]) for trace in jobs) == pytest.approx(spent, rel=1e-4)
    assert {worker for trace in jobs for worker in trace["y"]} == {0, 1, 2}
    assert len(named(chart)["warm start"]["x"]) == 20


def test_large_studies_make_small_charts():
    study = study_of(trials=4000, workers=8, lost=0.05)
    sizes = {name: len(json.dumps(data(draw(study)))) for name, _, draw in CHARTS}
    assert all(size < 250_000 for size in sizes.values()), sizes
    assert "not drawn" in incumbent.chart(study).note
    assert "of" in learning_curves.chart(study).note and "curves drawn" in learning_curves.chart(study).note
    jobs = [t for t in data(timeline.chart(study))["traces"] if t["type"] == "bar"]
    spent = sum(report.finished - report.started for report in study.reports)
    assert sum(sum(t["x"]) for t in jobs) == pytest.approx(spent, rel=0.02)  # joined, not left out
    drawn = {t["name"] for t in data(parallel_coordinates.chart(study))["traces"]}
    assert f"1. trial {study.best_trial.number}" in drawn


def test_names_are_text_for_plotly_too():
    assert "<" not in text(HTML) and text("a & b<i>") == "a &amp; b&lt;i&gt;"
    space = SearchSpace([Real(HTML, 0.1, 1.0), Categorical("<b>x", ("<i>one", "two"))])
    study = study_of(space, lambda config, unit, rng: config[HTML] + unit, trials=12, task=HTML, metric=HTML)
    for _, _, draw in CHARTS:
        assert "<" not in json.dumps(data(draw(study))).replace("<extra></extra>", "")
    assert "<" not in json.dumps(data(importance.chart(study.importance())))


@pytest.mark.parametrize(
    "options", [{"trials": 1}, {"trials": 5, "known": False}, {"lost": 1.0, "trials": 4}]
)
def test_odd_studies_are_drawn_or_say_why_not(options):
    study = study_of(**options)
    for _, _, draw in CHARTS:
        try:
            data(draw(study))
        except InvalidArgumentError as error:
            assert options.get("lost") and "\n" not in str(error)
    columns, rows = trial_table(study)
    json.dumps(rows, allow_nan=False)
    assert all(len(row) == len(columns) + 1 for row in rows) and len(rows) == len(study.trials)


def test_scores_that_are_no_numbers_are_left_out():
    study = study_of(trials=6, score=lambda config, unit, rng: math.nan if config["lr"] > 1e-2 else 0.5)
    for _, _, draw in CHARTS:
        data(draw(study))
    trial = TrialResult(0, {}, {}, study.trials[0].nudge, 0.0)
    assert trial.best is None


class Given:
    """A study that is there at once."""

    def __init__(self, study):
        self.study, self._fresh = study, True

    def update(self):
        fresh, self._fresh = self._fresh, False
        return fresh


def test_a_page_says_how_sure_importance_is():
    page = StudyView(Given(study_of(trials=30)), None, "mine").data(whole=True)
    (chart,) = (chart for chart in page["charts"] if chart["name"] == "importance")
    assert "30 trials" in chart["note"] and "uncertain" in chart["note"]
    assert len(chart["traces"][0]["error_x"]["array"]) == 5
    few = StudyView(Given(study_of(trials=3)), None, "mine").data(whole=True)
    (chart,) = (chart for chart in few["charts"] if chart["name"] == "importance")
    assert chart["traces"] == [] and "must have 8 trials" in chart["note"]
