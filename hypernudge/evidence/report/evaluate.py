"""From a results directory to verdicts, tables and figures.

    evaluation = evaluate(Path("results/smoke"), emit=events.append)
    evaluation.status         "complete", or "incomplete" when planned cells are missing
    evaluation.comparisons    one event per comparison, each with one verdict

Reads saved results only, trains nothing, and writes beside them: `evaluation.json`, `tables/` and `figures/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypernudge.evidence.loading.data_checks import all_crashed
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.formats import write_table
from hypernudge.evidence.report.summaries import (
    comparison_event,
    control_event,
    criterion_event,
    interaction_event,
    summarise,
)
from hypernudge.evidence.report.tables import all_tables
from hypernudge.evidence.statistics.power import pairs_needed
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.evidence.verdicts.controls import against_controls, interactions
from hypernudge.evidence.verdicts.criteria import judge_criteria
from hypernudge.results.files import write_text
from hypernudge.results.jsonio import plain, write_json
from hypernudge.results.plan import EVALUATION
from hypernudge.results.reading import check_output

Event = dict[str, Any]
Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found and wrote; every entry is an event as emitted.

    Attributes:
        study: Name of the study.
        plan_hash: Hash of the plan it was run under.
        status: `incomplete` when planned cells are missing; what exists is evaluated all the same.
        planned: Planned cells.
        missing: Planned cells without a usable record.
        summaries: One per variation.
        comparisons: One per comparison.
        criteria: One per method and success criterion.
        controls: One per method and control.
        interactions: One per declared factorial design and setting.
        figures: One per figure.
        tables: One per table.
        problems: One per thing that was not as declared.
        path: The file that holds all of this.
    """

    study: str
    plan_hash: str
    status: Literal["complete", "incomplete"]
    planned: int
    missing: int
    crashed: tuple[str, ...]
    summaries: tuple[Event, ...]
    comparisons: tuple[Event, ...]
    criteria: tuple[Event, ...]
    controls: tuple[Event, ...]
    interactions: tuple[Event, ...]
    figures: tuple[Event, ...]
    tables: tuple[Event, ...]
    problems: tuple[Event, ...]
    path: Path


def evaluate(
    results_dir: Path,
    emit: Emit,
    *,
    figures: bool = True,
    html: Path | None = None,
    all_settings: bool = False,
) -> Evaluation:
    """Evaluate a results directory.

    Args:
        results_dir: Holds `plan.json` and the sealed records.
        emit: Called with each JSON-able event as soon as it is known: problem, summary, comparison,
            criterion, control, interaction, table, figure, report.
        figures: Whether to draw; drawing takes most of the time.
        html: Where to write all of it as one page as well; the page has the figures that were drawn.
        all_settings: Draw every setting by itself, however many there are.

    Raises:
        ResultsError: there is no readable plan, or it pairs a method with no baseline. Damaged or missing
            records do not raise.
    """
    study = load_study(results_dir)
    for path in (results_dir / "tables" / "x", results_dir / "figures" / "x", html or results_dir):
        check_output(path, results_dir)  # before any work
    criteria = study.plan.criteria

    def send(event: Event) -> Event:
        clean: Event = plain(event)
        emit(clean)
        return clean

    problems = tuple(send(problem.event()) for problem in study.problems)
    summaries = tuple(send(summarise(study, variation)) for variation in study.plan.variations)
    comparisons = compare(study)
    compared = tuple(send(comparison_event(comparison)) for comparison in comparisons)
    judged = judge_criteria(comparisons, criteria)
    criterion_events = tuple(send(criterion_event(criterion)) for criterion in judged)
    controls = tuple(send(control_event(found)) for found in against_controls(comparisons, criteria))
    together = tuple(send(interaction_event(found)) for found in interactions(comparisons, criteria))
    frames = all_tables(study, comparisons, judged, summaries)
    tables = []
    for table in frames:
        paths = write_table(table, results_dir / "tables")
        files = [path.relative_to(results_dir) for path in paths]
        tables.append(send({"event": "table", "name": table.name, "shows": table.caption, "files": files}))
    drawn = []
    if figures or html is not None:
        # Imported here: a caller who wants numbers only does not pay for Matplotlib.
        from hypernudge.evidence.figures.evaluated_study import MOST_SETTINGS, EvaluatedStudy
        from hypernudge.evidence.report.compact import Page
        from hypernudge.evidence.report.gallery import TOPICS, draw_all

        evaluated = EvaluatedStudy(
            study, tuple(comparisons), tuple(judged), most=None if all_settings else MOST_SETTINGS
        )
        page = None if html is None else Page()
        for path, caption in draw_all(
            evaluated, results_dir / "figures", TOPICS if figures else (), page=page
        ):
            name = path.relative_to(results_dir)
            drawn.append(send({"event": "figure", "name": path.name, "file": name, "shows": caption}))
        if evaluated.left_out():
            remedy = "`hypernudge report DIR --all-figures` draws all"
            send({"event": "left_out", "shows": f"{evaluated.left_out()}; {remedy}"})
        if html is not None and page is not None:
            from hypernudge.evidence.report.html import report

            write_text(html, report(results_dir, evaluated, frames, page))
            send({"event": "report", "file": html, "shows": "everything in one HTML file"})
    missing = int((study.cells["status"] == "missing").sum())
    largest = max((comparison.family_size for comparison in comparisons), default=1)
    evaluation = Evaluation(
        study=study.plan.name,
        plan_hash=study.plan.hash,
        status="incomplete" if missing else "complete",
        planned=len(study.cells),
        missing=missing,
        crashed=tuple(issue.run_id or "" for issue in all_crashed(study.cells)),
        summaries=summaries,
        comparisons=compared,
        criteria=criterion_events,
        controls=controls,
        interactions=together,
        figures=tuple(drawn),
        tables=tuple(tables),
        problems=problems,
        path=results_dir / EVALUATION,
    )
    write_json(
        evaluation.path,
        {
            "format": 1,
            "study": evaluation.study,
            "plan_hash": evaluation.plan_hash,
            "status": evaluation.status,
            "cells": {"planned": evaluation.planned, "missing": missing},
            "criteria_declared": criteria,
            "pairs_needed": pairs_needed(criteria.alpha, max(1, largest)),
            "verdicts": {event["run_id"]: event["verdict"] for event in compared},
            "comparisons": compared,
            "criteria": criterion_events,
            "controls": controls,
            "interactions": together,
            "summaries": summaries,
            "tables": evaluation.tables,
            "figures": evaluation.figures,
            "problems": problems,
        },
    )
    return evaluation
