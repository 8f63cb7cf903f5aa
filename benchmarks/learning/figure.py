"""The curves of the results, a panel for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hypernudge.plotting import style
from hypernudge.results.files import write_text

Row = dict[str, Any]
TRAINED: dict[str, Any] = {"color": "#E69F00", "linestyle": (0, (5, 1.2))}
SCORED: dict[str, Any] = {"color": "#0072B2", "linestyle": "-"}
LIMIT: dict[str, Any] = {"color": "0.35", "linestyle": (0, (1.2, 1))}


class Line(NamedTuple):
    """A line of a panel: its label and the value of a row, None where there is none."""

    label: str
    value: Callable[[Row], float | None]
    look: dict[str, Any]


class Panel(NamedTuple):
    """How a benchmark is drawn.

    `goal` returns the label and height of the line to be reached, if any; `above` is how far above its point
    the last score is written, points.
    """

    title: str
    across: str
    along: str
    lines: Sequence[Line]
    goal: Callable[[dict[str, Any]], tuple[str, float] | None]
    above: float = -9


def _percent(key: str) -> Callable[[Row], float | None]:
    return lambda row: None if row.get(key) is None else 100 * row[key]


def _loss(key: str) -> Callable[[Row], float | None]:
    return lambda row: None if row.get(key) is None else abs(row[key])


def _perplexity(key: str) -> Callable[[Row], float | None]:
    return lambda row: None if row.get(key) is None else math.exp(abs(row[key]))


PANELS = {
    "resnet20": Panel(
        "ResNet-20, CIFAR-10",
        "epoch",
        "accuracy [%]",
        (
            Line("training", _percent("train_accuracy"), TRAINED),
            Line("test", _percent("test"), SCORED),
        ),
        lambda result: ("paper, 164 epochs", 91.25),
    ),
    "tiny_shakespeare": Panel(
        "characters, Tiny Shakespeare",
        "step",
        "loss [nats per character]",
        (Line("training", _loss("train_loss"), TRAINED), Line("validation", _loss("validation"), SCORED)),
        lambda result: ("nanoGPT", result["published"]),
    ),
    "wikitext2": Panel(
        "words, WikiText-2",
        "epoch",
        "perplexity",
        (
            Line("training", _perplexity("train_loss"), TRAINED),
            Line("held-out tenth", _perplexity("validation"), SCORED),
        ),
        lambda result: ("3-gram, test", min(result["kneser_ney"].values())),
        4,
    ),
}


def draw(results: Sequence[dict[str, Any]]) -> Figure:
    """Return the figure of results with curves, in the order they are given."""
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 2.4), layout="constrained")
        for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
            _draw(axes, PANELS[result["benchmark"]], result)
    return figure


def _draw(axes: Axes, panel: Panel, result: dict[str, Any]) -> None:
    for line in panel.lines:
        points = [
            (row["steps"] if panel.across == "step" else row["unit"], height)
            for row in result["curve"]
            if (height := line.value(row)) is not None
        ]
        if not points:
            continue
        axes.plot(*zip(*points, strict=True), label=line.label, **line.look)
        if line.look is SCORED:
            x, y = points[-1]
            axes.annotate(
                f"{y:.3g}" if y < 10 else f"{y:.1f}",
                (x, y),
                textcoords="offset points",
                xytext=(-2, panel.above),
                ha="right",
            )
    goal = panel.goal(result)
    if goal is not None:
        axes.axhline(goal[1], label=f"{goal[0]}: {goal[1]:.4g}", linewidth=1.0, **LIMIT)
    if "perplexity" in result:  # the test part is scored once
        axes.plot(
            [result["chosen_unit"]],
            [result["perplexity"]],
            "o",
            color="#009E73",
            label=f"test: {result['perplexity']:.1f}",
        )
        axes.set_yscale("log")
    axes.set_title(panel.title)
    axes.set_xlabel(panel.across)
    axes.set_ylabel(panel.along)
    axes.legend()


def write(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the figure as the suffix says, `.svg` or `.pdf`; equal results give equal bytes."""
    with style.context():
        figure = draw(results)
        if path.suffix == ".svg":
            write_text(path, style.as_svg(figure))
        else:
            style.save(figure, path)
