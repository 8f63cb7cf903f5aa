"""A chart as data: what Plotly draws, or why there is nothing to draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from hypernudge.plotting.picture import label
from hypernudge.results.printable import printable
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import ScoreScale

BEST = "#0072B2"
LOST = "#D55E00"
OTHER = "#8a8f98"  # between light and dark: it is seen on both


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: Its name, for addresses and tests.
        title: What is written above it.
        traces: For Plotly.
        layout: For Plotly; the page adds colours, fonts and margins.
        note: What is said below it.
        height: Pixels.
        wide: Whether it needs the whole width.
    """

    name: str
    title: str
    traces: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    height: int = 320
    wide: bool = False

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**vars(self)}


def text(value: object, most: int = 28) -> str:
    """Return a name for Plotly, which takes some markup: none is left."""
    return plain(label(value, most))


def plain(value: object) -> str:
    """Return text for Plotly as it is: what it takes for markup is written as characters."""
    return printable(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def numbers(values: Iterable[float] | NDArray[np.float64], digits: int = 6) -> list[float | None]:
    """Return numbers for JSON, with so many digits; None for what is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def hexed(colour: Any) -> str:
    """Return a colour of Matplotlib for a browser."""
    return str(to_hex(colour))


def rung_colour(rungs: Rungs, group: int) -> str:
    """Return the colour of a rung: the further, the darker, and never too near black or white."""
    last = len(rungs.ends) - 1
    return hexed(colormaps["viridis"](0.85 - 0.55 * group / last if last else 0.45))


def rank_colour(rank: int, most: int) -> str:
    """Return the colour of one of the best: the better, the darker."""
    return hexed(colormaps["plasma"](0.35 + 0.45 * rank / max(1, most - 1)))


def score_axis(scale: ScoreScale) -> dict[str, Any]:
    """Return an axis of scores for Plotly."""
    marks = scale.marks()
    low, high = (math.log10(v) if scale.log else v for v in (scale.low, scale.high))
    return {
        "title": {"text": plain(scale.name)},
        "type": "log" if scale.log else "linear",
        "range": [low, high],
        "tickvals": [value for value, _ in marks],
        "ticktext": [plain(shown) for _, shown in marks],
    }


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of `count` places, evenly, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def broken(lines: Sequence[NDArray[np.float64]]) -> tuple[list[float | None], list[float | None]]:
    """Return lines, each of shape (n, 2), as one trace's x and y with a gap after each."""
    x: list[float | None] = []
    y: list[float | None] = []
    for line in lines:
        x += [*numbers(line[:, 0]), None]
        y += [*numbers(line[:, 1]), None]
    return x, y
