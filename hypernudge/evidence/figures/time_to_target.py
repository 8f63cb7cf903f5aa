"""Time to target: what share of the seeds has reached it by when (Kaplan-Meier), and seed against seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.statistics.survival import kaplan_meier_cdf
from hypernudge.evidence.verdicts.comparisons import Comparison
from hypernudge.plotting.layout import begins_row, grid
from hypernudge.plotting.style import Look, file_name, label_ends, legend_above


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One figure per (task, scheduler): a step per seed, misses as a tick at the budget."""
    looks = evaluated.looks()
    for setting in evaluated.featured():
        figure, (axes,) = grid(1, columns=1, height=3.0)
        handles, ends, budget = [], [], 0.0
        for method, variation in setting.variations.items():
            cells, look = evaluated.cells(variation), looks[method]
            time, reached = cells["time"].to_numpy(dtype=np.float64), cells["reached"].to_numpy(dtype=bool)
            budget = max(budget, float(cells["budget"].max()))
            events, share = kaplan_meier_cdf(time, reached)
            x = np.concatenate([[0.0], events, [budget]])
            y = 100 * np.concatenate([[0.0], share, share[-1:] if share.size else [0.0]])
            style = {"color": look.colour, "linestyle": look.dash, "linewidth": look.width}
            axes.step(x, y, where="post", clip_on=False, **style)
            if not reached.all():
                axes.plot([budget], [y[-1]], marker="|", color=look.colour, markersize=9, clip_on=False)
            label = f"{look.label}: {int(reached.sum())} of {len(cells)}"
            handles.append(Line2D([], [], label=label, **style))
            ends.append((float(y[-1]), f"{y[-1]:.0f} %", look.colour))
        missed = Line2D([], [], color="0.3", marker="|", markersize=9, linestyle="", label="misses, censored")
        axes.set_xlim(0, budget)
        # Where few reach it the full range would press all steps onto the axis.
        axes.set_ylim(0, min(102.0, 20.0 * np.ceil((max(y for y, _, _ in ends) + 6.0) / 20.0)))
        axes.set_xlabel(evaluated.study.plan.clock)
        axes.set_ylabel("seeds at the target [%]")
        axes.set_title(f"{setting.title}: {setting.metric} of at least {setting.target:g}")
        legend_above(figure, [*handles, missed])
        figure.draw_without_rendering()
        label_ends(axes, ends)
        yield Drawing(
            file_name("time_to_target", setting.task, setting.scheduler),
            f"share of seeds that reached the target on {setting.title}; further up and left is sooner",
            figure,
        )


def draw_pairs(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One figure per (task, scheduler), one panel per method: the method's time over the baseline's."""
    looks = evaluated.looks()
    for setting in evaluated.featured():
        if not setting.comparisons:
            continue
        figure, panels = grid(len(setting.comparisons), columns=4, height=2.15, sharey=True)
        for axes, (method, comparison) in zip(panels, setting.comparisons.items(), strict=True):
            test = comparison.test
            _scatter(axes, comparison, looks[method], _unit(evaluated))
            ratio = f"ratio {comparison.effects.ratio.estimate:.2f}"
            axes.set_title(f"{method}\n{test.wins} won, {test.losses} lost, {ratio}", fontsize=7.5)
            if begins_row(axes):
                axes.set_ylabel(f"method, time to target {_unit(evaluated)}")
        handles = [
            Line2D(
                [], [], marker=marker, linestyle="", markerfacecolor=face, markeredgecolor="0.2", label=label
            )
            for marker, face, label in (
                ("o", "0.55", "both reached"),
                ("^", "none", "method missed"),
                (">", "none", "baseline missed"),
                ("x", "0.2", "both missed"),
            )
        ]
        handles.append(Line2D([], [], color="0.5", linewidth=0.8, label="equal times"))
        legend_above(figure, handles)
        yield Drawing(
            file_name("paired_time_to_target", setting.task, setting.scheduler),
            f"seed against seed on {setting.title}; below the diagonal the method was sooner",
            figure,
        )


def _unit(evaluated: EvaluatedStudy) -> str:
    """The bracketed unit at the end of the clock's label."""
    clock = evaluated.study.plan.clock
    return clock[clock.rindex("[") :] if "[" in clock else ""


def _scatter(axes: Axes, comparison: Comparison, look: Look, unit: str) -> None:
    frame = comparison.frame
    x, y = (frame[f"{side}.time"].to_numpy(dtype=np.float64) for side in ("baseline", "method"))
    left, right = (frame[f"{side}.reached"].to_numpy(dtype=bool) for side in ("baseline", "method"))
    budget = float(frame["method.budget"].iloc[0])
    limit = 1.12 * budget
    axes.plot([0, limit], [0, limit], color="0.5", linewidth=0.8)
    for chosen, marker, face in (
        (left & right, "o", look.colour),
        (left & ~right, "^", "none"),
        (~left & right, ">", "none"),
    ):
        axes.plot(
            x[chosen],
            y[chosen],
            marker,
            markerfacecolor=face,
            markeredgecolor=look.colour,
            markersize=4.5,
            alpha=0.8,
        )
    neither = int(np.sum(~left & ~right))
    if neither:
        axes.plot([budget], [budget], "x", color=look.colour, markersize=6)
        axes.annotate(
            f"{neither}",
            (budget, budget),
            xytext=(-6, -1),
            textcoords="offset points",
            fontsize=7,
            ha="right",
            color=look.colour,
        )
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit)
    axes.set_aspect("equal")
    axes.set_xlabel(f"baseline, time to target {unit}", fontsize=7.0)
