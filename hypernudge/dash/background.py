"""What takes long is worked out beside the page, one thing after the other; the page shows what there is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from hypernudge.errors import InvalidArgumentError, one_line

T = TypeVar("T")
logger = logging.getLogger("hypernudge")
_POOL = ThreadPoolExecutor(1, "hypernudge-dash")
_SHARE = 3.0  # what took a second is not begun again for so many


class Background(Generic[T]):
    """Something that is worked out again when what it depends on has changed.

    Attributes:
        value: The latest; None before there is one.
        error: Why there is none, in a line.
        of: What the latest depended on.
    """

    def __init__(self) -> None:
        self.value: T | None = None
        self.error = ""
        self.of: Any = None
        self._future: Future[T] | None = None
        self._wanted: Any = None
        self._begun = threading.Event()
        self._next = 0.0
        self._started = 0.0

    @property
    def busy(self) -> bool:
        """Whether it is being worked out."""
        return self._future is not None

    def ask(self, key: Any, work: Callable[[], T], *, wait: bool = False) -> None:
        """Have `work` done unless its value for this key is there; take in what is finished."""
        if self._future is not None and (wait or self._future.done()):
            self._take()
        if self._future is None and key != self.of and (wait or time.monotonic() >= self._next):
            self._wanted, self._started = key, time.monotonic()
            self._future = _POOL.submit(work)
            if wait:
                self._take()

    def _take(self) -> None:
        assert self._future is not None
        try:
            self.value, self.error = self._future.result(), ""
        except (InvalidArgumentError, OSError) as error:
            self.value, self.error = None, one_line(error)
        except Exception as error:  # the page goes on without it
            logger.exception("dash: a part of the page")
            self.value, self.error = None, f"{type(error).__name__}: {one_line(error)}"
        self.of, self._future = self._wanted, None
        spent = time.monotonic() - self._started
        self._next = time.monotonic() + _SHARE * spent
