"""How often files are synced, so that waiting for the disk stays a small share of the time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

SHARE = 400
"""A sync that took a second is followed by no other for so many: a quarter of a percent of the time."""


class SyncPace:
    """Says when the next sync is due. What a power cut could lose is bounded by it; a kill loses nothing."""

    def __init__(self) -> None:
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it may be made now."""
        return time.perf_counter() >= self._next

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Measure the sync that is made while entered."""
        begun = time.perf_counter()
        yield
        ended = time.perf_counter()
        self._next = ended + SHARE * (ended - begun)
