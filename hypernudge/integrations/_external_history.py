"""Another tool's trials as a `History`, which is what warm starts read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from hypernudge.space import Config, Value
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult

FIELDS = tuple(field.name for field in dataclasses.fields(Nudge))


class ExternalHistory:
    """An append-only history, told of starts and scores in the words that other tools have.

    Trials are numbered from 0 as they start. Scores are larger-is-better. There is no clock: tools keep
    their own.

    Args:
        max_units: Units of the longest training, where the tool says.
    """

    def __init__(self, max_units: int | None = None) -> None:
        self.history = History(max_units)

    def __len__(self) -> int:
        return len(self.history.trials)

    def started(self, sampled: Config, nudge: Nudge) -> int:
        """Note that a trial starts, and return its number."""
        self.history.append(Started(len(self), sampled, nudge, 0.0))
        return len(self) - 1

    def scored(self, trial: int, unit: int, score: float) -> None:
        """Note a trial's score after `unit` units; what it has had or what comes after its end is ignored."""
        known = self.history.trials[trial]
        if known.status != "paused" or unit <= known.until:
            return
        outcome = "ok" if math.isfinite(score) else "diverged"
        job = Job(trial, known.config, known.until, unit)
        result = UnitResult(unit, 0.0, score, math.nan)
        self.history.append(job)
        self.history.append(Report(job, outcome, 0.0, 0.0, (result,), 0.0))  # type: ignore[arg-type]

    def failed(self, trial: int) -> None:
        """Note that a trial failed."""
        known = self.history.trials[trial]
        if known.status == "paused":
            job = Job(trial, known.config, known.until, known.until + 1)
            self.history.append(job)
            self.history.append(Report(job, "failed", 0.0, 0.0, (), 0.0))

    def state(self) -> list[dict[str, Any]]:
        """Return everything as plain values."""
        return [
            {
                "sampled": dict(trial.sampled),
                "nudge": record_of(trial.nudge),
                "scores": list(trial.milestones.items()),
                "failed": trial.status == "failed",
            }
            for trial in self.history.trials
        ]

    @classmethod
    def from_state(
        cls, state: list[dict[str, Any]], recovered: Callable[[Mapping[str, Any]], Config] = Config
    ) -> ExternalHistory:
        """Rebuild a history from `state()`; scores come back trial by trial instead of in order of arrival.

        Args:
            state: What was saved.
            recovered: Turns a configuration as JSON holds it into what it was.
        """
        external = cls()
        for entry in state:
            nudge = nudge_of({**entry["nudge"], "config": recovered(entry["nudge"]["config"])})
            number = external.started(recovered(entry["sampled"]), nudge)
            for unit, score in entry["scores"]:
                if not (entry["failed"] and unit == entry["scores"][-1][0]):
                    external.scored(number, unit, score)
            if entry["failed"]:
                external.failed(number)
        return external


def record_of(nudge: Nudge) -> dict[str, Any]:
    """Return a nudge as plain values."""
    values = {name: getattr(nudge, name) for name in FIELDS}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def nudge_of(record: Mapping[str, Any]) -> Nudge:
    """Return the nudge that `record_of` wrote down, in this version or an earlier one."""
    known = {name: record[name] for name in FIELDS if name in record}
    return Nudge(**{**known, "config": Config(record["config"])})


def given(values: Mapping[str, Value], reason: str) -> Nudge:
    """Return the nudge of a configuration that is left alone because somebody chose it."""
    return Nudge(Config(values), policy="none", reason=reason, kind="given")
