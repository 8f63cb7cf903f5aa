"""SVG as small as it looks the same: figures share one style sheet, and paths say only where they turn.

Matplotlib writes every style in full at every mark, names every group, and gives absolute coordinates to six
decimals. A page of thirty figures is a third of that size without any of it; a tenth of a point is what is
kept, less than any screen or printer shows at this size. Text stays text: it can be searched, selected and
read aloud.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from hypernudge.evidence.figures.evaluated_study import Drawing
from hypernudge.plotting.style import as_svg

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_LINK = re.compile(r"url\(#([^)]+)\)")
_DROPPED = {f"{_SVG}metadata", f"{_SVG}style"}
_GROUPS = {f"{_SVG}defs", f"{_SVG}g"}
_ARGUMENTS = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}

Point = tuple[int, int]
"""Tenths of a point."""


class Stylesheet:
    """Collects the styles of many figures; equal ones share a class."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def class_of(self, style: str) -> str:
        """Return the class of a style, a new one where it was not seen before."""
        return self._classes.setdefault(style, f"s{len(self._classes)}")

    def css(self) -> str:
        """Return the rules of all classes, after what Matplotlib says of every figure."""
        return "svg *{stroke-linejoin:round;stroke-linecap:butt}\n" + "\n".join(
            f".{name}{{{style}}}" for style, name in self._classes.items()
        )


class Page:
    """The figures of a page, and the style sheet that they share.

    Attributes:
        styles: Must be written into the page.
        figures: Name, one line on what it shows, and the `<svg>` element of each.
    """

    def __init__(self) -> None:
        self.styles = Stylesheet()
        self.figures: list[tuple[str, str, str]] = []

    def add(self, drawing: Drawing) -> None:
        """Append a figure."""
        prefix = f"f{len(self.figures) + 1}"
        svg = compact(as_svg(drawing.figure), self.styles, prefix)
        self.figures.append((drawing.name, drawing.caption, svg))


def compact(svg: str, styles: Stylesheet, prefix: str) -> str:
    """Return a figure as an `<svg>` element for a page.

    Args:
        svg: As Matplotlib writes it, with text as text.
        styles: Of the page; must be written into it.
        prefix: Begins every identifier, so that those of several figures differ.

    Raises:
        xml.etree.ElementTree.ParseError: It is no SVG.
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for key in ("style", _HREF, "d"):
            value = element.attrib.pop(key, None)
            if value is None:
                continue
            if key == "style":
                # Hatches refer to a pattern of their own figure, which no other can share.
                own = "url(#" in value
                name, text = ("style", _style(value)) if own else ("class", styles.class_of(_style(value)))
                element.set(name, text)
            elif key == "d":
                element.set("d", compact_path(value))
            else:
                element.set("href", value)
        for key in ("x", "y", "width", "height", "transform", "viewBox"):
            if key in element.attrib:
                element.set(key, re.sub(r"-?\d+\.\d{2,}", lambda n: _number(n.group()), element.attrib[key]))
    _rename(root, prefix)
    _unwrap(root)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)  # within a page it needs no name space
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text).replace(" />", "/>").strip()


def compact_path(path: str) -> str:
    """Return path data with relative coordinates in tenths, without points at which nothing turns.

    >>> compact_path("M 10 20 L 15.04 20 L 18 20 L 18 26.5 z")
    'M10 20h8v6.5z'

    Args:
        path: Commands M, L, Q, C and z, absolute, separated by blanks.
    """
    parts: list[str] = []
    at: Point = (0, 0)
    run: list[Point] = []

    def flush() -> None:
        nonlocal at
        for target in _turns(at, run):
            parts.append(_line(target[0] - at[0], target[1] - at[1]))
            at = target
        run.clear()

    for command, points in _commands(path):
        if command == "L":
            run.extend(points)
            continue
        flush()
        if command == "M":
            parts.append("M" + _join(points[0]))
        elif command != "Z":
            flat = [value - origin for point in points for value, origin in zip(point, at, strict=True)]
            parts.append(command.lower() + _join(flat))
        else:
            parts.append("z")
        at = points[-1] if points else at
    flush()
    return "".join(parts)


def _commands(path: str) -> Iterator[tuple[str, list[Point]]]:
    words = path.split()
    at = 0
    while at < len(words):
        command = words[at].upper()
        count = _ARGUMENTS[command]
        values = [round(10 * float(word)) for word in words[at + 1 : at + 1 + count]]
        yield command, list(zip(values[::2], values[1::2], strict=True))
        at += 1 + count


def _turns(start: Point, points: list[Point]) -> Iterator[Point]:
    """Where a line of many points turns, and its end; steps along one axis in one direction are one."""
    before, last = start, None
    for point in points:
        if point == (last or before):
            continue
        if last is not None and not _straight(before, last, point):
            yield last
            before = last
        last = point
    if last is not None:
        yield last
    elif points:
        yield points[-1]  # a dot


def _straight(a: Point, b: Point, c: Point) -> bool:
    first, second = (b[0] - a[0], b[1] - a[1]), (c[0] - b[0], c[1] - b[1])
    for axis, other in ((0, 1), (1, 0)):
        if first[other] == second[other] == 0:
            return first[axis] * second[axis] > 0
    return False


def _line(x: int, y: int) -> str:
    if y == 0:
        return "h" + _tenths(x)
    return "v" + _tenths(y) if x == 0 else "l" + _join((x, y))


def _join(values: tuple[int, ...] | list[int]) -> str:
    text = _tenths(values[0])
    for value in values[1:]:
        own = _tenths(value)
        text += own if own.startswith("-") else f" {own}"
    return text


def _tenths(value: int) -> str:
    whole, tenth = divmod(abs(value), 10)
    text = f"{whole}" if tenth == 0 else f"{whole or ''}.{tenth}"
    return f"-{text}" if value < 0 else text


def _number(text: str) -> str:
    return _tenths(round(10 * float(text)))


def _style(style: str) -> str:
    """Rules without blanks; Verdana has the measures of DejaVu Sans, where that is not installed."""
    short = re.sub(r"\s*([:;,])\s*", r"\1", style.strip().rstrip(";"))
    return short.replace("'DejaVu Sans'", "'DejaVu Sans',Verdana,sans-serif")


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Short names for what is referred to, none for anything else."""
    used: dict[str, str] = {}

    def short(name: str) -> str:
        return used.setdefault(name, f"{prefix}-{len(used)}")

    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "href" and value.startswith("#"):
                element.set(key, "#" + short(value[1:]))
            elif "url(#" in value:
                element.set(key, _LINK.sub(lambda found: f"url(#{short(found.group(1))})", value))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", used[name])


def _unwrap(element: ElementTree.Element) -> None:
    """Groups that neither style, move nor clip anything are left out, and what holds nothing too."""
    kept: list[ElementTree.Element] = []
    for child in element:
        _unwrap(child)
        plain = child.tag == f"{_SVG}g" and not child.attrib
        if plain:
            kept.extend(child)
        elif child.tag not in _DROPPED and (len(child) or child.tag not in _GROUPS):
            kept.append(child)
    element[:] = kept
