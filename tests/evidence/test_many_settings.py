"""A study of many settings: a report of it is bounded, says so, and says how far it is."""

import io
import json
import sys
import time

import pytest
from matplotlib.figure import Figure

from hypernudge import cli
from hypernudge.cli.stages import Stages
from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report import gallery
from hypernudge.evidence.verdicts.comparisons import compare
from tests.evidence.long_tables import results as results_of_runs
from tests.evidence.long_tables import written
from tests.evidence.synthetic import write_study


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    tasks = tuple(f"task{number}" for number in range(14))
    return write_study(folder, tasks=tasks, methods=("none", "curvature_band"), seeds=range(4), budget=30.0)


def test_the_settings_with_the_most_evidence_have_figures_of_their_own(results):
    study = load_study(results)
    comparisons = tuple(compare(study))
    evaluated = EvaluatedStudy(study, comparisons, ())
    p = {c.method.task: c.p_holm for c in comparisons}
    shown = [setting.task for setting in evaluated.featured()]
    assert len(shown) == 12 and shown == sorted(shown, key=list(p).index)
    out = set(p) - set(shown)
    assert min(p[task] for task in out) >= max(p[task] for task in shown)
    assert "shown for 12 of 14" in evaluated.left_out()
    every = EvaluatedStudy(study, comparisons, (), most=None)
    assert len(list(every.featured())) == 14 and every.left_out() == ""
    few = EvaluatedStudy(study, comparisons, (), most=14)
    assert len(list(few.featured())) == 14 and few.left_out() == ""


def test_a_report_says_what_it_leaves_out_and_draws_all_when_asked(results, tmp_path, monkeypatch, capsys):
    def draw(evaluated):  # as every figure of single settings is drawn, but at once
        for setting in evaluated.featured():
            yield Drawing(f"time_to_target_{setting.task}", "", Figure(figsize=(1, 1)))

    monkeypatch.setattr(gallery, "TOPICS", (draw,))
    page = tmp_path / "report.html"
    for arguments, drawn in (([], 12), (["--all-figures"], 14)):
        assert cli.main(["report", str(results), "--html", str(page), "--json", *arguments]) == 0
        out, err = capsys.readouterr()
        events = [json.loads(line) for line in out.splitlines()]
        figures = [e["name"] for e in events if e["event"] == "figure"]
        assert len([name for name in figures if name.startswith("time_to_target")]) == drawn
        said = [e["shows"] for e in events if e["event"] == "left_out"]
        assert len(said) == (drawn == 12) and ("--all-figures" in err) is (drawn == 12)
        assert ("shown for 12 of 14" in page.read_text("utf-8")) is (drawn == 12)


def test_a_report_that_takes_long_says_how_far_it_is(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)

    def until(words):
        end = time.monotonic() + 60
        while words not in said.getvalue():
            assert time.monotonic() < end, said.getvalue()

    with Stages("report", every=0.01) as stages:
        until("report: reading the records, 0 s\n")
        stages.note({"event": "comparison"})
        until("report: comparing, ")
        stages.note({"event": "table"})
        until("report: drawing figures, ")
        for number in (1, 2):
            stages.note({"event": "figure", "name": f"f{number}.pdf"})
        until("report: 2 figures drawn, f2.pdf the last, ")
    lines = said.getvalue()
    with Stages("report", quiet=True, every=0.0):
        pass
    assert said.getvalue() == lines


def test_only_quiet_commands_say_nothing_of_how_far_they_are(study_copy, tmp_path, monkeypatch):
    """Lines of JSON go into a file as a rule: standard error speaks beside them."""
    asked = []

    def stages(command, quiet=False):
        asked.append((command, quiet))
        return Stages(command, quiet=quiet)

    monkeypatch.setattr("hypernudge.cli.evidence.Stages", stages)
    for options in ([], ["--json"], ["--quiet"], ["--json", "--quiet"]):
        assert cli.main(["report", str(study_copy), "--no-figures", *options]) == 0
    path = written(results_of_runs(), tmp_path / "runs.csv")
    assert cli.main(["compare", str(path), "--baseline", "asha", "--target", "0.9"]) == 0
    assert asked == [("report", quiet) for quiet in (False, False, True, True)] + [("compare", False)]
