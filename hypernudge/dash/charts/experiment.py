"""Charts of an experiment as it stands: ratios with intervals, and best scores over time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hypernudge.dash.charts.chart import OTHER, Chart, numbers, plain, text
from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy, Setting
from hypernudge.evidence.loading.outcomes import incumbent_on_grid

_COLOURS = {"improved": "#0072B2", "harmed": "#D55E00", "equivalent": "#009E73"}
_LINES = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8860B", "#9370DB")
_POINTS = 120
_SETTINGS = 12
_ROWS = 60


def ratios(evaluated: EvaluatedStudy) -> Chart:
    """Return the ratios of times to target of all comparisons that have a pair."""
    title = "Time to target, method over baseline"
    known = [c for c in evaluated.comparisons if c.seeds.size and c.effects.ratio.estimate > 0]
    if not known:
        return Chart("ratios", title, note="no pair is finished yet", height=120)
    shown = known[:_ROWS]
    names: list[str] = []
    points: list[tuple[float, float, float]] = []
    for c in shown:
        names.append(
            f"{text(c.method.task, 18)}, {text(c.method.scheduler, 12)}: {text(c.method.warm_start, 18)}"
        )
        found = c.effects.ratio
        low, high = (end if math.isfinite(end) else found.estimate for end in (found.low, found.high))
        points.append((found.estimate, low, high))
    as_it_stands = [c.verdict.label if not c.missing else "exploratory" for c in shown]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(estimate for estimate, _, _ in points),
        "y": list(range(len(shown))),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": numbers(high - estimate for estimate, _, high in points),
            "arrayminus": numbers(estimate - low for estimate, low, _ in points),
            "thickness": 1.5,
            "color": OTHER,
        },
        "text": [
            f"{name}<br>{ratio:.3g} [{low:.3g}, {high:.3g}], {c.seeds.size} of {c.planned} pairs: {verdict}"
            for name, (ratio, low, high), c, verdict in zip(names, points, shown, as_it_stands, strict=True)
        ],
        "hoverinfo": "text",
        "marker": {"size": 9, "color": [_COLOURS.get(verdict, OTHER) for verdict in as_it_stands]},
        "showlegend": False,
    }
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "ratio of times; below 1 is sooner"}, "type": "log"},
        "yaxis": {
            "tickvals": list(range(len(shown))),
            "ticktext": names,
            "range": [len(shown) - 0.4, -0.6],
            "automargin": True,
        },
        "shapes": [
            {
                "type": "line",
                "x0": 1,
                "x1": 1,
                "y0": -0.6,
                "y1": len(shown) - 0.4,
                "line": {"color": OTHER, "width": 1},
            }
        ],
    }
    note = f"{len(shown)} of {len(known)} comparisons drawn" if len(shown) < len(known) else ""
    return Chart("ratios", title, [trace], layout, note, 110 + 26 * len(shown), wide=True)


def incumbents(evaluated: EvaluatedStudy) -> Iterator[Chart]:
    """Yield the mean best score over time of all variations, a chart for each (task, scheduler)."""
    for place, setting in enumerate(evaluated.settings()):
        if place == _SETTINGS:
            return
        yield _setting(evaluated, setting, place)


def _setting(evaluated: EvaluatedStudy, setting: Setting, place: int) -> Chart:
    traces = []
    methods = [method for method in setting.variations if method != evaluated.baseline]
    late: list[float] = []
    for method, variation in setting.variations.items():
        cells = evaluated.cells(variation)
        budget = float(cells["budget"].max())
        moments = np.linspace(0.0, budget, _POINTS + 1)[1:]
        index = cells.index.to_numpy(dtype=np.int64)
        floor = float(cells["floor"].iloc[0])
        mean = incumbent_on_grid(evaluated.study.incumbents, index, moments, floor).mean(0)
        late += [float(v) for v in mean[moments >= 0.1 * budget]]  # the steep rise would squeeze the rest
        colour = OTHER if method == evaluated.baseline else _LINES[methods.index(method) % len(_LINES)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{text(method, 22)} ({len(cells)})",
                "x": numbers(moments),
                "y": numbers(mean),
                "line": {"color": colour, "width": 3 if method == evaluated.baseline else 1.8},
                "hovertemplate": "%{y:.4f} at %{x:.4g} s",
            }
        )
    low, high = min([*late, setting.target]), max([*late, setting.target])
    margin = 0.06 * (high - low) or 0.01
    layout = {
        "xaxis": {"title": {"text": plain(evaluated.study.plan.clock)}},
        "yaxis": {
            "title": {"text": f"best {text(setting.metric, 20)}, mean over seeds"},
            "range": [low - margin, high + margin],
        },
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": setting.target,
                "y1": setting.target,
                "line": {"color": OTHER, "width": 1, "dash": "dot"},
            }
        ],
    }
    title = f"{text(setting.task, 30)}, {text(setting.scheduler, 20)}"
    note = f"in brackets: cells so far; dotted: the target {setting.target:g}"
    return Chart(f"incumbent_{place}", f"Best score: {title}", traces, layout, note)
