"""Hyper-parameter shift: distributions of sampled, nudged and winning values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.verdicts.shift import Shift, hyperparameter_shifts
from hypernudge.plotting.style import WIDTH, file_name

_LINES: tuple[tuple[str, str, Any, float], ...] = (
    ("sampled", "0.55", "-", 2.2),
    ("nudged", "#0072B2", (0, (4, 1)), 1.3),
    ("winner", "#D55E00", "-", 1.0),
)

_POINTS = 40


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One figure per (task, scheduler): a row per method, a column per hyper-parameter, cumulative shares."""
    for setting in evaluated.featured():
        rows = {m: hyperparameter_shifts(evaluated.trials(v)) for m, v in setting.variations.items()}
        names = list(dict.fromkeys(shift.name for shifts in rows.values() for shift in shifts))
        if not names:
            continue
        # Panels are alike, so fixed margins do; solving a layout for each of them takes as long as drawing.
        height = 1.2 * len(rows) + 0.8
        figure = Figure(figsize=(WIDTH, height))
        figure.subplots_adjust(
            left=0.085, right=0.985, bottom=0.4 / height, top=1 - 0.62 / height, wspace=0.16, hspace=0.5
        )
        axes = figure.subplots(len(rows), len(names), squeeze=False, sharey=True, sharex="col")
        for row, (method, shifts) in enumerate(rows.items()):
            found = {shift.name: shift for shift in shifts}
            for column, name in enumerate(names):
                panel = axes[row, column]
                if name in found:
                    _panel(panel, found[name])
                if column == 0:
                    panel.set_ylabel(f"{method}\nshare [%]", fontsize=7.0)
                if row == len(rows) - 1:
                    logs = any(s.log_scale for own in rows.values() for s in own if s.name == name)
                    panel.set_xlabel(f"{'log10 ' if logs else ''}{name} [-]", fontsize=6.6)
        handles = [
            Line2D([], [], color=c, linestyle=d, linewidth=w, label=label) for label, c, d, w in _LINES
        ]
        figure.legend(handles=handles, loc="upper center", ncols=3)
        yield Drawing(
            file_name("hyperparameter_shift", setting.task, setting.scheduler),
            f"sampled, nudged and winning values on {setting.title}; panel titles: nudged | winner",
            figure,
        )


def _panel(axes: Axes, shift: Shift) -> None:
    for name, colour, dash, width in _LINES:
        values = np.sort(getattr(shift, name))
        if values.size == 0:
            continue
        share = 100 * np.arange(1, values.size + 1) / values.size
        if values.size > _POINTS:
            # So many points draw the same curve, in a panel an inch wide, and keep the file small.
            chosen = np.unique(np.linspace(0, values.size - 1, _POINTS).astype(int))
            values, share = values[chosen], share[chosen]
        axes.step(values, share, where="post", color=colour, linestyle=dash, linewidth=width)
    axes.set_ylim(0, 100)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=6.3)
    axes.set_title(
        f"shift {_number(shift.nudged_shift)} | {_number(shift.winner_shift)}\n"
        f"KL {shift.nudged_kl:.2f} | {shift.winner_kl:.2f}",
        fontsize=6.2,
        linespacing=1.15,
        pad=2.5,
    )


def _number(value: float) -> str:
    text = f"{value:+.2g}" if abs(value) >= 0.005 else "0"
    return text if np.isfinite(value) else "-"
