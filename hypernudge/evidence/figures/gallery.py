"""All figures of an evaluation, drawn and saved one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
    style,
    time_to_target,
)
from hypernudge.evidence.figures.material import Drawing, Material

Topic = Callable[[Material], Iterator[Drawing]]

TOPICS: tuple[Topic, ...] = (
    forest.draw,
    time_to_target.draw,
    time_to_target.draw_pairs,
    anytime.draw,
    bars.draw_final_score,
    bars.draw_auc,
    bars.draw_overhead,
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
"""What a results directory has material for."""

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
"""What scores over time alone have material for."""


def draw_all(
    material: Material, directory: Path, topics: Sequence[Topic] = TOPICS
) -> Iterator[tuple[Path, str]]:
    """Draw every figure that the study has material for.

    Args:
        material: An evaluated study.
        directory: Where the PDFs go.
        topics: Which figures.

    Yields:
        The path of each figure as it is written, and one line on what it shows.
    """
    for topic in topics:
        drawings = topic(material)
        while True:
            # The context must not stay entered while the consumer of this generator runs.
            with style.context():
                drawing = next(drawings, None)
                if drawing is None:
                    break
                path = directory / f"{drawing.name}.pdf"
                style.save(drawing.figure, path)
            yield path, drawing.shows
