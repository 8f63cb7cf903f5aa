"""A picture that a user asks for: checked first, drawn in our look, shown in notebooks, written to a file."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from matplotlib.figure import Figure

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.plotting.style import as_svg, context, save, without_formulas
from hypernudge.results.files import replacing, write_text
from hypernudge.results.printable import printable

SUFFIXES = (".pdf", ".svg", ".png")
LONGEST_LABEL = 28
"""Letters of a name that a label has room for."""
MANY = 2000
"""Lines or points from which they are drawn as pixels in PDF and SVG: as vectors they would be megabytes."""
_DPI = 160


class Picture(Figure):
    """A Matplotlib figure that keeps its look wherever it is shown or saved."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as `Figure.savefig` does, in the look that it was drawn in."""
        without_formulas(self)
        with context():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows; Matplotlib itself shows figures of pyplot alone."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_DPI)
        return buffer.getvalue()


def check_path(path: object) -> Path | None:
    """Return where a picture is to be written; None for nowhere.

    Raises:
        InvalidArgumentError: If it is no file name of a known format, or its folder is not there.
    """
    if path is None:
        return None
    remedy = "name a file such as 'study.pdf'"
    given = isinstance(path, str | Path) and "\0" not in str(path)
    require(given, "path", "must be the path of a file", path, remedy)
    target = Path(cast("str | Path", path))
    listed = ", ".join(SUFFIXES)
    require(target.suffix.lower() in SUFFIXES, "path", f"must end in one of {listed}", str(target), remedy)
    folder = "must lie in a folder that is there"
    require(target.parent.is_dir(), "path", folder, str(target), f"make {target.parent} first")
    require(not target.is_dir(), "path", "must be the path of a file", str(target), remedy)
    return target


def picture(draw: Callable[..., Picture]) -> Callable[..., Picture]:
    """Make `draw(subject, ...)` take `path=`, check it before any work, and draw in our look."""

    @functools.wraps(draw)
    def drawn(subject: Any, /, *args: Any, path: str | Path | None = None, **options: Any) -> Picture:
        target = check_path(path)
        with context():
            made = draw(subject, *args, **options)
            made.draw_without_rendering()  # ticks are made here, with their labels taken as they are
            if target is not None:
                write(made, target)
        return made

    return drawn


def write(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its suffix, without a date: equal studies, equal files.

    Raises:
        InvalidArgumentError: For another suffix.
        OSError: If it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        save(figure, path)
    elif suffix == ".svg":
        write_text(path, as_svg(figure))
    elif suffix == ".png":
        with replacing(path) as file:
            figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    else:
        raise InvalidArgumentError(f"path: must end in one of {', '.join(SUFFIXES)}, but got {path.name!r}")


def label(text: object, most: int = LONGEST_LABEL) -> str:
    """Return a name for a label: on one line, visible, and not too long."""
    shown = printable(" ".join(str(text).split()))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def number(value: float) -> str:
    """Return a number for a label: short, `1e-4` rather than `0.0001`."""
    text = f"{value:.4g}"
    if 0 < abs(value) < 1e-3 or abs(value) >= 1e5:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    return text
