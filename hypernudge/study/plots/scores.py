"""Scores as an axis and as colours: what is far behind the rest does not squeeze it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hypernudge.errors import require
from hypernudge.plotting.picture import label, number
from hypernudge.results.printable import counted
from hypernudge.study.results import TrialResult, none_scored
from hypernudge.study.study import Study

LOST = "#D55E00"
"""Colour of trials that failed or diverged."""
LOST_MARK: dict[str, Any] = {"color": LOST, "linestyle": "", "marker": "x", "markersize": 4}
_TIMES = 100.0  # the smallest, from which positive scores that are made small are on a logarithmic axis
_BEHIND = 3.0  # as far behind the median as the best is ahead of it: where the axis ends


def require_trials(study: Study, picture: str) -> Sequence[TrialResult]:
    """Return the trials of a study that has some.

    Raises:
        InvalidArgumentError: If no trial has begun.
    """
    trials = study.trials
    remedy = "tune first, or open another study"
    require(len(trials) > 0, picture, "the study must have a trial", len(trials), remedy)
    return trials


def require_scores(study: Study, picture: str) -> list[TrialResult]:
    """Return the trials that have a finite score, best first, the earlier first on ties.

    Raises:
        InvalidArgumentError: If there is none, with why.
    """
    trials = list(require_trials(study, picture))
    scored = [trial for trial in trials if trial.best is not None]
    remedy = none_scored(trials)
    require(len(scored) > 0, picture, "the study must have a score", "none", remedy)
    return sorted(scored, key=lambda trial: -study.about.sign * trial.value)


def without_score(study: Study) -> list[TrialResult]:
    """Return the trials that failed or diverged before they had a score."""
    return [trial for trial in study.trials if trial.best is None and trial.status in ("failed", "diverged")]


@dataclass(frozen=True)
class ScoreScale:
    """How the scores of a study are drawn.

    Attributes:
        name: What is written beside an axis of theirs.
        low: Where the axis begins.
        high: Where it ends.
        log: Whether it is logarithmic.
        hidden: How many scores lie beyond it, on the worse side.
        sign: 1 if larger is better, else -1.
    """

    name: str
    low: float
    high: float
    log: bool
    hidden: int
    sign: int

    @classmethod
    def of(cls, study: Study, scores: Sequence[float]) -> ScoreScale:
        """Return the scale for some finite scores, at least one.

        The axis is logarithmic for positive scores over decades that are made small. It ends a few times as
        far behind the median as the best is ahead: one trial that exploded does not squeeze the others.
        """
        name = f"validation {label(study.about.metric)}"
        sign, values = study.about.sign, np.asarray(scores, dtype=np.float64)
        log = bool(sign < 0 and values.min() > 0 and values.max() >= _TIMES * values.min())
        better = sign * (np.log10(values) if log else values)
        best, median, worst = float(better.max()), float(np.median(better)), float(better.min())
        span = _BEHIND * max(best - median, median - float(np.quantile(better, 0.1)))
        cut = max(worst, median - span)
        margin = 0.06 * (best - cut) or 0.05 * abs(best) or 0.05
        low, high = sorted((sign * (cut - margin), sign * (best + margin)))
        low, high = (10**low, 10**high) if log else (low, high)
        return cls(name, low, high, log, int(np.sum(better < cut)), sign)

    def apply(self, axes: Axes, which: Literal["x", "y"] = "y") -> None:
        """Give an axis of `axes` this range, scale and name; say what lies beyond it."""
        scale, limits, name, axis = (
            (axes.set_yscale, axes.set_ylim, axes.set_ylabel, axes.yaxis)
            if which == "y"
            else (axes.set_xscale, axes.set_xlim, axes.set_xlabel, axes.xaxis)
        )
        if self.log:
            scale("log")
        limits(self.low, self.high)
        axis.set_ticks([tick for tick, _ in self.marks()], labels=[text for _, text in self.marks()])
        axis.set_minor_locator(NullLocator())
        name(self.name)

    def marks(self) -> list[tuple[float, str]]:
        """Return round scores on the axis, and how they are written."""
        few = self.log and self.high < 100 * self.low
        locator = (
            LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=7)
            if self.log
            else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
        )
        found = [float(tick) for tick in locator.tick_values(self.low, self.high)]
        return [(tick, number(tick)) for tick in found if self.low <= tick <= self.high]

    @property
    def beyond(self) -> str:
        """What is said of the scores that are not on the axis; empty if all are."""
        if not self.hidden:
            return ""
        side = "below" if self.sign > 0 else "above"
        return f"{counted(self.hidden, 'score')} {side} this axis"

    def visible(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores, any shape, moved to the axis where they lie beyond it; NaN stays NaN."""
        return np.clip(scores, self.low, self.high)

    def places(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where scores stand on the axis, in [0, 1]; any shape."""
        return np.asarray(self.norm(self.visible(scores)), dtype=np.float64)

    @property
    def norm(self) -> Normalize:
        """Scores to [0, 1]."""
        return LogNorm(self.low, self.high) if self.log else Normalize(self.low, self.high)

    @property
    def colours(self) -> Colormap:
        """Places to colours: the better, the darker."""
        return colormaps["viridis_r" if self.sign > 0 else "viridis"]

    def colour(self, score: float) -> Any:
        """Return the colour of a score: red, green, blue and opacity."""
        return self.colours(float(self.places(np.array(score))))

    def bar(self, figure: Figure, mappable: Any, place: SubplotSpec) -> None:
        """Add a bar that explains the colours."""
        bar = figure.colorbar(mappable, cax=figure.add_subplot(place))
        bar.set_label(self.name)
        bar.outline.set_visible(False)


def lost_handle(text: str) -> Line2D:
    """Return what a legend shows for trials that failed or diverged."""
    return Line2D([], [], label=text, **LOST_MARK)


def note(axes: Axes, text: str, *, sign: int = 1) -> None:
    """Write what does not show, in the right corner where scores are worse."""
    if text:
        height, side = (0.04, "bottom") if sign > 0 else (0.96, "top")  # lost trials lie below
        place: dict[str, Any] = {
            "xy": (0.995, height),
            "xycoords": "axes fraction",
            "ha": "right",
            "va": side,
        }
        box: dict[str, Any] = {
            "boxstyle": "round,pad=0.15",
            "facecolor": "1",
            "edgecolor": "none",
            "alpha": 0.85,
        }
        axes.annotate(text, **place, fontsize=6.5, color="0.35", bbox=box, zorder=9)
