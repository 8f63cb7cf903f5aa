"""Candidates of the trials to come, drawn and looked at together: an array costs little more for many.

What is drawn for a trial depends on its number alone, apart from what the scheduler sampled. So the draws of
the next trials are made at once, kept with the history, and only what was sampled is added when a trial
starts. `candidates.drawn`, one trial at a time, is the reference implementation, and serves where a draw
depends on more: conditional hyper-parameters, or an update rule that reads what is not drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.warmstart.measurement import candidates, rates
from hypernudge.warmstart.measurement.candidates import REDRAW, numbers_of, redrawn_of
from hypernudge.warmstart.measurement.features import (
    COLUMNS,
    LATTICE,
    SIZE,
    coordinates,
    coordinates_of,
    number_of,
    row,
    score,
    scored,
    scores,
)

if TYPE_CHECKING:
    from hypernudge.task import Task

AT_ONCE = 16
"""Trials whose draws are made together at most; what a study does not come to use of them is lost.

It begins with one: the history of another tool's study may be a new one at every trial.
"""
STREAM = "informed"


class Offer(NamedTuple):
    """What may be started: what was sampled, and draws of the space.

    Attributes:
        task: What is tuned.
        sampled: What the scheduler sampled.
        units: Points of the draws, `(n, len(space))`.
        redrawn: `log10` of the effective rates that the last draws are to have.
        left: Column of the knot to the left by block, `(len(KNOTS), n)`.
        rising: Share of the knot to the right, likewise.
        noise: Standard normal numbers of the trial, `(SIZE,)`.
        own: `left` and `rising` of what was sampled, one of each block.
        at: Coordinates of what is drawn, by name; None where a configuration depends on more.
    """

    task: Task
    sampled: Config
    units: np.ndarray
    redrawn: np.ndarray
    left: np.ndarray
    rising: np.ndarray
    noise: np.ndarray
    own: tuple[list[int], list[float]]
    at: dict[str, int] | None = None

    def best(self, weights: np.ndarray) -> int:
        """Return which is best under weights `(SIZE,)`: 0 for what was sampled, else the draw's number."""
        drawn = scores(self.left, self.rising, weights)
        first = int(drawn.argmax())
        return first + 1 if drawn[first] > score(*self.own, weights) else 0

    def features(self, index: int) -> np.ndarray:
        """Return the features of one, `(SIZE,)`."""
        if index == 0:
            return row(*self.own)
        return row(self.left[:, index - 1].tolist(), self.rising[:, index - 1].tolist())

    def config(self, index: int) -> Config:
        """Return one as a configuration."""
        if index == 0:
            return self.sampled
        if self.at is None:
            return candidates.config_of(self.task, self.sampled, self.units, self.redrawn, index - 1)
        space, unit = self.task.space, self.units[index - 1].tolist()
        drawn = {name: space[name].decode(unit[i]) for name, i in self.at.items()}
        found = Config({**self.sampled, **drawn})
        behind = index - 1 - len(self.units) + len(self.redrawn)
        return found if behind < 0 else rates.at_rate(self.task, found, self.redrawn[behind])


@dataclass
class _Draws:
    """What was drawn for consecutive trials; entries are those of `Offer`, with the trial first."""

    first: int
    units: np.ndarray
    redrawn: np.ndarray
    left: np.ndarray
    rising: np.ndarray
    noise: np.ndarray


@dataclass
class Ahead:
    """The draws of the next trials of one study.

    Attributes:
        task: What is tuned.
        streams: Of the study.
        count: Candidates of a trial, what was sampled among them.
    """

    task: Task
    streams: Streams
    count: int
    _known: tuple[tuple[float, float], _Draws] | None = None
    _names: list[str] = field(default_factory=list)
    _at: dict[str, int] | None = None  # coordinates of these, where nothing else enters a configuration
    _alike: list[str] = field(default_factory=list)  # names of configurations whose draws depend on no more
    _size: int = 1  # of the next draws

    def __post_init__(self) -> None:
        space = self.task.space
        self._names = scored(space)
        if type(space).decode is SearchSpace.decode:  # a space of a table has configurations of its own
            self._at = {name: space.names.index(name) for name in self._names}

    def offer(
        self, sampled: Config, number: int, scale: float, steps: float, log_rate: float | None = None
    ) -> Offer:
        """Return what may be started as trial `number` in the place of `sampled`.

        Args:
            sampled: What the scheduler sampled.
            number: Of the trial.
            scale: `log10` of the probe.
            steps: Optimizer steps of the longest training.
            log_rate: `log10` of the effective rate of `sampled`, where it is known.
        """
        if not self._is_drawn_alone(sampled):
            return self._alone(sampled, number, scale, steps)
        at = scale, steps
        known = None if self._known is None or self._known[0] != at else self._known[1]
        if known is None or not known.first <= number < known.first + len(known.units):
            known = self._drawn(number, self._size, scale, steps)
            self._known, self._size = (at, known), AT_ONCE
        i = number - known.first
        values = [number_of(sampled.get(name, math.nan)) for name in COLUMNS]
        x = rates.log_rate(self.task, sampled) if log_rate is None else log_rate
        own = LATTICE.place(coordinates(x, values, scale, steps))
        parts = known.units[i], known.redrawn[i], known.left[:, i], known.rising[:, i], known.noise[i]
        return Offer(self.task, sampled, *parts, own, self._at)

    def _is_drawn_alone(self, sampled: Config) -> bool:
        """Whether nothing but rate and values that are drawn enters the features of a draw."""
        own = list(sampled)
        if own == self._alike:
            return True
        space, names = self.task.space, self._names
        drawn = all(name in sampled and space[name].only_if is None for name in names)
        reads = getattr(rates.optimizer_of(self.task), "reads", None)
        alone = drawn and reads is not None and all(name in names or name not in sampled for name in reads)
        self._alike = own if alone else self._alike
        return alone

    def _drawn(self, first: int, trials: int, scale: float, steps: float) -> _Draws:
        task, shape = self.task, (trials, self.count - 1)
        units, noise = np.empty((*shape, len(task.space))), np.empty((trials, SIZE))
        redrawn = np.empty((trials, redrawn_of(self.count)))
        for i, rng in enumerate(self.streams.each((STREAM, first + i) for i in range(trials))):
            units[i] = task.space.sample_units(rng, self.count - 1)
            redrawn[i] = scale + rng.uniform(*REDRAW, redrawn.shape[1])
            noise[i] = rng.standard_normal(SIZE)
        columns = task.space.columns(units.reshape(-1, len(task.space)), self._names)
        values = {name: column.values for name, column in columns.items()}
        log_rates = rates.log_rates_of(task, values, len(units) * shape[1]).reshape(shape).copy()
        last = shape[1] - redrawn.shape[1]
        of_last = {name: value.reshape(shape)[:, last:].ravel() for name, value in values.items()}
        log_rates[:, last:] = rates.at_log_rates(task, of_last, redrawn.ravel())[1].reshape(redrawn.shape)
        known = {name: numbers_of(values[name], log_rates.size) for name in COLUMNS if name in values}
        left, rising = LATTICE.places(coordinates_of(log_rates.ravel(), known, scale, steps))
        by_trial = (len(left), *shape)
        return _Draws(first, units, redrawn, left.reshape(by_trial), rising.reshape(by_trial), noise)

    def _alone(self, sampled: Config, number: int, scale: float, steps: float) -> Offer:
        rng = self.streams(STREAM, number)
        found = candidates.drawn(self.task, sampled, scale, self.count, rng)
        left, rising = LATTICE.places(coordinates_of(found.log_rates, found.columns, scale, steps))
        parts = found.units, found.redrawn, left[:, 1:], rising[:, 1:], rng.standard_normal(SIZE)
        return Offer(self.task, sampled, *parts, (left[:, 0].tolist(), rising[:, 0].tolist()))
