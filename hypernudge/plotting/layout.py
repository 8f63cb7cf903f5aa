"""Where the panels of a figure stand: row by row, and no place stays empty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from hypernudge.plotting.style import WIDTH


def grid(panels: int, *, columns: int, height: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `panels` axes, row by row; each row fills the width.

    Args:
        panels: Number of axes.
        columns: Most columns; no more than the rows need.
        height: Inches per row.
        **shared: `sharex`, `sharey` as in `Figure.subplots`.
    """
    columns = balanced(panels, columns)
    rows = -(-panels // columns)
    width = WIDTH if columns > 1 else 0.75 * WIDTH
    figure = Figure(figsize=(width, height * rows + 0.45), layout="constrained")
    return figure, [axes for (axes,) in tiles(figure, panels, columns, **shared)]


def tiles(
    figure: Figure,
    panels: int,
    columns: int,
    heights: Sequence[float] = (1.0,),
    *,
    sharex: bool = False,
    sharey: bool = False,
    within: SubplotSpec | None = None,
) -> list[list[Axes]]:
    """Axes of panels that leave no place of a figure empty: a row with fewer has wider ones.

    Args:
        figure: It; nothing is in it yet.
        panels: How many.
        columns: Most in a row, as `balanced` says.
        heights: Relative heights of the axes of one panel, from the top.
        sharex: Whether axes of one place in their panel share the horizontal axis.
        sharey: Whether they share the vertical one; then only the first of a row labels it.
        within: Part of the figure to fill; all of it if absent.

    Returns:
        The axes of each panel, from the top, panels row by row.
    """
    rows = [len(part) for part in np.array_split(np.arange(panels), -(-panels // columns))]
    found: list[list[Axes]] = []
    # A grid for each row: in one, labels between the panels of a row would part those of every row.
    outer = figure.add_gridspec(len(rows), 1) if within is None else within.subgridspec(len(rows), 1)
    for row, count in enumerate(rows):
        spec = outer[row, 0].subgridspec(len(heights), count, height_ratios=heights)
        for place in range(count):
            panel: list[Axes] = []
            for part in range(len(heights)):
                first = found[0][part] if found else None
                shared = {"sharex": first if sharex else None, "sharey": first if sharey else None}
                axes = figure.add_subplot(spec[part, place], **shared)
                if sharey and place:  # as `subplots` has it
                    axes.tick_params(labelleft=False)
                panel.append(axes)
            found.append(panel)
    return found


def balanced(panels: int, columns: int) -> int:
    """Columns, at most so many, that fill as many rows as evenly as can be: four panels are two by two."""
    rows = -(-panels // columns)
    return -(-panels // rows)


def begins_row(axes: Axes) -> bool:
    """Whether nothing stands to the left of axes: there a label can be for the whole row."""
    place = axes.get_subplotspec()
    return place is None or place.is_first_col()
