"""Which hyper-parameters matter, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypernudge.plotting.picture import Picture, label, picture
from hypernudge.plotting.style import WIDTH
from hypernudge.study.analysis.importance import Importance, Method
from hypernudge.study.plots.scores import require_trials
from hypernudge.study.plots.titles import title
from hypernudge.study.study import Study

_BAR = "#56B4E9"
_NAMES = {"fanova": "functional ANOVA: each alone", "permutation": "permutation: alone and with others"}


@picture
def draw(study: Study, method: Method = "fanova", unit: int | None = None, seed: int = 0) -> Picture:
    """Draw it; see `Plots.importance`."""
    require_trials(study, "importance")
    found = study.importance(method, unit, seed)
    places = np.arange(len(found.names))
    share, low, high = (100 * np.array(column) for column in (found.share, found.low, found.high))
    figure = Picture(figsize=(WIDTH, 1.35 + 0.27 * len(places)), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, share, height=0.62, color=_BAR, zorder=2)
    error = np.clip([share - low, high - share], 0, None)
    axes.errorbar(share, places, xerr=error, fmt="none", ecolor="0.15", elinewidth=1.0, capsize=2.5, zorder=3)
    for place, mean, below, above in zip(places, share, low, high, strict=True):
        text = f"{mean:.0f} [{below:.0f}, {above:.0f}]"
        where: dict[str, Any] = {
            "xytext": (5, 0),
            "textcoords": "offset points",
            "va": "center",
            "fontsize": 7.0,
        }
        axes.annotate(text, (max(above, mean), place), **where)
    axes.set_yticks(places, labels=[label(name) for name in found.names])
    axes.set_ylim(len(places) - 0.45, -0.55)
    axes.set_xlim(0, max(float(max(high.max(), share.max())) * 1.18, 5.0))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of the variance of the scores' ranks [%], with 95 % of the draws")
    axes.set_title("\n".join([title(study), *_said(found)]), loc="left", fontsize=7.2, linespacing=1.3)
    return figure


def _said(found: Importance) -> list[str]:
    lost = f", {found.lost} of them lost: ranked last" if found.lost else ""
    lines = [
        f"{_NAMES[found.method]}; scores after unit {found.unit} of {found.trials} trials{lost}",
        f"the forest explains {max(found.explained, 0):.0%} of trials it has not seen; "
        f"{label(found.names[0])} is first in {found.first[0]:.0%} of the draws",
    ]
    return [*lines, *([found.warning] if found.warning else [])]
