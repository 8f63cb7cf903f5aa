"""The alignment rules for many members at once, held by the tests to the library's on a real optimizer."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.episodes_effect.rules import DOWN, START, UP, Floats, Signals, Wanted
from hypernudge.episodes.controllers.overall import NEWEST
from hypernudge.episodes.controllers.step_bounds import (
    DRAWN,
    DRAWN_EARLY,
    EARLY,
    LEAST_AGREEMENT,
    MOST,
    SIGNAL,
    SMALL,
    StepBounds,
)

Bools = NDArray[np.bool_]
UNKNOWN = 1e300  # a size that is not known


class Look(NamedTuple):
    """What a look sees, each of shape `(members,)`: of members whose look is `due`, of others nothing."""

    tick: int
    due: Bools
    z: Floats
    taken: NDArray[np.int64]
    size: Floats
    last: Floats
    unit: Floats
    agreed: Floats


class AlignedMembers:
    """The rule of `hypernudge.episodes.Alignment` for many members at once; every coordinate is probed.

    Args are those of that class; their defaults are the rule as it was first measured.
    """

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
        settled_every: int = 8,
        settled_steps: int = 1000,
        look_every: int = 1,
        lag: int = 1,
        low: float = 1e-4,
        high: float = 1e4,
        bounds: StepBounds | None = None,
    ) -> None:
        self.wants: Wanted = "cosines" if bounds is None else "sizes"
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
        self._settled_every, self._settled_steps, self._bounds = settled_every, settled_steps, bounds
        self._log_size, self._sized = np.zeros(members), np.zeros(members, dtype=int)
        self._size = np.full(members, np.nan)  # geometric mean over the updates that have been looked at
        self._unit = np.full(members, np.nan)  # logarithm of the size at multiplier 1, of what was looked at
        self._next_unit = self._unit.copy()
        self._agreed = np.zeros((3, members))  # sums of the cosines looked at and of squares, and how many
        self._next_agreed = self._agreed.copy()
        self._tested, self._is_test = np.zeros(members, dtype=int), np.zeros(members, dtype=bool)
        self._looks: list[Look] = []

    def before(self, step: int) -> Floats:
        """Return the multipliers in force."""
        del step
        return self.multipliers

    def after(self, losses: Floats, signals: Signals) -> None:
        """Take the probes in, look where a look is due, change the multipliers where a verdict is in."""
        del losses
        cosines = signals.cosines
        assert cosines is not None  # the engine hands them over to rules that want them
        short = self._warmup_samples if self._bounds is None else self._samples
        limit = np.where(self._warmup, short, self._samples)
        limit = np.where(self._at_base, self._base_samples, limit)
        judged = self._has_update & (self._taken < limit)
        usable = judged & np.isfinite(cosines)
        self._taken = self._taken + judged
        h = np.where(usable, cosines, 0.0)
        self._sum, self._square = self._sum + h, self._square + h * h
        last = self._measure(signals.sizes, judged)
        self._next_agreed = self._next_agreed + np.stack([h, h * h, usable])
        due = judged & ((self._taken % self._look_every == 0) | (self._taken == limit))
        due &= (self._taken >= self._min_samples) | (last < math.inf)
        root = np.sqrt(self._square)
        z = np.divide(self._sum, root, out=np.zeros_like(root), where=root > 0)
        size = np.exp(self._log_size / np.maximum(self._sized, 1))
        size = np.where(self._sized > 0, size, np.nan)
        self._looks.append(
            Look(self._tick, due, z, self._taken, size, last, self._next_unit, self._next_agreed)
        )
        rarer = min(max(1, self._tick // self._settled_steps), self._settled_every)
        apart = self._every * np.where(self._warmup, 1, rarer)
        probing = (self._tick % apart == 0) & (self._taken < limit)
        self._tick += 1
        verdict = np.full(len(z), np.nan)
        while self._looks and self._looks[0].tick + self._lag < self._tick:
            look = self._looks.pop(0)
            self._size = np.where(look.due, look.size, self._size)
            self._unit = np.where(look.due, look.unit, self._unit)
            self._agreed = np.where(look.due, look.agreed, self._agreed)
            says = self._judged(look, limit)
            verdict = np.where(look.due & np.isnan(verdict), says, verdict)
        self._has_update = probing
        self._close(verdict)

    def _measure(self, sizes: Floats | None, judged: Bools) -> Floats:
        """Take in the sizes of updates; return the last ones of those that never fell, elsewhere infinity."""
        if self._bounds is None or sizes is None:
            return np.full(len(judged), math.inf)
        known = judged & np.isfinite(sizes) & (sizes > 0)
        logarithm = np.log(np.where(known, sizes, 1.0))
        self._log_size = self._log_size + logarithm
        self._sized = self._sized + known
        unit = logarithm - np.log(self.multipliers)
        mean = self._next_unit + NEWEST * (unit - self._next_unit)
        mean = np.where(np.isnan(self._next_unit), unit, mean)
        self._next_unit = np.where(known, mean, self._next_unit)
        return np.where(known & ~self._fell, sizes, np.where(judged & ~self._fell, UNKNOWN, math.inf))

    def _judged(self, look: Look, limit: NDArray[np.int64]) -> Floats:
        """Return the verdicts, NaN where there is none yet."""
        rise, fall = self._thresholds()
        gives_up, most = self._warmup, np.array(math.inf)
        if self._bounds is not None:
            small = self._small
            fall = np.where(small, self._bounds.z_small, fall)
            gives_up, most = small, np.minimum(self._bounds.most, MOST * self._usual)
            limit = np.where(small, np.minimum(limit, self._warmup_samples), limit)
        says = np.where(look.z > rise, self._up, np.where(look.z < -fall, self._down, np.nan))
        undecided = np.where(gives_up & (look.z > self._z_warmup), self._up, 1.0)
        says = np.where(np.isnan(says) & (look.taken >= limit), undecided, says)
        says = np.where((says > 1.0) & (look.size * self._up > most), 1.0, says)
        says = np.where(look.taken >= self._min_samples, says, np.nan)
        test = np.full(len(says), True)
        if self._bounds is not None:
            leaps = look.last < self._bounds.least / self._up
            says = np.where(leaps, np.minimum(self._bounds.leap, self._bounds.least / look.last), says)
            brakes = (self._tested == 0) & (look.last > 2.0 * self._bounds.first) & (look.last < UNKNOWN)
            says = np.where(brakes, self._bounds.first / look.last, says)
            test = ~leaps & ~brakes
        new = look.due & ~np.isnan(says)
        self._is_test = np.where(new, test, self._is_test)
        return says

    @property
    def _small(self) -> Bools:
        """Who hardly moves, and never fell."""
        if self._bounds is None:
            return np.zeros(len(self._fell), dtype=bool)
        small: Bools = (self._size < np.minimum(self._bounds.small, SMALL * self._usual)) & ~self._fell
        return small

    @property
    def _usual(self) -> Floats:
        """The usual size of updates at a peak."""
        assert self._bounds is not None
        total, squares, probes = self._agreed
        worth = self._bounds.expected_probes
        mean = (total + worth * self._bounds.expected) / np.maximum(probes + worth, 1e-300)
        noise = np.sqrt(squares / np.maximum(probes, 1))
        least = np.maximum(SIGNAL * noise, LEAST_AGREEMENT)
        usual: Floats = self._bounds.per_agreement * np.maximum(mean, least)
        return usual

    @property
    def _at_base(self) -> Bools:
        at_base: Bools = (self.multipliers == 1.0) & (self._z_at_base is not None)
        return at_base

    @property
    def _warmup(self) -> Bools:
        warmup: Bools = (self.multipliers < 1.0) & ~self._fell & (self._z_at_base is not None)
        return warmup

    def _thresholds(self) -> tuple[Floats, Floats]:
        back, again = self._z_recover or self._z_up, self._z_above_base or self._z_up
        rise = np.where(self._fell, np.where(self.multipliers < 1.0, back, again), self._z_up)
        leave_up, leave_down = self._z_at_base or (0.0, 0.0)
        return np.where(self._at_base, leave_up, rise), np.where(self._at_base, leave_down, self._z_down)

    def _close(self, verdict: Floats) -> None:
        over = ~np.isnan(verdict)
        falls = over & (verdict < 1.0) & self._is_test
        verdict = np.where(falls & ~self._fell, self._first_down, verdict)
        self._fell = self._fell | falls
        self._tested = self._tested + (over & self._is_test)
        changed = np.clip(self.multipliers * np.where(over, verdict, 1.0), self._low, self._high)
        if self._z_at_base is not None:
            changed = np.where((self.multipliers - 1.0) * (changed - 1.0) < 0, 1.0, changed)
        self.multipliers = np.where(over, changed, self.multipliers)
        self._taken = np.where(over, 0, self._taken)
        self._sum, self._square = np.where(over, 0.0, self._sum), np.where(over, 0.0, self._square)
        self._has_update = self._has_update & ~over
        self._log_size, self._sized = np.where(over, 0.0, self._log_size), np.where(over, 0, self._sized)
        self._size = np.where(over, np.nan, self._size)
        self._next_unit = np.where(over, self._unit, self._next_unit)
        self._next_agreed = np.where(over, self._agreed, self._next_agreed)
        self._looks = [look._replace(due=look.due & ~over) for look in self._looks]


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

    @property
    def peaks(self) -> Floats:
        """The multipliers from which members are annealed; 0 of those that still search."""
        return self._top

    @property
    def starts(self) -> NDArray[np.int64]:
        """The steps from which they are; the number of steps of those that still search."""
        return self._start

    def before(self, step: int) -> Floats:
        """Return the multipliers found, or what is left of them."""
        way = np.clip((step - self._start) / np.maximum(self._steps - self._start, 1), 0.0, 1.0)
        return np.where(step >= self._start, self._top * (1.0 - way), self.multipliers)

    def _close(self, verdict: Floats) -> None:
        step = self._tick  # steps taken, this one included
        stays = (self._at_base & (self._taken >= self._samples)) | self._stood
        settled = stays & ~(self._warmup if self._bounds is None else self._small)
        searching = self._start == self._steps
        over = searching & ((step >= self._second) | ((step >= self._first) & settled))
        stood = ((verdict == 1.0) & ~self._small) | ((verdict < 1.0) & self._fell)
        super()._close(verdict)
        self._stood = np.where(np.isnan(verdict), self._stood, stood)
        self._start = np.where(over, step, self._start)
        self._top = np.where(over, self._found_peak(), self._top)

    def _found_peak(self) -> Floats:
        """Return the multipliers to anneal from."""
        top: Floats = self.multipliers * self._peak
        if self._bounds is None:
            return top
        size = np.exp(self._unit) * top
        bound = np.where(self._agreed[2] >= EARLY, DRAWN, DRAWN_EARLY)
        factor = np.clip((self._usual / size) ** self._bounds.weight, 1.0 / bound, bound)
        drawn = top * np.maximum(np.minimum(factor, self._bounds.most / size), 1.0 / bound)
        return np.where(np.isnan(self._unit), top, np.clip(drawn, self._low, self._high))
