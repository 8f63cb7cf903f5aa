"""Panels leave no place of a figure empty, and labels stand clear of what they label."""

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from hypernudge import Real, SearchSpace
from hypernudge.evidence.figures import bars, sensitivity, time_to_target
from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.gallery import TOPICS
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.plotting import layout, style
from tests.evidence.synthetic import write_study
from tests.study.synthetic import study_of


def rows_of(axes):
    """Axes by the height that they begin at, from the top, and from left to right."""
    placed = sorted(
        (ax for ax in axes), key=lambda ax: (-round(ax.get_position().y1, 3), ax.get_position().x0)
    )
    return [list(row) for _, row in itertools.groupby(placed, lambda ax: round(ax.get_position().y1, 3))]


def fills_its_rows(axes):
    """Whether every row reaches from where the first one begins to where it ends, but for labels."""
    spans = [(row[0].get_position().x0, row[-1].get_position().x1) for row in rows_of(axes)]
    begins, ends = np.array(spans).T
    return all(ax.get_visible() for ax in axes) and np.ptp(begins) < 0.06 and np.ptp(ends) < 0.06


@pytest.mark.parametrize("panels", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("most", [2, 3, 4])
def test_no_place_is_empty(panels, most):
    columns = layout.balanced(panels, most)
    figure = Figure(figsize=(7, 2 * -(-panels // columns)), layout="constrained")
    tiles = layout.tiles(figure, panels, columns, (2.0, 1.0), sharey=True)
    for top, bottom in tiles:
        for axes in (top, bottom):
            axes.set_xlabel("what [unit]")
            if layout.begins_row(axes):
                axes.set_ylabel("how much [unit]")
    figure.draw_without_rendering()
    assert len(tiles) == panels and len(figure.axes) == 2 * panels
    tops = [top for top, _ in tiles]
    rows = rows_of(tops)
    assert [ax for row in rows for ax in row] == tops
    assert max(len(row) for row in rows) - min(len(row) for row in rows) <= 1
    assert len(rows[0]) == columns and fills_its_rows(tops)
    assert [ax for ax in tops if ax.get_ylabel()] == [row[0] for row in rows]
    for row in rows:
        assert np.ptp([ax.get_position().width for ax in row]) < 1e-6


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three methods besides the baseline, three tasks."""
    root = write_study(
        tmp_path_factory.mktemp("three") / "study",
        tasks=("digits_mlp", "digits_cnn", "breast_cancer"),
        methods=("none", "literal", "multi_step", "curvature_band"),
        seeds=range(6),
        budget=40.0,
        target=0.7,
    )
    study = load_study(root)
    return EvaluatedStudy(study, tuple(compare(study)), ())


MANY_PANELS = [
    *(
        topic
        for topic in TOPICS
        if topic.__module__.endswith(("bars", "anytime", "gradients", "rungs", "controls"))
    ),
    *(time_to_target.draw_pairs, sensitivity.draw_targets),
]


@pytest.mark.parametrize("draw", MANY_PANELS, ids=lambda f: f"{f.__module__.rsplit('.', 1)[1]}.{f.__name__}")
def test_figures_of_three_panels_have_no_hole(three, draw):
    with style.context():
        drawing = next(draw(three))
        drawing.figure.draw_without_rendering()
    width, height = drawing.figure.get_size_inches() * drawing.figure.dpi
    for ax in drawing.figure.axes:
        box = ax.get_window_extent()
        assert ax.get_visible() and box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    own = [ax for ax in drawing.figure.axes if ax.get_subplotspec() is not None]
    square = all(ax.get_aspect() != "auto" for ax in own)
    assert square or fills_its_rows(own)


@pytest.mark.parametrize("count", [2, 4, 5, 7])
def test_pictures_of_studies_have_no_hole(count):
    names = ["lr", *(f"share_{index}" for index in range(1, count))]
    space = SearchSpace([Real(name, 1e-3, 1.0, log=name == "lr") for name in names])
    study = study_of(
        space,
        lambda config, unit, rng: 0.5 - abs(config["lr"] - 0.1) / 2 + 0.01 * rng.normal(),
        trials=20,
        nudge=lambda config: {name: min(1.0, 1.5 * value) for name, value in config.items()},
    )
    for figure in (study.plot.slices(), study.plot.shifts()):
        panels = [ax for ax in figure.axes if ax.get_xlabel()]
        assert len(panels) == count and fills_its_rows(panels)


def test_a_value_stands_at_the_end_of_its_bar_and_inside():
    looks = list(style.looks(["a", "b", "c"], "plain").values())
    heights = [0.5, -0.3, 0.0, float("nan")]
    whiskers = [(0.4, 0.7), (-0.6, -0.1), (0.0, 0.0), (float("nan"), float("nan"))]
    for ends in (None, whiskers):
        with style.context():
            figure = Figure(figsize=(4, 2.5), layout="constrained")
            axes = figure.subplots()
            bars.value_bars(axes, heights, looks, lambda value: f"{value:.4f}", ends)
            figure.draw_without_rendering()
            boxes = [text.get_window_extent() for text in axes.texts]
        assert [text.get_text() for text in axes.texts] == ["0.5000", "-0.3000", "0.0000"]
        outer = axes.get_window_extent()
        place = [axes.transData.transform((0, y))[1] for y in (0.5, -0.3)]
        reach = [axes.transData.transform((0, y))[1] for y in (0.7, -0.6)] if ends else place
        assert boxes[0].y0 > reach[0] and boxes[1].y1 < reach[1]
        assert all(outer.y0 <= box.y0 and box.y1 <= outer.y1 for box in boxes)


def test_a_difference_stands_clear_of_its_marker_and_of_no_difference(three):
    with style.context():
        (drawing,) = bars.draw_auc(three)
        drawing.figure.draw_without_rendering()
    lower = [ax for ax in drawing.figure.axes if ax.get_ylabel().startswith("difference")]
    assert len(lower) == 3
    for ax in lower:
        marks = [line for line in ax.lines if line.get_marker() not in ("None", None)]
        assert len(marks) == len(ax.texts) == 3
        for line, text in zip(marks, ax.texts, strict=True):
            x, y = ax.transData.transform((line.get_xdata()[0], line.get_ydata()[0]))
            half = line.get_markersize() / 2 * drawing.figure.dpi / 72
            box, outer = text.get_window_extent(), ax.get_window_extent()
            assert box.y1 < y - half or box.y0 > y + half
            assert outer.y0 <= box.y0 and box.y1 <= outer.y1 and box.x0 < x < box.x1


def test_panels_that_share_an_axis_show_the_highest_bar(three):
    cells = three.study.cells.copy()
    first = cells["run_id"].str.startswith("digits_mlp") & (cells["warm_start_flops"] > 0)
    cells.loc[first, "warm_start_flops"] = 0.4 * cells.loc[first, "total_flops"]
    costly = dataclasses.replace(three, study=dataclasses.replace(three.study, cells=cells))
    with style.context():
        (drawing,) = bars.draw_overhead(costly)
        drawing.figure.draw_without_rendering()
    outer = drawing.figure.axes[0].get_window_extent()
    texts = [text for ax in drawing.figure.axes for text in ax.texts]
    assert [text.get_text() for text in texts].count("40.00") == 3
    assert all(text.get_window_extent().y1 <= outer.y1 for text in drawing.figure.axes[0].texts)
