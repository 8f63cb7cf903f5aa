"""What a picture is of."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hypernudge.plotting.picture import label
from hypernudge.results.printable import counted
from hypernudge.study.study import Study

_LETTER = 5.0  # points that a letter of a title takes
_MARGIN = 60.0  # points beside the axes


def title(study: Study, *more: str) -> str:
    """Return task, scheduler, warm start, seed, the number of trials, and more, in one line."""
    about = study.about
    start = "" if about.warm_start in ("", "none") else f"warm start {label(about.warm_start)}"
    parts = [label(about.task), label(about.scheduler), start, f"seed {study.seed}"]
    return ", ".join([*(part for part in parts if part), counted(len(study.trials), "trial"), *more])


def set_title(figure: Figure, axes: Axes, text: str) -> None:
    """Write a title above the first axes of a figure, in as many lines as its width needs."""
    letters = int((72 * figure.get_figwidth() - _MARGIN) / _LETTER)
    axes.set_title("\n".join(textwrap.wrap(text, letters)), loc="left")
