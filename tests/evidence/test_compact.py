"""Small SVG looks like the large one: the same lines, the same text, every reference resolved."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from hypernudge.evidence.report.compact import Stylesheet, compact, compact_path
from hypernudge.plotting.style import as_svg, context

STEPS = {"h": (1, 0), "v": (0, 1)}


def absolute(path):
    """The way back: from relative path data to the points it visits, in tenths; of curves the last one."""
    at, points = np.zeros(2), []
    for command, text in re.findall(r"([MhvlcqzZ])([^MhvlcqzZ]*)", path):
        values = [round(10 * float(n)) for n in re.findall(r"-?\d*\.?\d+", text)]
        if command in STEPS:
            at = at + np.array(STEPS[command]) * values[0]
        elif command == "M":
            at = np.array(values, dtype=float)
        elif command != "z":
            at = at + np.array(values[-2:])
        points.append(tuple(at))
    return points


@pytest.mark.parametrize("seed", range(20))
def test_lines_visit_the_same_points(seed):
    rng = np.random.default_rng(seed)
    steps = rng.integers(-3, 4, (40, 2)) * (rng.random((40, 2)) < 0.6) / 10
    points = 50 + np.cumsum(steps, axis=0) + rng.uniform(-0.04, 0.04, (40, 2))
    path = "M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    wanted = [tuple(point) for point in np.rint(10 * points)]
    found = absolute(compact_path(path))
    assert (found[0], found[-1]) == (wanted[0], wanted[-1])
    # Each point left out lies on the way between two that were kept, in order.
    segment = 0
    for point in wanted:
        while not on_the_way(found, segment, point):
            segment += 1
    assert len(found) < len(wanted)


def on_the_way(found, segment, point):
    a, b = np.array(found[segment]), np.array(found[min(segment + 1, len(found) - 1)])
    low, high = np.minimum(a, b), np.maximum(a, b)
    cross = (b - a)[0] * (point - a)[1] - (b - a)[1] * (point - a)[0]
    return cross == 0 and np.all(low <= point) and np.all(point <= high)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("M 10 20 L 15.04 20 L 18 20 L 18 26.5 z", "M10 20h8v6.5z"),
        ("M 0 0 L 5 0 L 3 0", "M0 0h5h-2"),  # back again is a turn
        ("M 0 0 L 0 0", "M0 0h0"),  # a dot stays one
        ("M 0 0 C 1 2 3 4 5 6 L 5.5 6 Q 1 1 0 0", "M0 0c1 2 3 4 5 6h.5q-4.5-5-5.5-6"),
        ("M 1 1 L 2 2 z M 5 5 L 5 4", "M1 1l1 1zM5 5v-1"),
    ],
)
def test_paths(path, expected):
    assert compact_path(path) == expected


def test_figures_of_a_page_share_styles_and_keep_text_and_references():
    sizes, pages, styles = [], [], Stylesheet()
    for name in ("a", "b"):
        with context():
            figure = Figure(figsize=(4, 3))
            axes = figure.subplots()
            axes.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, "o-", label=f"<{name}> & more")
            axes.bar([0.5], [0.5], hatch="//")
            axes.legend()
            svg = as_svg(figure)
        sizes.append(len(svg))
        pages.append(compact(svg, styles, name))
        found = ElementTree.fromstring(pages[-1])
        told = [
            "".join(text.itertext())
            for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert ["".join(text.itertext()) for text in found.iter("text")] == told
        assert f"<{name}> & more" in told
        ids = [element.get("id") for element in found.iter() if element.get("id")]
        asked = re.findall(r'(?:href="#|url\(#)([^")]+)', pages[-1])
        assert set(ids) == set(asked)
        before = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', svg))
        assert len(ids) == len(before) >= 4  # clipping, markers, ticks and the hatch
        assert "fill:url(#" in pages[-1]
        assert len(set(ids)) == len(ids)
        assert all(name.startswith(f"{ids[0][0]}-") for name in ids)
        used = set(re.findall(r'class="(\w+)"', pages[-1]))
        assert all(f".{name}{{" in styles.css() for name in used)
    assert sum(map(len, pages)) + len(styles.css()) < 0.5 * sum(sizes)
    assert pages[0].replace("a-", "b-").replace("&lt;a", "&lt;b") == pages[1]
