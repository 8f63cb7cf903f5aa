"""What was in force over the steps of a training, and how each episode was judged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.annealed_alignment import ANNEAL
from hypernudge.episodes.scheduler import EpisodicScheduler
from hypernudge.errors import require
from hypernudge.plotting.picture import MANY, Picture, label, picture
from hypernudge.plotting.style import WIDTH, label_ends, legend_above
from hypernudge.results.printable import counted

_LINE, _REWARD = "#0072B2", "#009E73"
_NAMED = 8  # candidates that have room beside an axis
_SMOOTHED = 0.1  # weight of the latest reward in the running mean


@picture
def draw(episodes: EpisodicScheduler) -> Picture:
    """Draw it; see `EpisodicScheduler.plot`."""
    spans = _spans(episodes)
    rule, remedy = "the scheduler must have taken a step", "train one, then call it again"
    require(len(spans) > 0, "plot", rule, episodes.step_count, remedy)
    axes_of = episodes.controller.axes
    rewards = [
        ((record.start_step + record.end_step + 1) / 2, record.reward.value)
        for record in episodes.records
        if record.reward is not None and math.isfinite(record.reward.value)
    ]
    rows = len(axes_of) + bool(rewards)
    figure = Picture(figsize=(WIDTH, 1.9 * rows + 0.5), layout="constrained")
    panels = list(figure.subplots(rows, 1, squeeze=False, sharex=True).flat)
    ends = []
    for index, (axes, axis) in enumerate(zip(panels, axes_of, strict=False)):
        ends.append((axes, _panel(axes, axis, spans, index)))
    handles = [Line2D([], [], color=_LINE, label="in force")]
    if rewards:
        handles += _rewards(panels[-1], np.array(rewards))
    panels[-1].set_xlabel("optimizer step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 5, 10]))
    last = max(span[1] for span in spans)
    panels[-1].set_xlim(min(span[0] for span in spans), last)
    closed = len(episodes.records)
    title = f"{counted(closed, 'episode')} closed, {counted(episodes.step_count, 'step')}"
    if episodes.pretrained:
        title += ", taken for pretrained"
    panels[0].set_title(title, loc="left")
    figure.align_ylabels(panels)
    legend_above(figure, handles)
    figure.draw_without_rendering()
    for axes, end in ends:
        label_ends(axes, [(end, f"{end:.4g}", _LINE)])
    return figure


Span = tuple[int, int, tuple[float, ...], tuple[float, ...]]
"""First step of an episode and the step after its last; its values at the first step, and at its end."""


def _spans(episodes: EpisodicScheduler) -> list[Span]:
    """Return the episodes, the open one too."""
    selections = [(r.start_step, r.end_step + 1, r.selection) for r in episodes.records]
    life = episodes.lifecycle
    if life.current is not None and life.steps:
        selections.append((life.start, life.start + life.steps, life.current))
    spans: list[Span] = []
    for place, (start, end, selection) in enumerate(selections):
        after = selection.values
        if selection.bucket == ANNEAL and place + 1 < len(selections):
            following = selections[place + 1]
            if following[2].bucket == ANNEAL and following[0] == end:
                after = following[2].values  # the rate moves within the episode, to where the next begins
        elif selection.bucket == ANNEAL:
            axes = episodes.controller.axes
            pairs = zip(axes, after, strict=True)
            after = tuple(getattr(axis, "applied", value) for axis, value in pairs)
        spans.append((start, end, selection.values, after))
    return spans


def _panel(axes: Axes, axis: Axis, spans: list[Span], index: int) -> float:
    """Draw what an axis was over the steps; return what it was at last."""
    moves = hasattr(axis, "applied")
    ends_at = [(after if moves else before)[index] for *_, before, after in spans]
    values = np.array([[span[2][index] for span in spans], ends_at], dtype=np.float64).T
    starts, ends = (np.array([span[place] for span in spans]) for place in (0, 1))
    x = np.stack([starts, ends], axis=1).ravel()
    values = values.ravel()
    axes.plot(x, values, color=_LINE, linewidth=1.2, rasterized=len(values) > 2 * MANY)
    candidates = np.array(axis.candidates, dtype=np.float64)
    chosen_from = len(candidates) <= _NAMED and bool(np.isin(values, candidates).all())
    shown = candidates if chosen_from else values
    if shown.min() > 0 and shown.max() >= 2 * shown.min():
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        margin = (shown.max() / shown.min()) ** 0.1
        axes.set_ylim(shown.min() / margin, shown.max() * margin)
    else:
        margin = 0.1 * float(shown.max() - shown.min()) or 0.1 * abs(float(shown.max())) or 0.1
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
    if chosen_from:
        labels = [f"{value:g} (arm {arm})" for arm, value in enumerate(candidates)]
        axes.set_yticks(candidates, labels=labels)
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    factor = " [factor]" if getattr(axis, "neutral", None) == 1 else ""
    axes.set_ylabel(f"{label(axis.name)}{factor}")
    return float(values[-1])


def _rewards(axes: Axes, rewards: NDArray[np.float64]) -> list[Line2D]:
    smoothed = np.empty(len(rewards))
    mean = rewards[0, 1]
    for place, value in enumerate(rewards[:, 1]):
        mean += _SMOOTHED * (value - mean)
        smoothed[place] = mean
    size = 2.5 if len(rewards) < MANY else 1.2
    dots: dict[str, Any] = {
        "color": _REWARD,
        "linestyle": "",
        "marker": "o",
        "markersize": size,
        "markeredgewidth": 0,
    }
    axes.plot(rewards[:, 0], rewards[:, 1], rasterized=len(rewards) > MANY, alpha=0.6, **dots)
    axes.plot(rewards[:, 0], smoothed, color=_REWARD, linewidth=1.2)
    axes.set_ylabel("reward")
    return [
        Line2D([], [], label="reward of an episode", **dots),
        Line2D([], [], color=_REWARD, linewidth=1.2, label="running mean"),
    ]
