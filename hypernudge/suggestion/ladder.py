"""The search for a rate: short trial trainings on a ladder of rates, fewer and longer ones from round to round.

Steps of a decade, then of half a decade. A round goes on towards the side where losses fall until its best rate
has a worse one on either side; the longest trials are fitted by a parabola. A pure function of what trials return.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

SHARES = (1 / 40, 1 / 12, 1 / 5)  # of the budget of steps, that a trial of each round has
WIDTHS = (1.0, 0.5, 0.5)  # decades between the rates of a round
MOST = (8, 5, 4)  # trials of a round
SHORTEST = 3  # steps that say anything
LOWEST, HIGHEST = -10.0, 3.0  # log10 of the rates that are tried
TAIL = 1 / 3  # share of a trial's steps, the last, whose mean loss is its score
FLAT = 0.02  # losses are taken as equal within so much of what the best trial gained


class OutOfTimeError(Exception):
    """There is no time left for another trial."""


@dataclass(frozen=True)
class RateTrial:
    """A short training at one rate.

    Attributes:
        rate: Learning rate.
        steps: Optimizer steps that it was to have.
        losses: Mean training loss of each step, before its update; fewer than `steps` where it diverged.
        diverged: Whether a loss was not finite, or far above those before training.
    """

    rate: float
    steps: int
    losses: tuple[float, ...]
    diverged: bool = False

    @property
    def loss(self) -> float:
        """Mean loss of its last third; infinite where it diverged."""
        if self.diverged or not self.losses:
            return math.inf
        tail = np.array(self.losses[-max(1, round(TAIL * self.steps)) :])
        low, middle, high = np.quantile(tail, (0.25, 0.5, 0.75))
        reach = 3.0 * (high - low)  # a spike is counted as no more than this
        return float(np.clip(tail, middle - reach, middle + reach).mean())


Try = Callable[[float, int], RateTrial]


@dataclass
class Found:
    """What the rounds have found: every trial, and `log10` of the best rate with its span."""

    trials: list[RateTrial] = field(default_factory=list)
    best: float = math.nan
    low: float = math.nan
    high: float = math.nan
    steps: int = 0  # of the trials that it is taken from
    rounds: int = 0  # that were finished


def search(attempt: Try, centre: float, budget: int, planned: int, untrained: float) -> Found:
    """Search for the rate with the lowest loss.

    Args:
        attempt: Trains for a number of steps at a rate. May raise `OutOfTimeError`.
        centre: `log10` of the rate to begin with.
        budget: Optimizer steps of all trials together, about.
        planned: Steps of the real training: no trial is longer.
        untrained: Loss before training; a trial above it is as bad as one that diverged.

    Returns:
        What was found when the last round was finished, or time was up.
    """
    found = Found()
    for share, width, most in zip(SHARES, WIDTHS, MOST, strict=True):
        steps = min(max(SHORTEST, round(share * budget)), planned)
        if steps == found.steps and found.rounds > 1:
            break
        tried: dict[int, RateTrial] = {}
        try:
            _round(attempt, tried, found, centre, width, most, steps)
        except OutOfTimeError:
            if len(tried) >= 3 or not found.rounds:
                _conclude(found, tried, centre, width, steps, untrained)
            break
        _conclude(found, tried, centre, width, steps, untrained)
        found.rounds += 1
        if not math.isfinite(found.best):
            break
        centre = found.best
    return found


def _round(
    attempt: Try,
    tried: dict[int, RateTrial],
    found: Found,
    centre: float,
    width: float,
    most: int,
    steps: int,
) -> None:
    """Try the centre and its neighbours, then further ones on the side where the best lies at the end."""
    for place in (0, -1, 1):
        _one(attempt, tried, found, place, centre + width * place, steps)
    while len(tried) < most:
        ends = min(tried), max(tried)
        best = min(tried, key=lambda place: (_order(tried[place]), place))
        if all(trial.diverged for trial in tried.values()):
            best = ends[0]
        if best not in ends:
            return
        place = best - 1 if best == ends[0] else best + 1
        if not LOWEST <= centre + width * place <= HIGHEST:
            return
        _one(attempt, tried, found, place, centre + width * place, steps)


def _one(
    attempt: Try, tried: dict[int, RateTrial], found: Found, place: int, exponent: float, steps: int
) -> None:
    trial = attempt(10.0**exponent, steps)
    tried[place] = trial
    found.trials.append(trial)


def _order(trial: RateTrial) -> float:
    return trial.loss if math.isfinite(trial.loss) else math.inf


def _conclude(
    found: Found, tried: dict[int, RateTrial], centre: float, width: float, steps: int, untrained: float
) -> None:
    """Put the best rate of a round and its span into `found`; nothing where all trials diverged."""
    places = sorted(place for place, trial in tried.items() if math.isfinite(trial.loss))
    if not places:
        return
    losses = {place: tried[place].loss for place in places}
    best = min(places, key=lambda place: (losses[place], place))
    exact = best + _vertex(losses, best, untrained)
    gained = max(untrained - losses[best], 0.0)
    near = [place for place in places if losses[place] <= losses[best] + FLAT * gained]
    found.best = centre + width * exact
    found.low = centre + width * min(min(near), exact)
    found.high = centre + width * max(max(near), exact)
    found.steps = steps


def _vertex(losses: dict[int, float], best: int, untrained: float) -> float:
    """Return how far from the best place, at most half a step, a parabola through it and its neighbours is least.

    A neighbour that diverged counts as one that has learned nothing.
    """
    if best - 1 not in losses and best + 1 not in losses:
        return 0.0
    worst = max(untrained, *losses.values())
    left, right = losses.get(best - 1, worst), losses.get(best + 1, worst)
    bend = left - 2.0 * losses[best] + right
    return float(np.clip((left - right) / (2.0 * bend), -0.5, 0.5)) if bend > 0 else 0.0
