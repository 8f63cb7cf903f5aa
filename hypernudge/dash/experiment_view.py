"""The page of an experiment: cells as they stand, verdicts on what there is, and a page for every cell."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.dash.background import Background
from hypernudge.dash.board import Board, Cell, Kind
from hypernudge.dash.cells import COLUMNS, STATES, Cells, in_words
from hypernudge.dash.charts import experiment
from hypernudge.dash.charts.chart import Chart
from hypernudge.dash.study_view import CellReader, StudyView
from hypernudge.errors import InvalidArgumentError, one_line
from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.verdicts.comparisons import Comparison, compare
from hypernudge.evidence.verdicts.criteria import judge_criteria
from hypernudge.harness.cells.checkpoint import study_folder
from hypernudge.harness.inspection.status import RunStatus
from hypernudge.plotting.style import context
from hypernudge.results.plan import Manifest, read_manifest
from hypernudge.results.printable import printable
from hypernudge.results.records import cell_path
from hypernudge.results.studies import FILE

VERDICTS: list[tuple[str, Kind]] = [
    *(("task", "text"), ("scheduler", "text"), ("method", "text"), ("verdict", "text"), ("pairs", "number")),
    *(("planned", "number"), ("time ratio", "number"), ("low", "number"), ("high", "number")),
    *(("Holm p", "number"), ("why", "text")),
]
_EVERY = 0.8  # seconds between two looks
_SHARE = 2.0
_PROBLEMS = 50


@dataclass(frozen=True)
class Verdicts:
    """What was found in the records that there are."""

    rows: list[list[Cell]]
    charts: list[Chart]
    problems: list[str]
    at: str


class ExperimentView:
    """The page of an experiment.

    Args:
        results_dir: Of `hypernudge run`.
        name: Where it was found.
    """

    def __init__(self, results_dir: Path, name: str) -> None:
        self._dir, self._name = results_dir, name
        self._board = Board()
        self._board.set("kind", "experiment")
        self._board.set("title", printable(name))
        self._cells = Cells(results_dir)
        self._verdicts: Background[Verdicts] = Background()
        self._manifest: Manifest | None = None
        self._plan_stamp = 0
        self._pages: dict[tuple[str, int], StudyView] = {}
        self._lock = threading.Lock()
        self._next = 0.0
        self._summary = ("begins", "nothing yet")

    def data(self, mark: str = "", *, whole: bool = False) -> dict[str, Any] | None:
        """Return what changed since a mark; see `StudyView.data`."""
        with self._lock:
            begun = time.monotonic()
            if whole or begun >= self._next:
                try:
                    self._refresh(whole=whole)
                    self._board.set("error", "")
                except (InvalidArgumentError, OSError) as error:
                    self._board.set("error", one_line(error))
                    self._summary = ("damaged", one_line(error))
                spent = time.monotonic() - begun
                self._next = time.monotonic() + max(_EVERY, _SHARE * spent)
            return self._board.since(mark)

    def summary(self) -> tuple[str, str]:
        """Return its state, and one line on it, for a list."""
        self.data("-")
        return self._summary

    def cell(self, run_id: str, seed: int) -> StudyView | None:
        """Return the page of a planned cell; None if it is not in the plan."""
        with self._lock:
            manifest = self._manifest or self._read_plan()
            known = {variation.run_id: variation for variation in manifest.variations}
            if run_id not in known or seed not in known[run_id].seeds:
                return None
            key = run_id, seed
            if key not in self._pages:
                path = cell_path(self._dir / run_id, seed)
                reader = CellReader(path, study_folder(path) / FILE)
                self._pages[key] = StudyView(reader, None, f"{run_id}, seed {seed}")
            return self._pages[key]

    def _read_plan(self) -> Manifest:
        stamp = (self._dir / "plan.json").stat().st_mtime_ns
        if self._manifest is None or stamp != self._plan_stamp:
            self._manifest, self._plan_stamp = read_manifest(self._dir), stamp
        return self._manifest

    def _refresh(self, *, whole: bool) -> None:
        manifest, found = self._read_plan(), self._cells.look()
        said = in_words(found)
        counts = {state: sum(len(getattr(own, state)) for own in found) for state in STATES}
        state = "running" if counts["running"] else "queued" if counts["queued"] else ""
        state = state or ("complete" if not counts["missing"] + counts["failed"] else "incomplete")
        self._summary = state, printable(f"{manifest.name}: {said}")
        board = self._board
        board.set("title", printable(manifest.name))
        board.set("state", state)
        board.set("progress", [counts["done"] + counts["crashed"], sum(counts.values())])
        board.set_table("variations", "Variations", *_variations(manifest, found))
        board.set_table("cells", "Cells", COLUMNS, self._cells.rows(manifest, found))
        self._show_verdicts(manifest, said, whole=whole)

    def _show_verdicts(self, manifest: Manifest, said: str, *, whole: bool) -> None:
        board = self._board
        self._verdicts.ask(self._cells.stamps(), lambda: verdicts(self._dir), wait=whole)
        found = self._verdicts.value
        declared = "yes" if manifest.raw.get("declared") else "no: nothing of it is confirmatory"
        facts = [
            ["cells", said],
            ["plan", printable(manifest.hash[:16])],
            ["declared before the runs", declared],
        ]
        if found is not None:
            facts.append(["verdicts as of", found.at])
        board.set("facts", facts)
        if found is None:
            why = self._verdicts.error or "being worked out"
            board.set("notes", [f"verdicts: {why}"])
            return
        board.set("notes", found.problems)
        board.set_table("verdicts", "Verdicts as they stand", VERDICTS, found.rows)
        for chart in found.charts:
            board.set_chart(chart.as_data())


def verdicts(results_dir: Path) -> Verdicts:
    """Return what the records of a results directory say so far.

    Raises:
        ResultsError: If they cannot be compared at all.
    """
    study = load_study(results_dir)
    comparisons = compare(study)
    evaluated = EvaluatedStudy(
        study, tuple(comparisons), tuple(judge_criteria(comparisons, study.plan.criteria))
    )
    with context():
        charts = [experiment.ratios(evaluated), *experiment.incumbents(evaluated)]
    said = [printable(f"{p.where}: {p.rule}; {p.consequence}") for p in study.problems]
    problems = said[:_PROBLEMS] + ([f"and {len(said) - _PROBLEMS} more"] if len(said) > _PROBLEMS else [])
    return Verdicts([_verdict(c) for c in comparisons], charts, problems, time.strftime("%Y-%m-%d %H:%M:%S"))


def _verdict(c: Comparison) -> list[Cell]:
    ratio: Interval = c.effects.ratio
    stands = f"{c.seeds.size} of {c.planned} pairs: exploratory" if c.missing else c.verdict.label
    names = [printable(name) for name in (c.method.task, c.method.scheduler, c.method.warm_start)]
    row: list[Cell] = [*names, stands, c.seeds.size, c.planned]
    row += [_number(value) for value in (ratio.estimate, ratio.low, ratio.high, c.p_holm)]
    why = f"{c.verdict.label} as it stands: {c.verdict.reason}" if c.missing else c.verdict.reason
    return [*row, printable("; ".join((why, *c.notes))), None]


def _number(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _variations(
    manifest: Manifest, found: Sequence[RunStatus]
) -> tuple[list[tuple[str, Kind]], list[list[Cell]]]:
    columns: list[tuple[str, Kind]] = [
        *(("variation", "text"), ("task", "text"), ("scheduler", "text"), ("warm start", "text")),
        ("planned", "number"),
        *((state, "number") for state in STATES),
    ]
    rows: list[list[Cell]] = []
    for variation, own in zip(manifest.variations, found, strict=True):
        labels = (variation.run_id, variation.task, variation.scheduler, variation.warm_start)
        counts = [len(getattr(own, state)) for state in STATES]
        rows.append([*map(printable, labels), len(variation.seeds), *counts, None])
    return columns, rows
