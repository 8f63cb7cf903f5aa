"""Whether two files show the same figure."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

_NUMBER = re.compile(rb"-?\d+\.?\d*(?:e-?\d+)?")
_NAMED = re.compile(rb'(?:(?<=id=")|(?<=#))[\w]*[0-9a-f]{10}|<metadata>.*?</metadata>', re.DOTALL)
"""What differs between versions of Matplotlib: names that are digests, and who made it."""
_STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
TOLERANCE = 0.01
"""Of a number in a figure, points."""


def same(one: Path, other: Path) -> bool:
    """Whether texts are equal, and numbers up to `TOLERANCE`."""
    first, second = (_content(path) for path in (one, other))
    if first == second:
        return True
    if _NUMBER.sub(b"", first) != _NUMBER.sub(b"", second):
        return False
    pairs = zip(_NUMBER.findall(first), _NUMBER.findall(second), strict=True)
    return all(math.isclose(float(a), float(b), abs_tol=TOLERANCE) for a, b in pairs)


def _content(path: Path) -> bytes:
    """Return what a figure shows: of a PDF its page, for the rest is about fonts and files."""
    data = path.read_bytes()
    if path.suffix == ".pdf":
        found = _STREAM.search(data)
        return zlib.decompress(found[1]) if found else data
    return _NAMED.sub(b"", data)
