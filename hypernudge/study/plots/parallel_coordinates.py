"""Each trial as a line through its values, up to its best score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hypernudge.errors import require_whole
from hypernudge.plotting.picture import MANY, Picture, picture
from hypernudge.plotting.style import WIDTH, legend_above
from hypernudge.study.plots.dimensions import Dimension, dimensions
from hypernudge.study.plots.scores import LOST, ScoreScale, require_scores, without_score
from hypernudge.study.plots.titles import set_title, title
from hypernudge.study.results import TrialResult
from hypernudge.study.study import Study

_OFF = -0.09  # where a hyper-parameter that is not active stands


@picture
def draw(study: Study, top: int = 10) -> Picture:
    """Draw it; see `Plots.parallel_coordinates`."""
    require_whole("top", top, 1)
    scored = require_scores(study, "parallel_coordinates")
    lost = without_score(study)
    axes_of = dimensions(study)
    figure = Picture(figsize=(max(WIDTH, 1.0 * (len(axes_of) + 1) + 0.8), 3.8), layout="constrained")
    axes = figure.subplots()
    scale = ScoreScale.of(study, [trial.value for trial in scored])
    first, rest = scored[:top], scored[top:]
    last = len(axes_of)
    pixels = len(scored) + len(lost) > MANY
    alpha = float(np.clip(5 / math.sqrt(len(rest) + 1), 0.04, 0.8))
    for trials, colour, strength in ((lost, LOST, 0.35), (rest, "0.6", alpha)):
        lines = _lines(trials, axes_of, scale)
        style: dict[str, Any] = {"colors": colour, "linewidths": 0.6, "alpha": strength, "rasterized": pixels}
        axes.add_collection(LineCollection(lines, **style))
    for line, trial in reversed(list(zip(_lines(first, axes_of, scale), first, strict=True))):
        axes.plot(line[:, 0], line[:, 1], color=scale.colour(trial.value), linewidth=1.4, zorder=3)
    shown = [trial.config for trial in (*scored, *lost)]
    absent = [bool(np.isnan(dimension.places(shown)).any()) for dimension in axes_of]
    for place, dimension in enumerate(axes_of):
        _axis(axes, place, [*dimension.ticks(), *([(_OFF, "off")] if absent[place] else [])])
    _axis(axes, last, [(float(scale.places(np.array(v))), text) for v, text in scale.marks()], right=True)
    names = [*(dimension.name for dimension in axes_of), scale.name]
    axes.set_xticks(range(last + 1), labels=names, rotation=0 if last < 6 else 18)
    axes.tick_params(axis="x", length=0, pad=6)
    axes.set_yticks([])
    axes.set_xlim(-0.35, last + 0.45)
    axes.set_ylim(_OFF - 0.06 if any(absent) else -0.04, 1.04)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    set_title(figure, axes, title(study))
    best = f"the best {len(first)}: the better, the darker" if len(first) > 1 else "the best"
    handles = [Line2D([], [], color=scale.colour(scored[0].value), label=best)]
    if rest:
        handles.append(Line2D([], [], color="0.6", linewidth=0.8, label=f"the other {len(rest)}"))
    if lost:
        handles.append(Line2D([], [], color=LOST, linewidth=0.8, label=f"{len(lost)} lost, no score"))
    legend_above(figure, handles)
    return figure


def _lines(
    trials: list[TrialResult], axes_of: list[Dimension], scale: ScoreScale
) -> list[NDArray[np.float64]]:
    """Return a line for each trial, shape (axes + 1, 2); one without a score ends before the last axis."""
    if not trials:
        return []
    columns = [dimension.places([trial.config for trial in trials]) for dimension in axes_of]
    scores = scale.places(np.array([trial.value for trial in trials]))
    heights = np.stack([*(np.where(np.isnan(column), _OFF, column) for column in columns), scores], axis=1)
    places = np.broadcast_to(np.arange(heights.shape[1]), heights.shape)
    lines = np.stack([places, heights], axis=2)
    return [line[np.isfinite(line[:, 1])] for line in lines]


def _axis(axes: Axes, place: int, ticks: list[tuple[float, str]], *, right: bool = False) -> None:
    axes.plot([place, place], [0, 1], color="0.25", linewidth=0.8, zorder=4)
    for height, text in ticks:
        axes.plot([place - 0.025, place + 0.025], [height, height], color="0.25", linewidth=0.8, zorder=4)
        axes.annotate(
            text,
            (place, height),
            xytext=(4, 0) if right else (-4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=6.5,
            zorder=5,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "1", "edgecolor": "none", "alpha": 0.75},
        )
