"""One self-contained HTML file: verdicts, plan, deviations, every figure as SVG, tables, provenance.

No script, no font and no address is loaded from anywhere. Figures are part of the page, so that their text
can be searched and read aloud, and share one style sheet; on a narrow screen they and the tables scroll
sideways, on paper none is split.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.study import StudyResults, load_study
from hypernudge.evidence.report.compact import Page
from hypernudge.evidence.report.formats import rounded
from hypernudge.evidence.report.gallery import TOPICS, Topic, draw_page
from hypernudge.evidence.report.summaries import summarise
from hypernudge.evidence.report.tables import Table, all_tables
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.evidence.verdicts.controls import BUDGET_MATCHED, against_controls, interactions
from hypernudge.evidence.verdicts.criteria import Criterion, judge_criteria
from hypernudge.results.files import write_text
from hypernudge.results.plan import read_manifest
from hypernudge.results.printable import printable
from hypernudge.results.reading import UnreadableError, check_output, read_json

_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; color: #111; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #ccc; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure svg { display: block; width: 100%; max-width: 46rem; height: auto; }
figcaption { font-size: .9rem; color: #333; }
.flag { border-left: 4px solid #D55E00; padding-left: .6rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .75rem; background: #f5f5f5;
      padding: .6rem; }
@media (max-width: 40rem) {
  body { padding: .6rem; } figure svg { min-width: 33rem; }
}
@media print {
  body { font-size: 10pt; max-width: none; padding: 0; }
  h2 { break-after: avoid; } tr { break-inside: avoid; }
  .scroll { overflow: visible; } table { font-size: 6pt; } th, td { padding: .05rem .15rem; }
}
"""


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
    study = evaluated.study
    manifest = read_manifest(results_dir).raw
    parts = [
        *_head(study, page.styles.css()),
        *_verdicts(evaluated),
        *_problems(study),
        "<h2>Figures</h2>",
        *(_figure(*figure) for figure in page.figures),
        *(part for table in tables for part in _table(table)),
        *_plan(study, manifest),
        *_provenance(results_dir, study),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def comparison_page(evaluated: EvaluatedStudy, tables: Sequence[Table], page: Page) -> str:
    """Return a comparison of results that no plan stands behind, as one page."""
    parts = [
        *_head(evaluated.study, page.styles.css()),
        *_verdicts(evaluated),
        *_problems(evaluated.study),
        "<h2>Figures</h2>",
        *(_figure(*figure) for figure in page.figures),
        *(part for table in tables for part in _table(table)),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _escape(text: str) -> str:
    """Return text for HTML: no markup, and nothing that cannot be seen but line breaks."""
    return html.escape("\n".join(printable(line) for line in text.split("\n")))


def _head(study: StudyResults, styles: str) -> Iterator[str]:
    title = _escape(f"{study.plan.name}: evidence")
    missing = int((study.cells["status"] == "missing").sum())
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title><style>{_CSS}{styles}</style></head><body>"
    yield f"<h1>{title}</h1>"
    status = f"incomplete, {missing} missing" if missing else "complete"
    if study.plan.hash:
        yield f"<p>{len(study.cells)} planned cells, {status}. Plan {_escape(study.plan.hash[:16])}.</p>"
        return
    yield f"<p>{len(study.cells)} runs, {status}.</p>"
    yield '<p class="flag">The criteria were not declared before these runs: exploratory.</p>'


def _verdicts(evaluated: EvaluatedStudy) -> Iterator[str]:
    criteria = evaluated.study.plan.criteria
    met: dict[str, list[str]] = {}
    planned = bool(evaluated.study.plan.hash)  # nobody said of other tools' results what their controls are
    for found in against_controls(evaluated.comparisons, criteria) if planned else ():
        name = "the budget-matched placebo" if found.role == BUDGET_MATCHED else found.label
        text = f"against {_escape(name)} {_ratio(found.ratio)}, {_p(found.p_value)}"
        met.setdefault(found.comparison.method.run_id, []).append(text)
    yield "<h2>Verdicts</h2><ul>"
    for c in evaluated.comparisons:
        where = _escape(f"{c.method.warm_start} on {c.method.task}, {c.method.scheduler}")
        controls = "; ".join(met.get(c.method.run_id, []))
        yield f"<li><strong>{where}: {c.verdict.label}</strong> ({_escape(c.verdict.reason)})"
        for note in c.notes:
            yield f"<br><small>Note: {_escape(note)}.</small>"
        yield f"<br><small>Time ratio, uncorrected: {controls}.</small></li>" if controls else "</li>"
    yield "</ul>"
    yield from _criteria(evaluated.criteria)
    designs = list(interactions(evaluated.comparisons, criteria)) if planned else []
    if designs:
        yield "<ul>"
        for i in designs:
            what = _escape(f"{' and '.join(i.factors)} together on {i.task}, {i.scheduler}")
            yield f"<li>{what}: {_ratio(i.ratio)} of the product of each alone, {_p(i.p_value)}</li>"
        yield "</ul>"


def _criteria(criteria: Sequence[Criterion]) -> Iterator[str]:
    """One line per method, the rules once for all."""
    yield "<h2>Success criteria</h2><ul>"
    for method in dict.fromkeys(k.warm_start for k in criteria):
        own = [k for k in criteria if k.warm_start == method]
        judged = "; ".join(
            f"{k.name.replace('_', ' ')} <strong>{k.judgement}</strong> ({k.met} of {k.planned}, "
            f"{k.share.low:.0%} to {k.share.high:.0%})"
            for k in own
        )
        yield f"<li><strong>{_escape(method)}</strong>: {judged}</li>"
    yield "</ul><p><small>"
    yield "<br>".join(f"{name.replace('_', ' ')}: {_escape(rule)}" for name, rule in _rules(criteria))
    yield "<br>In brackets: settings (task, scheduler) that meet it, and the exact interval of their share."
    yield "</small></p>"


def _rules(criteria: Sequence[Criterion]) -> Iterable[tuple[str, str]]:
    return {k.name: k.rule for k in criteria}.items()


def _p(value: float) -> str:
    return "p &lt; 0.001" if value < 0.001 else f"p = {value:.3f}"


def _ratio(interval: Interval) -> str:
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _problems(study: StudyResults) -> Iterator[str]:
    yield "<h2>Deviations and problems</h2>"
    if not study.problems:
        yield "<p>None: everything is as declared.</p>"
    for p in study.problems:
        text = _escape(f"{p.where}: {p.rule}; {p.consequence}")
        yield f'<p class="flag">{text}</p>'


def _table(table: Table) -> Iterator[str]:
    yield f"<h2>{_escape(_title(table.name))}</h2><p>{_escape(table.caption)}</p>"
    yield '<div class="scroll"><table><thead><tr>'
    yield "".join(f"<th>{_escape(str(name))}</th>" for name in table.frame.columns)
    yield "</tr></thead><tbody>"
    for row in rounded(table.frame):
        yield "<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _figure(name: str, caption: str, svg: str) -> str:
    said = _escape(caption)
    labelled = svg.replace("<svg", f'<svg role="img" aria-label="{said}"', 1)
    scroll = f'<div class="scroll">{labelled}</div>'
    return f'<figure id="{_escape(name)}">{scroll}<figcaption>{said}</figcaption></figure>'


def _plan(study: StudyResults, manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Plan</h2>"
    rows = [
        {
            "run": v.run_id,
            "target": v.target,
            "metric": v.metric,
            "seeds": f"{len(v.seeds)}: {min(v.seeds)} to {max(v.seeds)}",
        }
        for v in study.plan.variations
    ]
    yield from _table(Table("variations as planned", "targets and seeds", pd.DataFrame(rows)))
    shown = {"hash": study.plan.hash, "evidence": manifest.get("evidence", {})}
    if "declared" in manifest:
        shown |= {"declared": manifest["declared"], "declaration_hash": manifest.get("declaration_hash")}
    else:
        yield '<p class="flag">No declaration (pilot seeds, power, controls) was written before the runs.</p>'
    yield f"<pre>{_escape(json.dumps(shown, indent=1))}</pre>"


def _provenance(results_dir: Path, study: StudyResults) -> Iterator[str]:
    yield "<h2>Provenance</h2>"
    found: dict[str, list[str]] = {}
    for variation in study.plan.variations:
        path = results_dir / variation.run_id / "results.json"
        try:
            own = read_json(path).get("provenance")
        except (OSError, UnreadableError, AttributeError):
            own = None
        found.setdefault(json.dumps(own, indent=1, sort_keys=True), []).append(variation.run_id)
    for text, runs in found.items():
        which = "not recorded" if text == "null" else text
        yield f"<p>{_escape(', '.join(runs))}</p><pre>{_escape(which)}</pre>"
