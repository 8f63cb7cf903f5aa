"""All figures of an evaluation, drawn one after the other: saved as PDF, or returned as SVG."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hypernudge.evidence.figures import (
    anytime,
    bars,
    controls,
    forest,
    gradients,
    manifest,
    profiles,
    rungs,
    sensitivity,
    shifts,
    time_to_target,
)
from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.report.compact import Page
from hypernudge.plotting import style
from hypernudge.results.files import write_text

T = TypeVar("T")
M = TypeVar("M")
Topic = Callable[[EvaluatedStudy], Iterator[Drawing]]

TOPICS: tuple[Topic, ...] = (
    forest.draw,
    time_to_target.draw,
    time_to_target.draw_pairs,
    anytime.draw,
    bars.draw_final_score,
    bars.draw_auc,
    bars.draw_overhead,
    bars.draw_wall_fee,
    rungs.draw,
    shifts.draw,
    gradients.draw,
    sensitivity.draw_targets,
    profiles.draw,
    profiles.draw_ranks,
    controls.draw,
    bars.draw_memory,
    sensitivity.draw_power,
    manifest.draw,
)
"""What a results directory has the data for."""

TABLE_TOPICS: tuple[Topic, ...] = (
    forest.draw,
    time_to_target.draw,
    time_to_target.draw_pairs,
    anytime.draw,
    bars.draw_final_score,
    bars.draw_auc,
    sensitivity.draw_targets,
    profiles.draw,
    sensitivity.draw_power,
)
"""What scores over time alone are enough for."""


def draw_all(
    evaluated: M,
    directory: Path,
    topics: Sequence[Callable[[M], Iterator[Drawing]]],
    *,
    svg: bool = False,
    page: Page | None = None,
) -> Iterator[tuple[Path, str]]:
    """Draw every figure that the study has the data for.

    Args:
        evaluated: An evaluated study, or whatever the topics draw.
        directory: Where the PDFs go.
        topics: Which figures.
        svg: Write each as SVG too, beside its PDF.
        page: Gathers the same figures for a page, where one is wanted: once drawn, they cost half as much.

    Yields:
        The path of each figure as it is written, and one line on what it shows.
    """

    def save(drawing: Drawing) -> Path:
        path = directory / f"{drawing.name}.pdf"
        style.save(drawing.figure, path)
        if svg:
            write_text(path.with_suffix(".svg"), style.as_svg(drawing.figure))
        if page is not None:
            drawing.figure.set_layout_engine("none")  # solved already
            page.add(drawing)
        return path

    for drawing, path in _each(evaluated, topics, save):
        yield path, drawing.caption


def draw_svgs(evaluated: EvaluatedStudy, topics: Sequence[Topic] = TOPICS) -> Iterator[tuple[Drawing, str]]:
    """Yield every figure that the study has the data for, with its SVG: equal studies, equal text."""
    yield from _each(evaluated, topics, lambda drawing: style.as_svg(drawing.figure))


def draw_page(evaluated: EvaluatedStudy, topics: Sequence[Topic] = TOPICS) -> Page:
    """Return every figure that the study has the data for, as elements of a page."""
    page = Page()
    for _ in _each(evaluated, topics, page.add):
        pass
    return page


def _each(
    evaluated: M, topics: Sequence[Callable[[M], Iterator[Drawing]]], use: Callable[[Drawing], T]
) -> Iterator[tuple[Drawing, T]]:
    taken: set[str] = set()
    for topic in topics:
        drawings = topic(evaluated)
        while True:
            # The context must not stay entered while the consumer of this generator runs.
            with style.context():
                drawing = next(drawings, None)
                if drawing is None:
                    break
                drawing = _unlike(drawing, taken)
                used = use(drawing)
            yield drawing, used


def _unlike(drawing: Drawing, taken: set[str]) -> Drawing:
    """The drawing under a name of its own: letters that no file name may hold can make two tasks alike."""
    names = (f"{drawing.name}_{number}" for number in itertools.count(2))
    name = drawing.name if drawing.name not in taken else next(name for name in names if name not in taken)
    taken.add(name)
    return replace(drawing, name=name)
