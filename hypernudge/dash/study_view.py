"""The page of one study: kept by `tune`, a running cell, or a sealed record."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hypernudge.dash.background import Background
from hypernudge.dash.board import Board, Cell, Kind
from hypernudge.dash.charts import importance, incumbent, learning_curves, parallel_coordinates, timeline
from hypernudge.dash.charts.chart import Chart
from hypernudge.dash.following import StudyFollower
from hypernudge.errors import InvalidArgumentError, one_line
from hypernudge.results.files import is_held
from hypernudge.results.printable import counted, printable
from hypernudge.study.analysis.importance import Importance
from hypernudge.study.analysis.importance import importance as importance_of
from hypernudge.study.display import facts, status, title
from hypernudge.study.results import TrialResult
from hypernudge.study.store import LOCK
from hypernudge.study.study import Study
from hypernudge.trial import History

CHARTS: tuple[tuple[str, str, Callable[[Study], Chart]], ...] = (
    ("incumbent", "Best score so far", incumbent.chart),
    ("learning_curves", "Learning curves", learning_curves.chart),
    ("parallel_coordinates", "Values of the best", parallel_coordinates.chart),
    ("timeline", "Workers", timeline.chart),
)
_SCORE = 2  # its column
_EVERY = 0.7  # seconds between two looks
_SHARE = 2.0  # what took a second to draw is not drawn again for so many
_LOOKS_AT_LOCK = 5.0  # seconds: looking takes it for a moment
_GREW = 1.2  # times as many trials, from which importance is worked out again


class Follows(Protocol):
    """What reads a study as it grows."""

    study: Study | None

    def update(self) -> bool:
        """Read what is new; return whether there was anything."""
        ...


class RecordReader:
    """Reads the sealed record of a cell.

    Args:
        path: `RUN_ID/cells/seed-NNNN.json`.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stamp = path, (0, 0)
        self.study: Study | None = None

    def update(self) -> bool:
        """Read it, if it is not what was read."""
        found = self._path.stat()
        stamp = found.st_mtime_ns, found.st_size
        if stamp == self._stamp:
            return False
        self.study = Study.open(self._path)
        self._stamp = stamp
        return True


class CellReader:
    """Reads the study of a running cell, and its record once it is sealed.

    Args:
        record: Where the record belongs.
        running: Where the study of the running cell is kept: `study.jsonl`.
    """

    def __init__(self, record: Path, running: Path) -> None:
        self._record, self._running = RecordReader(record), StudyFollower(running)
        self._path = record
        self.study: Study | None = None

    def update(self) -> bool:
        """Read what is new."""
        if self._path.exists():
            changed = self._record.update()
            self.study = self._record.study
            return changed
        changed = self._running.update()
        self.study = self._running.study
        return changed


class StudyView:
    """The page of a study.

    Args:
        follows: What reads it.
        folder: Of a kept study; None for a cell.
        name: Where it was found.
    """

    def __init__(self, follows: Follows, folder: Path | None, name: str) -> None:
        self._follows, self._folder = follows, folder
        self._board = Board()
        self._board.set("kind", "study")
        self._board.set("title", printable(name))
        self._importance: Background[Importance] = Background()
        self._lock = threading.Lock()
        self._next, self._next_lock = 0.0, 0.0
        self._held, self._fresh, self._error = False, False, ""
        self._changed = time.monotonic()

    def data(self, mark: str = "", *, whole: bool = False) -> dict[str, Any] | None:
        """Return what changed since a mark; see `Board.since`.

        Args:
            mark: Of the data before.
            whole: Whether to wait for what takes long.
        """
        with self._lock:
            begun = time.monotonic()
            if whole or begun >= self._next:
                self._read()
                study = self._follows.study
                if study is not None and self._fresh:
                    self._show(study)
                    self._fresh = False
                if study is not None:
                    self._show_importance(study, whole=whole)
                spent = time.monotonic() - begun
                self._next = time.monotonic() + max(_EVERY, _SHARE * spent)
            return self._board.since(mark)

    def summary(self) -> tuple[str, str]:
        """Return its state, and one line on it, for a list; nothing is drawn."""
        with self._lock:
            if time.monotonic() >= self._next:
                self._read()
            study = self._follows.study
            if self._error or study is None:
                return ("damaged" if self._error else "begins"), self._error or "nothing yet"
            best = study._best_unit()
            found = "no score yet" if best is None else f"best {best[1].validation:.5g}"
            said = f"{title(study)}: {counted(len(study.trials), 'trial')}, {found}"
            return self._state(study), printable(said)

    def _read(self) -> None:
        try:
            changed = self._follows.update()
            self._error = ""
        except (InvalidArgumentError, OSError) as error:
            self._error, changed = one_line(error), False
        if changed:
            self._fresh, self._changed = True, time.monotonic()
        self._board.set("error", self._error)
        self._board.set("state", self._state(self._follows.study))

    def _state(self, study: Study | None) -> str:
        if study is not None and study.ended is not None:
            return f"ended by its {study.ended}"
        now = time.monotonic()
        if self._folder is None:
            return "running"
        if now >= self._next_lock and (not self._held or now - self._changed > _LOOKS_AT_LOCK):
            self._held, self._next_lock = is_held(self._folder / LOCK), now + _LOOKS_AT_LOCK
        return "running" if self._held else "waits: nobody is at work on it"

    def _show(self, study: Study) -> None:
        self._board.set("title", printable(title(study)))
        said = [[k, printable(v)] for k, v in facts(study) if k not in ("state", "kept in", "warning")]
        self._board.set("facts", said)
        self._board.set("notes", [printable(warning) for warning in study.warnings])
        for name, above, draw in CHARTS:
            try:
                drawn = draw(study)
            except InvalidArgumentError as error:
                drawn = Chart(name, above, note=one_line(error))
            self._board.set_chart(drawn.as_data())
        columns, rows = trial_table(study)
        downwards = study.about.sign > 0
        self._board.set_table("trials", "Trials", columns, rows, (_SCORE, downwards))

    def _show_importance(self, study: Study, *, whole: bool) -> None:
        scored = sum(trial.finished is not None for trial in study.trials)
        before = self._importance.of or 0
        grown = scored >= _GREW * before or study.ended is not None or whole
        events = list(study.history.events)  # the history itself grows meanwhile

        def work() -> Importance:
            own = Study(History.replay(events, study.about.max_units), study.seed, study.budget, study.about)
            return importance_of(own)

        self._importance.ask(scored if grown else before, work, wait=whole)
        if self._importance.value is not None:
            drawn = importance.chart(self._importance.value)
        else:
            waiting = "is being worked out" if self._importance.busy else "not worked out yet"
            drawn = Chart("importance", importance.TITLE, note=self._importance.error or waiting, height=120)
        self._board.set_chart(drawn.as_data())


def trial_table(study: Study) -> tuple[list[tuple[str, Kind]], list[list[Cell]]]:
    """Return columns and rows of all trials."""
    names = [] if study.about.space is None else list(study.about.space.names)
    names = list(dict.fromkeys([*names, *(name for trial in study.trials for name in trial.config)]))
    columns: list[tuple[str, Kind]] = [("trial", "number"), ("status", "text")]
    columns += [(printable(study.about.metric), "number"), ("units", "number"), ("seconds", "number")]
    columns += [(printable(name), _kind(study, name)) for name in names]
    nudged = any(trial.nudge.policy != "none" for trial in study.trials)
    lost = any(trial.cause for trial in study.trials)
    columns += [*([("warm start", "text")] if nudged else []), *([("cause", "text")] if lost else [])]  # type: ignore[list-item]
    return columns, [_row(study, trial, names, nudged=nudged, lost=lost) for trial in study.trials]


def _kind(study: Study, name: str) -> Kind:
    values = (trial.config.get(name) for trial in study.trials[:50])
    real = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values)
    return "number" if real else "text"


def _row(study: Study, trial: TrialResult, names: list[str], *, nudged: bool, lost: bool) -> list[Cell]:
    nudge = trial.nudge
    moved = "" if nudge.policy == "none" else "moved" if nudge.changed else nudge.reason or "not moved"
    return [
        trial.number,
        status(study, trial),
        _number(trial.value),
        trial.units[-1].unit if trial.units else 0,
        None if trial.finished is None else _number(trial.finished),
        *(_value(trial.config.get(name)) for name in names),
        *([printable(moved[:80])] if nudged else []),
        *([printable(trial.cause[:200])] if lost else []),
        None,
    ]


def _number(value: float) -> float | None:
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _value(value: Any) -> Cell:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value if value is None or abs(value) < 2**53 else str(value)
    return _number(value) if isinstance(value, float) else printable(str(value)[:80])
