"""The picture of a suggestion: losses of its trials by rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hypernudge.plotting.picture import Picture, picture
from hypernudge.suggestion.ladder import RateTrial

if TYPE_CHECKING:
    from hypernudge.suggestion.result import Suggestion

SIZE = (5.2, 3.2)
COLOURS = ("#56B4E9", "#0072B2", "#E69F00", "#CC79A7")  # of trials by their length,
LONGEST = "#000000"  # and of those that the suggestion is taken from
CHOSEN, LOST = "#009E73", "#D55E00"


@picture
def losses_by_rate(suggestion: Suggestion) -> Picture:
    """Draw the loss at the end of each trial by its rate, a line for each length, and the suggestion."""
    figure = Picture(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.axvspan(suggestion.low, suggestion.high, color=CHOSEN, alpha=0.15, linewidth=0)
    axes.axvline(suggestion.lr, color=CHOSEN)
    labels = [Line2D([], [], color=CHOSEN, label=f"suggestion {suggestion.lr:.2g}")]
    lengths = sorted({trial.steps for trial in suggestion.trials})
    colours = [*COLOURS[: max(len(lengths) - 1, 0)], LONGEST]
    for length, colour in zip(lengths, colours, strict=False):  # no trial has no length
        labels.append(_length(axes, [t for t in suggestion.trials if t.steps == length], colour))
    lost = [trial.rate for trial in suggestion.trials if not math.isfinite(trial.loss)]
    if lost:
        top = axes.get_xaxis_transform()
        axes.plot(lost, [0.97] * len(lost), "x", color=LOST, transform=top, clip_on=False)
        labels.append(Line2D([], [], color=LOST, linestyle="", marker="x", label="diverged"))
    axes.axhline(suggestion.untrained, color="0.6", linestyle=":")
    labels.append(Line2D([], [], color="0.6", linestyle=":", label="before training"))
    finite = [trial.loss for trial in suggestion.trials if math.isfinite(trial.loss)]
    if finite:
        reach = max(suggestion.untrained - min(finite), 1e-9)
        axes.set_ylim(min(finite) - 0.1 * reach, suggestion.untrained + 0.3 * reach)
    axes.set_xlabel("learning rate")
    held_out = any(trial.held_out for trial in suggestion.trials)
    axes.set_ylabel("held-out loss of a trial" if held_out else "mean training loss of a trial's last third")
    axes.legend(handles=labels)
    return figure


def _length(axes: Axes, trials: list[RateTrial], colour: str) -> Line2D:
    """Draw the trials of one length; return what the legend says of them."""
    ordered = sorted((trial for trial in trials if math.isfinite(trial.loss)), key=lambda trial: trial.rate)
    axes.plot([t.rate for t in ordered], [t.loss for t in ordered], "o-", color=colour, markersize=3.5)
    steps = trials[0].steps
    return Line2D([], [], color=colour, marker="o", markersize=3.5, label=f"{steps} steps")
