"""What goes on beside a study while it runs: its file, best weights, callbacks, progress, a time limit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from hypernudge.engine.scored import Scored
from hypernudge.study.best import BestUnit
from hypernudge.study.events import signed
from hypernudge.study.progress import Progress
from hypernudge.study.store import Store
from hypernudge.study.study import Study
from hypernudge.trial import Event, Report

StudyCallback = Callable[[Study, Report], object]


class StoppedError(Exception):
    """Ends a study that can go on: its time is up, or a callback wanted it to stop."""


@runtime_checkable
class ShowsScores(Protocol):
    """What an engine offers whose units can be looked at as they are scored."""

    def look(
        self,
        *,
        score_test: bool,
        scored: Callable[[Scored], None] | None,
        sign: int = 1,
        keep: Sequence[str] = (),
    ) -> None:
        """Say whether the test part is scored with every unit, and who is told of each that may be the best.

        Scores times `sign` are larger-is-better; `scored` may ask for what `keep` names, weights or test.
        """
        ...


@runtime_checkable
class WaitsOnDisk(Protocol):
    """What an engine offers that moves states of trials that wait out of memory."""

    def wait_in(self, folder: Path) -> None:
        """Have them lie in a folder."""
        ...


@runtime_checkable
class KeptOnDisk(Protocol):
    """What a task or an engine offers whose trials can lie in a folder: they go on from there after a kill.

    With an engine of several workers every attempt at a trial has a folder of its own, with links to the
    files of the one before: files must be replaced, not changed in place.
    """

    def kept_in(self, folder: Path) -> contextlib.AbstractContextManager[bool]:
        """Keep trials there while entered; whether they are, for the task may have a folder already."""
        ...


@runtime_checkable
class RemovesTrials(Protocol):
    """What an engine offers that may keep trials in a folder that is not the study's."""

    def remove_trials(self) -> None:
        """Remove those of a study that is done."""
        ...


class Session:
    """A study that runs.

    Args:
        study: It; its history is the one that grows.
        store: Its folder, open; None where it is not kept.
        best: Keeps the best weights; None where they are not wanted.
        callbacks: Called with the study and each report.
        progress: Shows it; None for nothing.
        timeout: Seconds of the wall after which nothing more is asked for.
    """

    def __init__(
        self,
        study: Study,
        store: Store | None = None,
        best: BestUnit | None = None,
        callbacks: Sequence[StudyCallback] = (),
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> None:
        self.study, self._store, self._best = study, store, best
        self._callbacks, self._progress = callbacks, progress
        self._until = None if timeout is None else time.monotonic() + timeout
        self._sign = study.about.sign

    def note(self, event: Event) -> None:
        """Take in an event that has just entered the history.

        The weights of a new best are on disk before its report is in the file, those of the one before until
        after: whenever it is killed, the best that the file knows has its weights.
        """
        report = event if isinstance(event, Report) else None
        if self._store is not None and report is not None:
            self._store.check_place()
        if report is not None and self._best is not None:
            self._best.reported(report)
        if self._store is not None:
            self._store.append(event)
        if report is not None and self._best is not None:
            self._best.prune()
        if self._progress is not None:
            self._progress.update(event)
        if report is not None:
            for callback in self._callbacks:
                callback(self.study, signed(report, self._sign))

    def check(self) -> None:
        """Raise `StoppedError` if nothing more should be asked for."""
        if self.study.stopping or (self._until is not None and time.monotonic() >= self._until):
            raise StoppedError

    def end(self, reason: str | None) -> None:
        """Note that the study is over, and why; None if it was stopped and can go on."""
        self.study.ended = reason
        if reason is not None:
            if self._best is not None:
                self._best.end()
            if self._store is not None:
                self._store.end(reason)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.end()
