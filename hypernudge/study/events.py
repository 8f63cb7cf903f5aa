"""Events of a study as plain data for JSON, and back to the same bits.

JSON has no NaN and no infinities: they are the texts `NaN`, `Infinity` and `-Infinity`. Values of a
configuration are written as they are where JSON has them; of any other choice its position is written.
Scores are written with the user's sign.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypernudge.results.jsonio import plain
from hypernudge.results.resources import Resources
from hypernudge.space import Categorical, Config, HyperParameter, SearchSpace
from hypernudge.trial import Event, Job, Nudge, Report, Started, UnitResult

Data = dict[str, Any]
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_POSITION = "choice"  # {"choice": 2}: the third choice of a categorical


def number(value: Any) -> Any:
    """Return a number for strict JSON."""
    value = float(value)
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def read_number(value: Any) -> float:
    """Return the number that `number` wrote.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, str):
        if value not in _WORDS:
            raise ValueError(f"{value[:20]!r} is no number")
        return _WORDS[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{type(value).__name__} is no number")
    return float(value)


def flipped(value: float, sign: int) -> float:
    """Return `sign * value`; NaN is the one that everybody uses, so that equal results compare equal."""
    return math.nan if value != value else sign * value


def signed(report: Report, sign: int) -> Report:
    """Return a report whose scores are multiplied by `sign`."""
    if sign == 1:
        return report
    units = tuple(
        replace(u, validation=flipped(u.validation, sign), test=flipped(u.test, sign)) for u in report.units
    )
    return replace(report, units=units)


class EventCodec:
    """Writes and reads the events of one study, in their order.

    Args:
        space: Of the configurations.
        sign: What scores are multiplied by when written, 1 or -1.
    """

    def __init__(self, space: SearchSpace, sign: int = 1) -> None:
        self._space, self._sign = space, sign
        self._configs: list[Config] = []
        self._jobs: dict[int, Job] = {}

    def encode(self, event: Event) -> Data:
        """Return an event as plain data."""
        if isinstance(event, Started):
            data: Data = {"event": "start", "trial": event.trial, "time": event.time}
            return {**data, "sampled": self._config(event.sampled), "nudge": self._nudge(event)}
        if isinstance(event, Job):
            data = {"event": "job", "trial": event.trial, "since": event.since, "until": event.until}
            return {**data, "warm_start_flops": event.warm_start_flops}
        return {
            "event": "report",
            "trial": event.job.trial,
            "until": event.job.until,
            "outcome": event.outcome,
            "started": number(event.started),
            "finished": number(event.finished),
            "units": [
                [u.unit, number(u.time), number(self._sign * u.validation), number(self._sign * u.test)]
                for u in event.units
            ],
            "flops": number(event.flops),
            "wall_seconds": number(event.wall_seconds),
            "error": event.error,
            **_resources(event),
        }

    def decode(self, data: Mapping[str, Any]) -> Event:
        """Return the event that `encode` wrote; events must come in their order.

        Raises:
            KeyError, TypeError, ValueError, LookupError: If it is no such event.
        """
        kind = data["event"]
        trial = int(data["trial"])
        if kind == "start":
            sampled = self._read_config(data["sampled"])
            nudge = self._read_nudge(data["nudge"], sampled)
            self._configs[trial:] = [nudge.config]
            return Started(trial, sampled, nudge, read_number(data["time"]))
        if kind == "job":
            flops = read_number(data["warm_start_flops"])
            job = Job(trial, self._configs[trial], int(data["since"]), int(data["until"]), flops)
            self._jobs[trial] = job
            return job
        if kind != "report":
            raise ValueError(f"unknown event {str(kind)[:40]!r}")
        job = self._jobs[trial]
        if job.until != data["until"]:
            raise ValueError(f"trial {trial} was sent to unit {job.until}, not {data['until']}")
        units = tuple(
            UnitResult(
                int(unit),
                read_number(time),
                flipped(read_number(validation), self._sign),
                flipped(read_number(test), self._sign),
            )
            for unit, time, validation, test in data["units"]
        )
        started, finished = read_number(data["started"]), read_number(data["finished"])
        flops, wall = read_number(data["flops"]), read_number(data["wall_seconds"])
        resources = _read_resources(data)
        return Report(job, data["outcome"], started, finished, units, flops, wall, data["error"], resources)

    def _parameter(self, name: str) -> HyperParameter | None:
        known = name in self._space
        return self._space[name] if known else None

    def _config(self, config: Mapping[str, Any]) -> Data:
        return {name: self._value(name, value) for name, value in config.items()}

    def _value(self, name: str, value: Any) -> Any:
        parameter = self._parameter(name)
        simple = value is None or isinstance(value, str | bool | int)
        if simple or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(parameter, Categorical):
            return {_POSITION: parameter.index(value)}
        return plain(value)

    def _read_config(self, data: Mapping[str, Any]) -> Config:
        return Config({name: self._read_value(name, value) for name, value in data.items()})

    def _read_value(self, name: str, value: Any) -> Any:
        parameter = self._parameter(name)
        if not isinstance(parameter, Categorical):
            return value
        if isinstance(value, dict):
            return parameter.choices[value[_POSITION]]
        return parameter.choices[parameter.index(value)]

    def _nudge(self, event: Started) -> Data:
        nudge = event.nudge
        moved = nudge.config != event.sampled
        gradient = nudge.gradient
        return {
            "policy": nudge.policy,
            "kind": nudge.kind,
            "reason": nudge.reason,
            "changed": nudge.changed,
            "flagged": nudge.flagged,
            "config": self._config(nudge.config) if moved else None,
            "gradient": None if gradient is None else {k: number(v) for k, v in gradient.items()},
            "gradient_norm": None if nudge.gradient_norm is None else number(nudge.gradient_norm),
            "z": None if nudge.z is None else number(nudge.z),
            "flops": number(nudge.flops),
            "wall_seconds": number(nudge.wall_seconds),
            "measurements": {k: number(v) for k, v in nudge.measurements.items()},
            **_resources(nudge),
        }

    def _read_nudge(self, data: Mapping[str, Any], sampled: Config) -> Nudge:
        gradient, norm, z = data["gradient"], data["gradient_norm"], data["z"]
        return Nudge(
            config=sampled if data["config"] is None else self._read_config(data["config"]),
            policy=data["policy"],
            changed=data["changed"],
            flagged=data["flagged"],
            reason=data["reason"],
            gradient=None if gradient is None else {k: read_number(v) for k, v in gradient.items()},
            gradient_norm=None if norm is None else read_number(norm),
            z=None if z is None else read_number(z),
            flops=read_number(data["flops"]),
            wall_seconds=read_number(data["wall_seconds"]),
            measurements={k: read_number(v) for k, v in data["measurements"].items()},
            kind=data["kind"],
            resources=_read_resources(data),
        )


def _resources(of: Report | Nudge) -> Data:
    return {} if of.resources is None else {"resources": of.resources.as_data()}


def _read_resources(data: Mapping[str, Any]) -> Resources | None:
    return Resources.from_data(data["resources"]) if "resources" in data else None
