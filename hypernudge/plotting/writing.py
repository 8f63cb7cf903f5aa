"""Figures as PDF and SVG, as Matplotlib would write them, in one drawing.

Matplotlib draws a figure with a layout engine twice, the first time only so that the engine runs; and of each
font in a PDF it keeps the rules of setting ligatures and other scripts, though every letter has its place.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

_SETTING = ("GSUB", "GPOS", "GDEF")
"""Tables of a font that say how letters are set beside each other."""
_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def laid_out(figure: Figure, canvas: type[FigureCanvasBase]) -> Iterator[None]:
    """Place the panels for one kind of file, and have no layout engine meanwhile.

    Args:
        figure: Has its engine and its canvas again afterwards; the panels stay where they are.
        canvas: What the file is written with: sizes of texts differ between kinds.
    """
    engine, before, dpi = figure.get_layout_engine(), figure.canvas, figure.dpi
    if engine is None:
        yield
        return
    try:
        canvas(figure)
        if figure.axes:
            # As `Figure.draw` does: where there is no room for the panels, they stay where they are.
            with contextlib.suppress(ValueError):
                engine.execute(figure)
        figure.dpi = dpi
        # None stands for what these say.
        with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)
        yield
    finally:
        figure.dpi = dpi
        figure.set_canvas(before)
        figure.set_layout_engine(engine)


@contextlib.contextmanager
def letters_alone() -> Iterator[None]:
    """Have the fonts that are embedded meanwhile hold letters, and not the rules of setting them."""
    from fontTools import subset  # here: who writes SVG needs none of it

    options: Any = subset.Options
    name = "_drop_tables_default"
    with _one_at_a_time:
        before = getattr(options, name, None)
        if before is None:  # another version of fontTools: its fonts are as right, and take longer
            yield
            return
        try:
            setattr(options, name, [*before, *_SETTING])
            yield
        finally:
            setattr(options, name, before)
