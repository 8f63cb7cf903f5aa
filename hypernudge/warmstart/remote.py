"""Measurements for warm starts on the workers of an engine: the driver goes on with other trials meanwhile.

A trial waits for its own measurement, and nobody else does. Workers that have nothing else to do measure for
the trials to come, as far as the scheduler can name them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypernudge.engine.base import Engine, Measurement, MeasuringEngine
from hypernudge.random import Streams
from hypernudge.results.resources import Resources
from hypernudge.schedulers.base import Scheduler, Start, SupportsSpeculation
from hypernudge.space import Config
from hypernudge.task import Task
from hypernudge.trial import History
from hypernudge.warmstart.base import MeasuredElsewhere, SupportsBatchMeasurement
from hypernudge.warmstart.measurement.minimised import seen_by_warm_starts


@dataclass(frozen=True)
class Measured:
    """What was measured for a trial.

    Attributes:
        config: Where: its sampled configuration.
        value: What the policy's `nudge` takes.
        seconds: What it took.
        error: What it raised.
        resources: What a worker used for it; None where no worker did it.
    """

    config: Config
    value: Any
    seconds: float
    error: Exception | None = None
    resources: Resources | None = None


class RemoteMeasurements:
    """Has an engine's workers measure for one study.

    Args:
        engine: The engine.
        policy: What is measured for.
        task: What is tuned, as warm starts see it.
        streams: Of the study.
        scheduler: Asked for the configurations to come.
        sign: What scores are multiplied by so that larger is better.
    """

    def __init__(
        self,
        engine: Engine,
        policy: Any,
        task: Task,
        streams: Streams,
        scheduler: Scheduler | None,
        sign: int,
    ) -> None:
        assert isinstance(engine, MeasuringEngine)
        self._engine, self._measuring = engine, engine
        self._policy, self._task, self._streams, self._sign = policy, task, streams, sign
        known: Any = scheduler
        self._scheduler: SupportsSpeculation | None = None
        if isinstance(known, SupportsSpeculation):
            self._scheduler = known
        self._pending: dict[int, tuple[Config, Measurement]] = {}
        self._found: dict[int, Measured] = {}

    @property
    def pending(self) -> bool:
        """Whether something is being measured."""
        return bool(self._pending)

    def ready(self, number: int, sampled: Config, history: History) -> bool:
        """Whether trial `number` can be nudged now; if not, it is being measured for."""
        known = self._found.get(number)
        if known is not None and known.config == sampled:
            return True
        if number not in self._pending and not self._begin(number, sampled, history):
            return True  # there is nothing to measure
        self._look_ahead(number, history)
        return False

    def take(self, number: int) -> Measured | None:
        """Return what was measured for a trial that starts now; None if nothing was."""
        for other in [n for n in self._found if n < number]:
            del self._found[other]
        return self._found.pop(number, None)

    def came(self, measurement: Measurement) -> None:
        """Take in a measurement that an engine has returned."""
        number = next(n for n, (_, pending) in self._pending.items() if pending is measurement)
        config, _ = self._pending.pop(number)
        if measurement.done:  # else the study is over
            used = measurement.resources
            seconds = 0.0 if used is None else used.wall_seconds
            self._found[number] = Measured(config, measurement.value, seconds, measurement.error, used)

    def _look_ahead(self, number: int, history: History) -> None:
        if self._scheduler is None or not self._engine.free:
            return
        count = len(self._pending) + self._engine.free
        likely = self._scheduler.propose_speculative(history, self._streams, 2 * count, {})
        coming = [decision.config for decision in likely if isinstance(decision, Start)]
        for offset, config in enumerate(coming):
            known = number + offset in self._pending or number + offset in self._found
            if not self._engine.free:
                return
            if not known:
                self._begin(number + offset, config, history)

    def _begin(self, number: int, sampled: Config, history: History) -> bool:
        """Hand out the measurement for a trial; return whether there is one."""
        asked = self._asked(number, sampled, history)
        if asked is None:
            return False
        function, arguments = asked
        measurement = Measurement(_as_seen, (self._sign, function, arguments))
        self._pending[number] = sampled, measurement
        self._measuring.measure(measurement)
        return True

    def _asked(
        self, number: int, sampled: Config, history: History
    ) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        policy = self._policy
        if isinstance(policy, MeasuredElsewhere):
            return policy.to_measure(self._task, sampled, number, history, self._streams)
        return _first_of, (policy, sampled, number, self._streams)


def supports(policy: Any) -> bool:
    """Whether what a policy measures can be measured by a worker."""
    return isinstance(policy, MeasuredElsewhere | SupportsBatchMeasurement)


def _as_seen(task: Task, sign: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function with a worker's task, as warm starts see it."""
    return function(seen_by_warm_starts(task, sign), *arguments)


def _first_of(task: Task, policy: Any, sampled: Config, number: int, streams: Streams) -> Any:
    (measured,) = policy.measure(task, [sampled], [number], streams)
    return measured
