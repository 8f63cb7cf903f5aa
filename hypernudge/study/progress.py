"""How far a study is, on standard error: live lines by `rich` on a terminal, else one now and then."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from hypernudge.errors import package
from hypernudge.study.display import values
from hypernudge.trial import Event, Report, Started

if TYPE_CHECKING:
    from hypernudge.study.study import Study

_EVERY = 10.0  # seconds between two plain lines
_REFRESH = 4  # times a second


class Shows(Protocol):
    """What shows lines."""

    def show(self, lines: list[str], *, last: bool = False) -> None:
        """Show the present state."""
        ...


class Progress:
    """Follows a study and shows it.

    Args:
        study: The study.
        max_trials: How many trials there will be, where that is known.
        shows: What shows it.
        clock: Seconds of the wall.
    """

    def __init__(
        self, study: Study, max_trials: int | None, shows: Shows, clock: Any = time.monotonic
    ) -> None:
        self._study, self._max_trials, self._shows, self._clock = study, max_trials, shows, clock
        self._begun, self._before = clock(), 0.0
        self._rungs: Counter[int] = Counter()
        self._units, self._fresh, self._trials, self._lost, self._now = 0, 0, 0, 0, 0.0
        for event in study.history.events:
            self.apply(event)
        self._before, self._fresh = self.share, 0

    def apply(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Started):
            self._trials += 1
        elif isinstance(event, Report):
            self._units += len(event.units)
            self._fresh += len(event.units)
            self._now = max(self._now, event.finished)
            self._rungs[event.job.until] += event.outcome == "ok"
            self._lost += event.outcome in ("diverged", "failed")

    def update(self, event: Event) -> None:
        """Take in an event, and show it if it is a report."""
        self.apply(event)
        if isinstance(event, Report):
            self._shows.show(self.lines())

    def end(self) -> None:
        """Show the end."""
        self._shows.show(self.lines(), last=True)

    @property
    def share(self) -> float:
        """What is done of the budget or of the trials, the larger, in [0, 1]; 0 where nobody knows."""
        of_time = self._now / self._study.budget if math.isfinite(self._study.budget) else 0.0
        of_trials = self._trials / self._max_trials if self._max_trials else 0.0
        return min(1.0, max(of_time, of_trials))

    def lines(self) -> list[str]:
        """Return the present state in words."""
        name, wall = self._study.about.metric, self._clock() - self._begun
        best = "no score yet"
        found = self._study._best_unit()
        if found is not None:
            trial, unit = found
            config = values(self._study.history.trials[trial].config)
            best = f"best {name} {unit.validation:.6g} (trial {trial}, unit {unit.unit}: {config})"
        rungs = " ".join(f"{until}:{count}" for until, count in sorted(self._rungs.items()) if count)
        of = f"/{self._max_trials}" if self._max_trials else ""
        lost = f", {self._lost} failed or diverged" if self._lost else ""
        rate = f"{self._fresh / wall:.3g} units/s" if wall > 0 and self._fresh else "no unit yet"
        counts = f"{self._trials}{of} trials{lost}; at unit {rungs or '-'}; {self._units} units, {rate}"
        done = self.share - self._before
        if done > 0 and self.share < 1:
            counts += f", about {duration(wall * (1 - self.share) / done)} left"
        return [best, counts]


def duration(seconds: float) -> str:
    """Return seconds as `42 s`, `3 min` or `2 h 10 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Plain:
    """Writes a line now and then."""

    def __init__(self, title: str, stream: Any, clock: Any = time.monotonic) -> None:
        self._title, self._stream, self._clock = title, stream, clock
        self._next = clock() + _EVERY

    def show(self, lines: list[str], *, last: bool = False) -> None:
        """Write one line, if it is time."""
        if last or self._clock() >= self._next:
            self._next = self._clock() + _EVERY
            self._stream.write(f"{self._title}: {'; '.join(reversed(lines))}\n")
            self._stream.flush()


class Live:
    """Keeps a few lines of a terminal up to date."""

    def __init__(self, title: str, stream: Any) -> None:
        live, console = (
            package("rich.live", "harness", "progress"),
            package("rich.console", "harness", "progress"),
        )
        self._text = package("rich.text", "harness", "progress").Text
        self._title = title
        self._live = live.Live(console=console.Console(file=stream), refresh_per_second=_REFRESH)
        self._live.start()

    def show(self, lines: list[str], *, last: bool = False) -> None:
        """Replace the lines."""
        self._live.update(self._text("\n".join([self._title, *(f"  {line}" for line in lines)])))
        if last:
            self._live.stop()


def progress_of(study: Study, max_trials: int | None, wanted: bool | None) -> Progress | None:
    """Return what shows a study on standard error; None where nobody would see it, or it is not wanted."""
    stream = sys.stderr
    terminal = stream is not None and stream.isatty()
    if wanted is False or stream is None or (wanted is None and not terminal):
        return None
    title = f"{study.about.task} ({study.about.scheduler}, seed {study.seed})"
    rich = terminal and importlib.util.find_spec("rich") is not None
    return Progress(study, max_trials, Live(title, stream) if rich else Plain(title, stream))
