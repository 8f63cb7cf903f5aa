"""What importers yield: runs of another tool with their scores; and what reading them has in common."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypernudge.errors import InvalidArgumentError, require

Direction = Literal["maximise", "minimise", "unknown"]

COUNT = "count"
"""The clock that counts scores: what a tool says of time is not needed then, and not checked."""

SHOWN = 5  # names in a message
_IDLE_SECONDS, _IDLE_SHARE = 60.0, 0.1  # what is worth a note


@dataclass(frozen=True)
class Score:
    """One score: which trial of the run, when (seconds, on the clock of `Run.begun`), and its value."""

    trial: str
    at: float
    value: float


@dataclass(frozen=True)
class Tried:
    """A configuration that was tried in a tuning run, and what became of it.

    Attributes:
        trial: As in its scores.
        config: Hyper-parameters by name; those of nested ones are joined by `/`.
        scores: By unit of training, 1 where the tool has no units; NaN at the unit at which it failed.
        log: Hyper-parameters that the tool declares on a logarithmic scale.
    """

    trial: str
    config: Mapping[str, Any]
    scores: Mapping[int, float]
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run of another tool: a whole tuning run, or one training run of several that make up a cell.

    A run that was made and has no score is a miss, and stays in the table as one; only where nobody can tell
    whether it was made is it left out (`absent`).

    Attributes:
        name: Its name there.
        attributes: Attributes, tags, parameters or configuration, as text.
        begun: When it began, seconds, on any clock.
        scores: In any order.
        direction: What the tool says about the metric.
        unscored: Trials without a usable score: failed, pruned before the first value, still running.
        ended: Last moment that is known of it, on the clock of `begun`; None where nothing is.
        whole: Whether it is a whole tuning run; then two of them are never trials of one cell.
        mark: What tells it from others of its name: a file, an identifier.
        absent: Why it is no result, not even a miss (never began, still running); empty where it is one.
        notes: What a reader must know about it.
        tried: The configurations of its trials, where the tool tells them.
    """

    name: str
    attributes: Mapping[str, str]
    begun: float
    scores: tuple[Score, ...]
    direction: Direction = "unknown"
    unscored: int = 0
    ended: float | None = None
    whole: bool = False
    mark: str = ""
    absent: str = ""
    notes: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()


def flat_config(config: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested hyper-parameters by their paths, joined by `/`."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        where = f"{path}/{name}" if path else str(name)
        if isinstance(value, Mapping):
            found |= flat_config(value, where)
        else:
            found[where] = value
    return found


def pick_metric(given: str | None, known: Iterable[str]) -> str:
    """Return the metric to read: the one given, or the only one there is.

    Raises:
        InvalidArgumentError: It is not there, or several are and none was given.
    """
    names = sorted(known)
    if given is not None:
        require(given in names, "--metric", f"must be among {names}", given, "choose one of them")
        return given
    remedy = "choose one of them" if names else "nothing that is a number was logged: check the source"
    require(len(names) == 1, "--metric", "must be given where there is not just one", names, remedy)
    return names[0]


def number(value: Any) -> float | None:
    """A score as tools write it: a number, or text that says nan or inf; None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("null", "none", "na", "n/a", "<na>"):
            return math.nan
        try:
            return float(text)
        except ValueError:
            return None
    return None


def typed(text: Any) -> Any:
    """Return a value of a configuration that a table holds as text: a number where it reads as one."""
    if not isinstance(text, str):
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_text(path: Path) -> str:
    """Return the text of a file of another tool.

    Raises:
        InvalidArgumentError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except OSError as error:
        reason = error.strerror or line(error)
    raise InvalidArgumentError(f"SOURCE: {path} cannot be read: {reason}; copy it again")


def parse_json(text: str, where: str, remedy: str) -> Any:
    """Return what a JSON text holds; NaN and Infinity are data here.

    Raises:
        InvalidArgumentError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = line(error)
    raise InvalidArgumentError(f"SOURCE: {where} must be JSON, but: {reason}; {remedy}")


def line(error: BaseException) -> str:
    """What an error of another library says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def forward(times: Sequence[float], where: str, clock: str, remedy: str, *, strict: bool) -> list[float]:
    """Times that never decrease.

    Args:
        times: In the order in which they were logged.
        where: Of which run, for the message.
        clock: What they were read from.
        remedy: What to do where they do.
        strict: False lets each stand no earlier than the one before: only their order is needed.

    Raises:
        InvalidArgumentError: One is smaller than the one before it, or no finite number.
    """
    kept: list[float] = []
    for place, time in enumerate(times):
        last = kept[-1] if kept else -math.inf
        if strict:
            require(math.isfinite(time), where, f"{clock} must be finite", time, remedy)
            rule = f"{clock} must not go backwards, as at score {place + 1}"
            require(time >= last, where, rule, f"{time:g} after {last:g}", remedy)
        kept.append(time if time >= last else max(last, 0.0) if kept else 0.0)
    return kept


def idle_note(name: str, spans: Iterable[tuple[float, float]]) -> tuple[str, ...]:
    """A note where nothing ran for long: the tool was stopped and taken up again, perhaps days later.

    Args:
        name: Of the run.
        spans: Beginning and end of each of its trials, seconds.
    """
    ordered = sorted(spans)
    if not ordered:
        return ()
    begin, end = ordered[0]
    idle = 0.0
    for start, stop in ordered:
        idle += max(0.0, start - end)
        end = max(end, stop)
    if idle <= max(_IDLE_SECONDS, _IDLE_SHARE * (end - begin)):
        return ()
    what = f"{name}: no trial ran for {idle:.0f} of its {end - begin:.0f} s"
    return (f"{what}; that time counts as the others do (it was interrupted? then see --time)",)
