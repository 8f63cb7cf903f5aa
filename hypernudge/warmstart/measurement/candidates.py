"""What may be started in the place of a sampled configuration: draws of the space, as arrays.

Only hyper-parameters that a feature knows are drawn; of all others the scheduler may know more than a draw.
Some of the draws get a learning rate near the probe instead of the space's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernudge.space import Config
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.features import COLUMNS, features_of, scored, values_of

if TYPE_CHECKING:
    from hypernudge.task import Task

REDRAW = (-1.0, 0.7)  # decades above the probe where rates are redrawn
REDRAWN = 17 / 24  # share of the draws that get such a rate


@dataclass(frozen=True)
class Candidates:
    """Draws of a space beside what was sampled, which is the first.

    Attributes:
        task: What is tuned.
        sampled: What the scheduler sampled.
        units: Points of the draws, `(n - 1, len(space))`.
        log_rates: `log10` of the effective rates of all, `(n,)`.
        columns: Values of `COLUMNS`, each `(n,)`; NaN where there is none.
        redrawn: `log10` of the effective rates that the last ones were to have.
    """

    task: Task
    sampled: Config
    units: np.ndarray
    log_rates: np.ndarray
    columns: dict[str, np.ndarray]
    redrawn: np.ndarray

    def __len__(self) -> int:
        return len(self.log_rates)

    def features(self, scale: float, steps: float) -> np.ndarray:
        """Return the features of all, `(n, SIZE)`; see `features_of`."""
        return features_of(self.log_rates, self.columns, scale, steps)

    def config(self, index: int) -> Config:
        """Return one as a configuration."""
        if index == 0:
            return self.sampled
        return config_of(self.task, self.sampled, self.units, self.redrawn, index - 1)


def config_of(task: Task, sampled: Config, units: np.ndarray, redrawn: np.ndarray, index: int) -> Config:
    """Return draw `index` as a configuration; the arguments are attributes of `Candidates`."""
    draw, names = task.space.decode(units[index]), scored(task.space)
    found = sampled.replace(**{name: draw[name] for name in names if name in sampled and name in draw})
    first = len(units) - len(redrawn)
    return found if index < first else rates.at_rate(task, found, redrawn[index - first])


def drawn(task: Task, sampled: Config, scale: float, count: int, rng: np.random.Generator) -> Candidates:
    """Draw candidates.

    Args:
        task: What is tuned.
        sampled: What the scheduler sampled.
        scale: `log10` of the probe.
        count: How many, what was sampled among them.
        rng: What they are drawn by.
    """
    space, names = task.space, [name for name in scored(task.space) if name in sampled]
    units = space.sample_units(rng, count - 1)
    # A choice may be an array; it is no number, and here arrays are columns.
    values: dict[str, Any] = dict(sampled)
    values = {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}
    for name, (found, active) in space.columns(units, names).items():
        column = np.empty(count, dtype=found.dtype)
        column[0], column[1:] = sampled[name], found
        column[1:][~active] = sampled[name]
        values[name] = column
    log_rates = np.array(rates.log_rates_of(task, values, count))
    redrawn = scale + rng.uniform(*REDRAW, redrawn_of(count))
    first = count - len(redrawn)
    last = {name: value[first:] if isinstance(value, np.ndarray) else value for name, value in values.items()}
    log_rates[first:] = rates.at_log_rates(task, last, redrawn)[1]
    columns = {name: numbers_of(values[name], count) for name in COLUMNS if name in values}
    return Candidates(task, sampled, units, log_rates, columns, redrawn)


def redrawn_of(count: int) -> int:
    """Return how many of `count` candidates get a rate near the probe."""
    return min(round(count * REDRAWN), count - 1)


def numbers_of(value: Any, count: int) -> np.ndarray:
    """Return a hyper-parameter's values as numbers, `(count,)`."""
    if not isinstance(value, np.ndarray):
        return np.full(count, values_of([value])[0])
    return value if value.dtype != object else values_of(value)
