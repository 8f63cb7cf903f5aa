"""How each method sets the learning rates of many members at once: one multiplier per member and step.

Bandits are the library's own controllers, one per member. The alignment rule is vectorised over members; the
tests hold it to `hypernudge.episodes.Alignment` attached to a real optimizer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hypernudge.episodes import EmaLogReward, GradientNoise, LearningRate
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.bandit_controller import BanditController
from hypernudge.episodes.controllers.build import bandit_controller
from hypernudge.episodes.pulseopt.bandits import published_slots
from hypernudge.episodes.records import Selection
from hypernudge.random import integer

Floats = NDArray[np.float64]

RATES = (0.5, 1.0, 2.0)
EPISODE = 10
START, UP, DOWN = 0.01, 2.0, 0.7
WARMUP_STEPS = 4  # per doubling: the soonest that three samples can speak for growth


class Rule(Protocol):
    """Sets multipliers before a step and learns after it.

    Attributes:
        wants_cosines: Whether `after` is to be given the cosines of the step.
    """

    wants_cosines: bool

    def before(self, step: int) -> Floats:
        """Return the multipliers of the step, shape `(members,)`."""
        ...

    def after(self, losses: Floats, cosines: Floats | None) -> None:
        """Learn from the step.

        Args:
            losses: Shape `(members,)`, before the update.
            cosines: Shape `(members,)`, of the descent direction with the update before; NaN where undefined.
        """
        ...


class Scheduled:
    """The same multiplier for every member, a function of the step."""

    wants_cosines = False

    def __init__(self, members: int, factor: Callable[[int], float]) -> None:
        self._members, self._factor = members, factor

    def before(self, step: int) -> Floats:
        """Return the factor of the step for everybody."""
        return np.full(self._members, self._factor(step))

    def after(self, losses: Floats, cosines: Floats | None) -> None:
        """Learn nothing."""


class Bandits:
    """One controller of the library per member."""

    wants_cosines = False

    def __init__(self, controllers: Sequence[BanditController]) -> None:
        self._controllers = list(controllers)
        self._open: list[Selection] = []
        self._losses: list[Floats] = []
        self._multipliers = np.ones(len(self._controllers))

    def before(self, step: int) -> Floats:
        """Open an episode where none is open; return the multipliers in force."""
        del step
        if not self._open:
            self._open = [controller.open() for controller in self._controllers]
            self._multipliers = np.array([selection.values[0] for selection in self._open])
        return self._multipliers

    def after(self, losses: Floats, cosines: Floats | None) -> None:
        """Close the episodes when they are complete; all members' are equally long."""
        self._losses.append(losses)
        if self._controllers[0].is_complete(len(self._losses)):
            rows = np.stack(self._losses, axis=1).tolist()
            for controller, selection, row in zip(self._controllers, self._open, rows, strict=True):
                controller.close(selection, row)
            self._open, self._losses = [], []


class RandomArms:
    """The warm-up of the alignment rule at its fastest, then arms at random: what adapting must beat.

    Args:
        seeds: One per member.
        arms: Factors drawn from after the warm-up, uniformly.
        compounding: Multiply up what was drawn (a random walk), or let each episode start from 1.
        weights: Probabilities of the arms; None for uniform.
    """

    wants_cosines = False

    def __init__(
        self,
        seeds: Sequence[int],
        arms: Sequence[float],
        *,
        compounding: bool,
        weights: Sequence[float] | None = None,
    ) -> None:
        self._rngs = [random.Random(integer(seed, "random arms")) for seed in seeds]
        self._arms, self._weights, self._compounding = list(arms), weights, compounding
        self._multipliers = np.full(len(self._rngs), START)
        self._walked = np.ones(len(self._rngs))
        self._warmup = WARMUP_STEPS * math.ceil(math.log(1.0 / START, UP))

    def before(self, step: int) -> Floats:
        """Return the warm-up, or what was drawn for the episode."""
        if step < self._warmup:
            return np.full(len(self._rngs), min(1.0, START * UP ** (step // WARMUP_STEPS)))
        if (step - self._warmup) % EPISODE == 0:
            drawn = np.array([rng.choices(self._arms, self._weights)[0] for rng in self._rngs])
            self._walked = self._walked * drawn if self._compounding else drawn
        return self._walked

    def after(self, losses: Floats, cosines: Floats | None) -> None:
        """Learn nothing."""


class AlignedMembers:
    """The rule of `hypernudge.episodes.Alignment` for many members at once; every coordinate is probed.

    Args are those of that class; their defaults are the rule as it was first measured.
    """

    wants_cosines = True

    def __init__(
        self,
        members: int,
        *,
        initial_multiplier: float = START,
        up: float = UP,
        down: float = DOWN,
        first_down: float | None = None,
        z_up: float = 1.7,
        z_down: float = 2.0,
        z_at_base: tuple[float, float] | None = None,
        z_recover: float | None = None,
        z_above_base: float | None = None,
        z_warmup: float = math.inf,
        samples: int = 15,
        warmup_samples: int = 15,
        base_samples: int = 15,
        min_samples: int = 1,
        every: int = 1,
        look_every: int = 1,
        lag: int = 1,
        low: float = 1e-4,
        high: float = 1e4,
    ) -> None:
        self.multipliers = np.full(members, initial_multiplier)
        self._up, self._down, self._z_up, self._z_down = up, down, z_up, z_down
        self._z_at_base, self._z_recover, self._z_above_base = z_at_base, z_recover, z_above_base
        self._first_down = down if first_down is None else first_down
        self._fell = np.zeros(members, dtype=bool)
        self._samples, self._warmup_samples, self._base_samples = samples, warmup_samples, base_samples
        self._z_warmup, self._min_samples = z_warmup, min_samples
        self._every, self._look_every, self._lag = every, look_every, lag
        self._low, self._high = low, high
        self._tick = 0
        self._taken = np.zeros(members, dtype=int)
        self._sum, self._square = np.zeros(members), np.zeros(members)
        self._has_update = np.zeros(members, dtype=bool)
        self._looks: list[tuple[int, NDArray[np.bool_], Floats, NDArray[np.int64]]] = []

    def before(self, step: int) -> Floats:
        """Return the multipliers in force."""
        del step
        return self.multipliers

    def after(self, losses: Floats, cosines: Floats | None) -> None:
        """Take the probes in, look where a look is due, change the multipliers where a verdict is in."""
        del losses
        assert cosines is not None  # the engine hands them over to rules that want them
        limit = np.where(self._warmup, self._warmup_samples, self._samples)
        limit = np.where(self._at_base, self._base_samples, limit)
        judged = self._has_update & (self._taken < limit)
        usable = judged & np.isfinite(cosines)
        self._taken = self._taken + judged
        h = np.where(usable, cosines, 0.0)
        self._sum, self._square = self._sum + h, self._square + h * h
        due = judged & ((self._taken % self._look_every == 0) | (self._taken == limit))
        due &= self._taken >= self._min_samples
        root = np.sqrt(self._square)
        z = np.divide(self._sum, root, out=np.zeros_like(root), where=root > 0)
        self._looks.append((self._tick, due, z, self._taken.copy()))
        probing = (self._tick % self._every == 0) & (self._taken < limit)
        self._tick += 1
        verdict = np.full(len(z), np.nan)
        while self._looks and self._looks[0][0] + self._lag < self._tick:
            _, asked, at, count = self._looks.pop(0)
            rise, fall = self._thresholds()
            says = np.where(at > rise, self._up, np.where(at < -fall, self._down, np.nan))
            undecided = np.where(self._warmup & (at > self._z_warmup), self._up, 1.0)
            says = np.where(np.isnan(says) & (count >= limit), undecided, says)
            verdict = np.where(asked & np.isnan(verdict), says, verdict)
        self._has_update = probing
        self._close(verdict)

    @property
    def _at_base(self) -> NDArray[np.bool_]:
        at_base: NDArray[np.bool_] = (self.multipliers == 1.0) & (self._z_at_base is not None)
        return at_base

    @property
    def _warmup(self) -> NDArray[np.bool_]:
        warmup: NDArray[np.bool_] = (self.multipliers < 1.0) & ~self._fell & (self._z_at_base is not None)
        return warmup

    def _thresholds(self) -> tuple[Floats, Floats]:
        back, again = self._z_recover or self._z_up, self._z_above_base or self._z_up
        rise = np.where(self._fell, np.where(self.multipliers < 1.0, back, again), self._z_up)
        leave_up, leave_down = self._z_at_base or (0.0, 0.0)
        return np.where(self._at_base, leave_up, rise), np.where(self._at_base, leave_down, self._z_down)

    def _close(self, verdict: Floats) -> None:
        over = ~np.isnan(verdict)
        verdict = np.where(over & (verdict < 1.0) & ~self._fell, self._first_down, verdict)
        self._fell = self._fell | (over & (verdict < 1.0))
        changed = np.clip(self.multipliers * np.where(over, verdict, 1.0), self._low, self._high)
        if self._z_at_base is not None:
            changed = np.where((self.multipliers - 1.0) * (changed - 1.0) < 0, 1.0, changed)
        self.multipliers = np.where(over, changed, self.multipliers)
        self._taken = np.where(over, 0, self._taken)
        self._sum, self._square = np.where(over, 0.0, self._sum), np.where(over, 0.0, self._square)
        self._has_update = self._has_update & ~over
        self._looks = [(tick, asked & ~over, z, count) for tick, asked, z, count in self._looks]


class AnnealedMembers(AlignedMembers):
    """The rule of `hypernudge.episodes.AnnealedAlignment` for many members at once, annealed linearly.

    Args:
        members: How many.
        steps: Steps of the training.
        search: Bounds of the end of the search, as shares of the steps.
        peak: Factor on the multiplier found.
        **options: Of `AlignedMembers`.
    """

    def __init__(
        self,
        members: int,
        steps: int,
        *,
        search: tuple[float, float],
        peak: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(members, **options)
        self._steps, self._peak = steps, peak
        self._first, self._second = (round(share * steps) for share in search)
        self._stood = np.zeros(members, dtype=bool)
        self._start = np.full(members, steps)
        self._top = np.zeros(members)

    def before(self, step: int) -> Floats:
        """Return the multipliers found, or what is left of them."""
        way = np.clip((step - self._start) / np.maximum(self._steps - self._start, 1), 0.0, 1.0)
        return np.where(step >= self._start, self._top * (1.0 - way), self.multipliers)

    def _close(self, verdict: Floats) -> None:
        step = self._tick  # steps taken, this one included
        stays = (self._at_base & (self._taken >= self._samples)) | self._stood
        settled = stays & ~self._warmup
        searching = self._start == self._steps
        over = searching & ((step >= self._second) | ((step >= self._first) & settled))
        stood = (verdict == 1.0) | ((verdict < 1.0) & self._fell)
        super()._close(verdict)
        self._stood = np.where(np.isnan(verdict), self._stood, stood)
        self._start = np.where(over, step, self._start)
        self._top = np.where(over, self.multipliers * self._peak, self._top)


def cosine_factor(steps: int) -> Callable[[int], float]:
    """Return the cosine schedule from 1 to 0 over `steps` (Loshchilov and Hutter 2017)."""
    return lambda step: 0.5 * (1.0 + math.cos(math.pi * step / steps))


def compat_controller(seed: int) -> BanditController:
    """Return the published bandit on the learning rate."""
    axes: list[Axis] = [LearningRate(RATES), GradientNoise([0.0])]
    slots = published_slots(axes, "none", conditional=False, seed=seed)
    return BanditController(axes, slots, reward=EmaLogReward(), episode_length=EPISODE)


def bandit_of_ours(seed: int) -> BanditController:
    """Return the hook-based scheduler's bandit on the learning rate."""
    return bandit_controller([LearningRate(RATES)], seed=seed, episode_length=EPISODE)
