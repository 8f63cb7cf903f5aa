"""Shared look of the figures: readable in grey, no colliding labels, PDFs equal byte for byte.

Nothing is configured at import: `context()` sets Matplotlib's parameters for as long as it is entered.
Figures are made without pyplot, so no global list of figures and no window system is involved.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogFormatterMathtext
from numpy.typing import NDArray

from hypernudge.plotting.writing import laid_out, letters_alone
from hypernudge.results.files import replacing

WIDTH = 7.0
"""Width of a figure, inches: the text width of a two-column page."""

_PARAMETERS: dict[str, Any] = {
    "font.size": 8.0,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    # The typographic minus would need a second font subset in almost every file.
    "axes.unicode_minus": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "lines.linewidth": 1.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "hypernudge",
    # Text stays text: a third of the size, and it can be searched and read aloud.
    "svg.fonttype": "none",
    "figure.dpi": 100,
    # Labels are other people's text: a dollar sign in one is no formula.
    "text.parse_math": False,
}

# Okabe and Ito's colours, ordered so that neighbours also differ in lightness.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F", "#5B3A8C")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (1.2, 1)), (0, (6, 1, 1.2, 1)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
# Lines only: dots are circles, and a hundred kilobytes in every file.
_HATCHES = ("", "////", "----", "xxxx", "\\\\\\\\", "++++", "||||", "//")


# What XML cannot hold, control characters, and marks that turn the direction of reading.
_NO_XML = re.compile("[^\t\n\r -~\u00a0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPACES = re.compile(r"(?<=>)[^<]*  [^<]*(?=</text>)")


@dataclass(frozen=True)
class Look:
    """How one method is drawn, everywhere alike.

    Attributes:
        label: Text for legends.
        colour: Line and face colour.
        dash: Line style.
        marker: Marker.
        hatch: Hatch of bars.
        width: Line width, points.
    """

    label: str
    colour: str
    dash: Any
    marker: str
    hatch: str
    width: float = 1.3


def looks(methods: Sequence[str], baseline: str) -> dict[str, Look]:
    """A look for the baseline and each method, by order of appearance.

    The baseline is a wide grey line that methods are drawn upon, so that coinciding lines can both be seen.
    """
    result = {baseline: Look(f"{baseline} (baseline)", "0.6", "-", "o", "", 3.4)}
    for index, method in enumerate(m for m in dict.fromkeys(methods) if m != baseline):
        result[method] = Look(
            method,
            _COLOURS[index % len(_COLOURS)],
            _DASHES[index % len(_DASHES)],
            _MARKERS[(index + 1) % len(_MARKERS)],
            _HATCHES[(index + 1) % len(_HATCHES)],
        )
    return result


@contextmanager
def context() -> Iterator[None]:
    """Matplotlib's defaults plus the parameters above, whatever the user has configured; then restored."""
    with mpl.rc_context(), warnings.catch_warnings():
        # Letters that the font lacks are boxes; saying so once for every figure helps nobody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, _PARAMETERS))
        yield


def end_at_one(axes: Axes, highest: float) -> None:
    """Label nothing beyond 1 where nothing is: an accuracy cannot get there. Limits must be final."""
    if highest <= 1:
        low, high = axes.get_ylim()
        axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 1 + 1e-9)])


def legend_above(figure: Figure, handles: Sequence[Any]) -> None:
    """One legend for all panels, above them, in as many columns as the width of the figure allows."""
    room = 72 * figure.get_figwidth() - 12
    lengths = [len(str(handle.get_label())) for handle in handles]
    columns = 1
    for candidate in range(2, len(handles) + 1):
        # Matplotlib fills column by column, the first ones with the remainder.
        longest = [max(column) for column in np.array_split(lengths, candidate)]
        # A letter is about 4.5 points wide at this size; handle, its gap and the column gap come to 42.
        if sum(4.5 * length + 42 for length in longest) <= room:
            columns = candidate
    figure.legend(handles=list(handles), loc="outside upper center", ncols=columns)


_LONGEST_NAME = 120
"""File systems allow 255 bytes, of which a suffix and what makes a temporary take some."""


def file_name(topic: str, *conditions: str) -> str:
    """`<topic>[_<condition>...]`, safe as a file name, without suffix; a long one ends in a digest."""
    parts = [topic, *(re.sub(r"[^A-Za-z0-9]+", "_", condition).strip("_") for condition in conditions)]
    name = "_".join(part for part in parts if part)
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256("\0".join((topic, *conditions)).encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9]}_{digest}"


class _PlainLogFormatter(LogFormatter):
    """Matplotlib's choice of which ticks have a label, in figures: its own labels are formulas."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def without_formulas(figure: Figure) -> None:
    """Label the ticks of logarithmic axes with plain numbers; to be called before a figure is written."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for get, put in (
                (axis.get_major_formatter, axis.set_major_formatter),
                (axis.get_minor_formatter, axis.set_minor_formatter),
            ):
                formatter = get()
                if isinstance(formatter, LogFormatterMathtext):
                    put(_PlainLogFormatter(minor_thresholds=formatter.minor_thresholds))


def save(figure: Figure, path: Path) -> None:
    """Write a PDF without a date, so that equal results give equal files."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    without_formulas(figure)
    metadata = {"CreationDate": None, "Creator": "hypernudge", "Producer": None}
    with laid_out(figure, FigureCanvasPdf), letters_alone(), replacing(path) as file:
        figure.savefig(file, format="pdf", metadata=metadata)


def as_svg(figure: Figure) -> str:
    """Return an SVG without a date: equal studies, equal text."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    without_formulas(figure)
    buffer = io.StringIO()
    with laid_out(figure, FigureCanvasSVG):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = _NO_XML.sub("\ufffd", buffer.getvalue())  # a label may hold what no XML file can
    # A browser shows one of several spaces, and columns of a label would not align.
    return _SPACES.sub(lambda found: found[0].replace("  ", "\u00a0 "), text)


def spread_apart(
    positions: NDArray[np.float64], gap: float, low: float = -np.inf, high: float = np.inf
) -> NDArray[np.float64]:
    """Move labels apart to at least `gap`, keeping their order, close to where they belong and within limits.

    Args:
        positions: shape (n,), wanted positions.
        gap: Smallest distance between neighbours.
        low: Lower limit.
        high: Upper limit; with more labels than room, the upper limit gives way.

    Returns:
        shape (n,), in the order given.
    """
    positions = np.asarray(positions, dtype=np.float64)
    order = np.argsort(positions, kind="stable")
    # Blocks of touching labels, each centred on the mean of what its members wanted.
    blocks: list[list[float]] = []
    for wanted in positions[order]:
        blocks.append([wanted, 1.0])
        while len(blocks) > 1:
            (left, n), (right, m) = blocks[-2], blocks[-1]
            if left + gap * (n - 1) / 2 + gap <= right - gap * (m - 1) / 2:
                break
            blocks[-2:] = [[(left * n + right * m) / (n + m), n + m]]
    placed = (
        np.concatenate([c + gap * (np.arange(n) - (n - 1) / 2) for c, n in blocks]) if blocks else positions
    )
    if placed.size:
        placed = np.minimum(placed, high - gap * np.arange(placed.size)[::-1])
        placed = np.maximum(placed, low + gap * np.arange(placed.size))
    result = np.empty_like(placed)
    result[order] = placed
    return result


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], size: float = 7.0) -> None:
    """Write the final value of each line to the right of the axes, moved apart where they would collide.

    Args:
        axes: Limits, scale and layout must be final.
        ends: (y, text, colour) per line.
        size: Font size, points.
    """
    if not ends:
        return
    figure = axes.get_figure(root=True)
    height = axes.get_position().height * (72 * figure.get_size_inches()[1] if figure is not None else 72.0)
    points = axes.transData.transform([(axes.get_xlim()[1], y) for y, _, _ in ends])
    heights = axes.transAxes.inverted().transform(points)[:, 1]
    places = spread_apart(heights, 1.2 * size / max(height, 1.0), 0.0, 1.0)
    for (_, text, colour), start, place in zip(ends, heights, places, strict=True):
        axes.annotate(
            text,
            xy=(1.0, start),
            xytext=(1.04, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=size,
            color="0.35" if colour == "0.6" else colour,
            va="center",
            annotation_clip=False,
            # The leader ends at the left edge of the text, so that it never crosses a neighbour.
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
