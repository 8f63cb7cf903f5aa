"""One self-contained HTML file: verdicts, plan, deviations, every figure as SVG, tables, provenance.

No font and no address is loaded from anywhere, and a content security policy holds the page to that: its one
script sorts and filters tables and opens figures large, and without it all of the page is there. Figures are
part of the page, so that their text can be searched and read aloud, and share one style sheet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.criteria_schema import BUDGET_MATCHED
from hypernudge.evidence.loading.study import StudyResults, load_study
from hypernudge.evidence.report.compact import Page
from hypernudge.evidence.report.formats import rounded
from hypernudge.evidence.report.gallery import TOPICS, Topic, draw_page
from hypernudge.evidence.report.summaries import summarise
from hypernudge.evidence.report.tables import Table, all_tables
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.verdicts.comparisons import Comparison, compare
from hypernudge.evidence.verdicts.controls import against_controls, interactions
from hypernudge.evidence.verdicts.criteria import Criterion, judge_criteria
from hypernudge.pages.rendering import asset, content_security, escaped, markup, render, source_hash
from hypernudge.results.files import write_text
from hypernudge.results.plan import read_manifest
from hypernudge.results.reading import UnreadableError, check_output, read_json

Columns = list[tuple[str, bool]]


def write_report(results_dir: Path, path: Path, topics: Sequence[Topic] = TOPICS) -> None:
    """Evaluate a results directory and write the report.

    Args:
        results_dir: Holds `plan.json` and the sealed records.
        path: The HTML file, replaced if it exists.
        topics: Which figures.

    Raises:
        ResultsError: there is no readable plan.
    """
    check_output(path, results_dir)
    study = load_study(results_dir)
    comparisons = compare(study)
    criteria = judge_criteria(comparisons, study.plan.criteria)
    evaluated = EvaluatedStudy(study, tuple(comparisons), tuple(criteria))
    summaries = [summarise(study, variation) for variation in study.plan.variations]
    tables = all_tables(study, comparisons, criteria, summaries)
    write_text(path, report(results_dir, evaluated, tables, draw_page(evaluated, topics)))


def report(results_dir: Path, evaluated: EvaluatedStudy, tables: Sequence[Table], page: Page) -> str:
    """Return the report of what was evaluated and drawn already.

    Args:
        results_dir: For the plan and the provenance.
        evaluated: The evaluated study.
        tables: Its tables, in the order in which they are read.
        page: Its figures.
    """
    manifest = read_manifest(results_dir).raw
    plan, provenance = _plan(evaluated.study, manifest), _provenance(results_dir, evaluated.study)
    return _page(evaluated, tables, page, plan, provenance)


def comparison_page(evaluated: EvaluatedStudy, tables: Sequence[Table], page: Page) -> str:
    """Return a comparison of results that no plan stands behind, as one page."""
    return _page(evaluated, tables, page, None, [])


def _page(
    evaluated: EvaluatedStudy,
    tables: Sequence[Table],
    page: Page,
    plan: dict[str, Any] | None,
    provenance: list[tuple[str, str]],
) -> str:
    study = evaluated.study
    title, script = f"{study.plan.name}: evidence", asset("report.js")
    shown = [_table(table) for table in tables]
    figures = [_figure(*figure) for figure in page.figures]
    contents = [("verdicts", "Verdicts")]
    contents += [("criteria", "Success criteria")] if evaluated.criteria else []
    contents += [("problems", "Deviations and problems")]
    contents += [("figures", "Figures")] if figures else []
    contents += [(table["id"], table["title"]) for table in shown]
    contents += [("plan", "Plan"), ("provenance", "Provenance")] if plan else []
    return render(
        "report.html",
        title=title,
        policy=content_security(f"script-src {source_hash(script)}"),
        style=markup(asset("page.css") + asset("report.css") + page.styles.css()),
        script=markup(script),
        contents=contents,
        status=_status(study),
        flags=[] if plan else ["The criteria were not declared before these runs: exploratory."],
        verdicts=_verdicts(evaluated),
        interactions=_interactions(evaluated),
        criteria=[_criterion(criterion) for criterion in evaluated.criteria],
        problems=[f"{p.where}: {p.rule}; {p.consequence}" for p in study.problems],
        figures=figures,
        left_out=evaluated.left_out() if figures else "",
        tables=shown,
        plan=plan,
        provenance=provenance,
    )


def _status(study: StudyResults) -> str:
    missing = int((study.cells["status"] == "missing").sum())
    status = f"incomplete, {missing} missing" if missing else "complete"
    if study.plan.hash:
        return f"{len(study.cells)} planned cells, {status}. Plan {study.plan.hash[:16]}."
    return f"{len(study.cells)} runs, {status}."


def _verdicts(evaluated: EvaluatedStudy) -> list[dict[str, Any]]:
    met: dict[str, list[str]] = {}
    planned = bool(evaluated.study.plan.hash)  # nobody said of other tools' results what their controls are
    criteria = evaluated.study.plan.criteria
    for found in against_controls(evaluated.comparisons, criteria) if planned else ():
        name = "the budget-matched placebo" if found.role == BUDGET_MATCHED else found.label
        text = f"against {name} {_ratio(found.ratio)}, {_p(found.p_value)}"
        met.setdefault(found.comparison.method.run_id, []).append(text)
    return [
        {
            "task": c.method.task,
            "scheduler": c.method.scheduler,
            "method": c.method.warm_start,
            "label": c.verdict.label,
            "ratio": _ratio(c.effects.ratio),
            "p": "<0.001" if c.p_holm < 0.001 else f"{c.p_holm:.3f}",
            "pairs": f"{c.seeds.size} of {c.planned}",
            "final": _final(c),
            "reason": c.verdict.reason,
            "notes": c.notes,
            "controls": "; ".join(met.get(c.method.run_id, [])),
        }
        for c in evaluated.comparisons
    ]


def _final(c: Comparison) -> str:
    if c.final_differences.near_zero:
        return f"{c.final.estimate * c.final_differences.scale:+.4g} abs."
    return f"{100 * c.final.estimate:+.2f} %"


def _interactions(evaluated: EvaluatedStudy) -> list[str]:
    if not evaluated.study.plan.hash:
        return []
    return [
        f"{' and '.join(i.factors)} together on {i.task}, {i.scheduler}: {_ratio(i.ratio)} of the product of "
        f"each alone, {_p(i.p_value)}"
        for i in interactions(evaluated.comparisons, evaluated.study.plan.criteria)
    ]


def _criterion(k: Criterion) -> dict[str, Any]:
    return {
        "method": k.warm_start,
        "name": k.name.replace("_", " "),
        "judgement": k.judgement,
        "met": k.met,
        "planned": k.planned,
        "share": f"{k.share.low:.0%} to {k.share.high:.0%}",
        "rule": k.rule,
    }


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _ratio(interval: Interval) -> str:
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _table(table: Table) -> dict[str, Any]:
    return {
        "id": f"table-{table.name.replace(' ', '-')}",
        "title": table.name.replace("_", " ").capitalize(),
        "caption": table.caption,
        "columns": _columns(table.frame),
        "rows": rounded(table.frame),
    }


def _columns(frame: pd.DataFrame) -> Columns:
    return [(str(name), pd.api.types.is_numeric_dtype(frame[name])) for name in frame.columns]


def _figure(name: str, caption: str, svg: str) -> tuple[str, str, Any]:
    labelled = svg.replace("<svg", f'<svg role="img" aria-label="{escaped(caption)}"', 1)
    return name, caption, markup(labelled)


def _plan(study: StudyResults, manifest: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "run": v.run_id,
            "target": v.target,
            "metric": v.metric,
            "seeds": f"{len(v.seeds)}: {min(v.seeds)} to {max(v.seeds)}",
        }
        for v in study.plan.variations
    ]
    frame = pd.DataFrame(rows)
    shown = {"hash": study.plan.hash, "evidence": manifest.get("evidence", {})}
    declared = "declared" in manifest
    if declared:
        shown |= {"declared": manifest["declared"], "declaration_hash": manifest.get("declaration_hash")}
    text = json.dumps(shown, indent=1)
    return {"columns": _columns(frame), "rows": rounded(frame), "declared": declared, "text": text}


def _provenance(results_dir: Path, study: StudyResults) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for variation in study.plan.variations:
        path = results_dir / variation.run_id / "results.json"
        try:
            own = read_json(path).get("provenance")
        except (OSError, UnreadableError, AttributeError):
            own = None
        found.setdefault(json.dumps(own, indent=1, sort_keys=True), []).append(variation.run_id)
    return [(", ".join(runs), "not recorded" if text == "null" else text) for text, runs in found.items()]
