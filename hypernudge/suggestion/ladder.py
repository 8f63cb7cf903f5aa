"""The search for a rate: short trial trainings on a ladder of rates, fewer and longer from round to round.

Steps of a decade, then of half a decade. A round goes on towards the side where losses fall until its best
rate has a worse one on either side; the longest trials are fitted by a parabola. A large budget is spent on
one more round and not on longer first ones: whenever time is up, what shorter trials have found is known.
Where no trial learns anything (a network leaves its plateau late), the highest harmless rate counts as the
best, and longer trials follow; a network that was killed is not harmless, though its loss is that of the
untrained one. A pure function of what trials return.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

SHARES = (1 / 40, 1 / 12, 1 / 5)  # of the budget of steps, that a trial of each round has
SMALL, LARGE = 400, 1000  # from a budget of LARGE on, the first rounds are those of a SMALL one
WIDTHS = (1.0, 0.5, 0.5)  # decades between the rates of a round
MOST = (8, 5, 5)  # trials of a round; widths and numbers of later rounds are the last
SHORTEST = 3  # steps that say anything
LOWEST, HIGHEST = -10.0, 3.0  # log10 of the rates that are tried
TAIL = 1 / 3  # share of a trial's steps, the last, whose mean loss is its score
ROUNDS, LONGER = 5, 2.5  # at most, while nothing is learned, and how much longer the trials of another are
UNSEEN = 0.01  # share of a loss that is not to be seen in short trials
FIRST_GAINS = 50.0  # what a first step should gain, times this, is the most that a loss counts for
PLATEAU = 3.0  # of these a trial must gain, or it has learned nothing
FLAT = 0.02  # losses are taken as equal within so much of what the best trial gained,
EQUAL = 0.1  # and of the loss itself


class OutOfTimeError(Exception):
    """There is no time left for another trial."""


@dataclass(frozen=True)
class RateTrial:
    """A short training at one rate.

    Attributes:
        rate: Learning rate.
        steps: Optimizer steps that it was to have.
        losses: Mean training loss of each step, before its update; fewer than `steps` where it diverged.
        held_out: Losses at its end of mini-batches that it was not trained on, where some were set aside.
        diverged: Whether a loss was not finite, or far above those before training.
        dead: Whether, at its end, no gradient reached most of what it trains, all its ReLUs being off, say.
    """

    rate: float
    steps: int
    losses: tuple[float, ...]
    diverged: bool = False
    held_out: tuple[float, ...] = ()
    dead: bool = False

    @property
    def loss(self) -> float:
        """Mean of the losses held out, else of its last third of steps; infinite where it diverged."""
        if self.diverged or not self.losses:
            return math.inf
        tail = np.array(self.held_out or self.losses[-max(1, round(TAIL * self.steps)) :])
        low, middle, high = np.quantile(tail, (0.25, 0.5, 0.75))
        reach = 3.0 * (high - low)  # a spike is counted as no more than this
        return float(np.clip(tail, middle - reach, middle + reach).mean())


Try = Callable[[float, int], RateTrial]


@dataclass(frozen=True)
class Scale:
    """Losses of mini-batches before training.

    Attributes:
        untrained: Their mean.
        spread: Their standard deviation.
        first_gain: By how much the first step should lower one, at its best length.
    """

    untrained: float
    spread: float = 0.0
    first_gain: float = math.inf

    @property
    def flat(self) -> float:
        """How much of a loss says nothing, however often it is measured.

        A share of the loss; of one that is nearly all constant, of what of it training can change.
        """
        return UNSEEN * max(min(abs(self.untrained), FIRST_GAINS * self.first_gain), self.spread)


@dataclass
class Found:
    """What the rounds have found: every trial, and `log10` of the best rate with its span."""

    trials: list[RateTrial] = field(default_factory=list)
    best: float = math.nan
    low: float = math.nan
    high: float = math.nan
    steps: int = 0  # of the trials that it is taken from
    rounds: int = 0  # that were finished
    in_time: bool = True  # whether the last was finished before time was up
    plateau: bool = False  # whether none of them has learned anything

    @property
    def alike(self) -> bool:
        """Whether the longest trials have the same losses to the bit, at whatever rate: they say nothing."""
        longest = {(t.losses, t.held_out) for t in self.trials if t.steps == self.steps}
        return len(longest) == 1


def lengths_of(budget: int) -> list[int]:
    """Return the steps of a trial in each round, of a budget of steps for all of them."""
    if budget < LARGE:
        return [round(share * budget) for share in SHARES]
    return [*lengths_of(SMALL), round(SHARES[-1] * budget)]


def search(attempt: Try, centre: float, budget: int, planned: int, scale: Scale) -> Found:
    """Search for the rate with the lowest loss.

    Args:
        attempt: Trains for a number of steps at a rate. May raise `OutOfTimeError`.
        centre: `log10` of the rate to begin with.
        budget: Optimizer steps of all trials together, about.
        planned: Steps of the real training: no trial is longer, but for `SHORTEST`.
        scale: Of the losses before training.

    Returns:
        What was found when the last round was finished, or time was up.
    """
    found = Found()
    lengths = lengths_of(budget)
    for number in range(ROUNDS):
        if number >= len(lengths):
            if not found.plateau:
                break
            lengths.append(round(LONGER * lengths[-1]))
        steps = max(SHORTEST, min(lengths[number], planned))
        if number > 1 and steps == found.steps:
            break
        place = min(number, len(SHARES) - 1)
        try:
            this = _Round(attempt, found, centre, WIDTHS[place], MOST[place], steps, scale)
            this.climb()
        except OutOfTimeError:
            found.in_time = False
            if len(this.tried) >= 3 or not found.rounds:
                this.conclude()
            break
        this.conclude()
        found.rounds += 1
        if not math.isfinite(found.best):
            break
        centre = found.best
    return found


@dataclass
class _Round:
    """Trials of one length, at a centre and whole steps of `width` decades from it."""

    attempt: Try
    found: Found
    centre: float
    width: float
    most: int
    steps: int
    scale: Scale
    tried: dict[int, RateTrial] = field(default_factory=dict)

    def climb(self) -> None:
        """Try the centre and its neighbours, then further ones on the side where the best lies at the end."""
        for place in (0, -1, 1):
            self._try(place)
        while len(self.tried) < self.most:
            low, high = min(self.tried), max(self.tried)
            best = self.best()
            if best is None or best == low:
                place = low - 1
            elif best == high:
                place = high + 1
            else:
                return
            if not LOWEST <= self.centre + self.width * place <= HIGHEST:
                return
            self._try(place)

    def _try(self, place: int) -> None:
        self.tried[place] = self.attempt(10.0 ** (self.centre + self.width * place), self.steps)
        self.found.trials.append(self.tried[place])

    def losses(self) -> dict[int, float]:
        """Return the losses of the trials that did not diverge, by place in ascending order."""
        return {p: loss for p in sorted(self.tried) if math.isfinite(loss := self.tried[p].loss)}

    def gained(self, losses: dict[int, float]) -> float:
        """Return by how much the least of these losses is below that before training."""
        return max(self.scale.untrained - min(losses.values()), 0.0)

    def nothing_learned(self, losses: dict[int, float]) -> bool:
        """Whether the least of these losses is no better than before training."""
        return self.gained(losses) < PLATEAU * self.scale.flat

    def alive(self, losses: dict[int, float]) -> dict[int, float]:
        """Return the losses of networks that can still learn: all of them where none can."""
        return {p: loss for p, loss in losses.items() if not self.tried[p].dead} or losses

    def best(self) -> int | None:
        """Return the place of the lowest loss; where nothing was learned, of the highest harmless rate."""
        losses = self.losses()
        if not losses:
            return None
        if not self.nothing_learned(losses):
            return min(losses, key=lambda place: (losses[place], -place))
        alive = self.alive(losses)
        if all(self.tried[place].dead for place in alive):
            return min(alive)
        least = min(alive.values())
        return max(place for place, loss in alive.items() if loss <= least + self.scale.flat)

    def conclude(self) -> None:
        """Put the best rate and its span into what was found; nothing where all trials diverged."""
        best, losses = self.best(), self.losses()
        if best is None:
            return
        self.found.plateau = self.nothing_learned(losses)
        if self.found.plateau:
            losses = self.alive(losses)
        exact = float(best) if self.found.plateau else best + self._vertex(best, losses)
        equal = min(FLAT * self.gained(losses), EQUAL * abs(losses[best]))
        equal = self.scale.flat if self.found.plateau else equal
        near = [place for place, loss in losses.items() if loss <= losses[best] + equal]
        self.found.best = self.centre + self.width * exact
        self.found.low = self.centre + self.width * min(*near, exact)
        self.found.high = self.centre + self.width * max(*near, exact)
        self.found.steps = self.steps

    def _vertex(self, best: int, losses: dict[int, float]) -> float:
        """Return where a parabola through the best place and its neighbours is least, within half a step.

        A neighbour that diverged counts as one that has learned nothing; beside one that was not tried there
        is no parabola.
        """
        if best - 1 not in self.tried or best + 1 not in self.tried:
            return 0.0
        worst = max(self.scale.untrained, *losses.values())
        left, right = losses.get(best - 1, worst), losses.get(best + 1, worst)
        bend = left - 2.0 * losses[best] + right
        return float(np.clip((left - right) / (2.0 * bend), -0.5, 0.5)) if bend > 0 else 0.0
