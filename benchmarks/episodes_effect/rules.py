"""How each method sets the learning rates of many members at once: one multiplier per member and step.

Bandits are the library's own controllers, one per member; for alignment see `aligned`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

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


Wanted = Literal["nothing", "cosines", "sizes"]


class Signals(NamedTuple):
    """What the parameters and gradients of a step say, each of shape `(members,)`, NaN where undefined.

    Attributes:
        cosines: Of the descent direction with the update before it.
        sizes: Norm of that update over the norm of the parameters it led to.
    """

    cosines: Floats | None = None
    sizes: Floats | None = None


class Rule(Protocol):
    """Sets multipliers before a step and learns after it.

    Attributes:
        wants: What `after` is to be given of the step: nothing, `cosines`, or `sizes` besides.
    """

    wants: Wanted

    def before(self, step: int) -> Floats:
        """Return the multipliers of the step, shape `(members,)`."""
        ...

    def after(self, losses: Floats, signals: Signals) -> None:
        """Learn from the step.

        Args:
            losses: Shape `(members,)`, before the update.
            signals: What the rule wants to know of the step.
        """
        ...


class Scheduled:
    """The same multiplier for every member, a function of the step."""

    wants: Wanted = "nothing"

    def __init__(self, members: int, factor: Callable[[int], float]) -> None:
        self._members, self._factor = members, factor

    def before(self, step: int) -> Floats:
        """Return the factor of the step for everybody."""
        return np.full(self._members, self._factor(step))

    def after(self, losses: Floats, signals: Signals) -> None:
        """Learn nothing."""


class Scaled:
    """A rule whose multipliers are multiplied by a constant of each member's own.

    Args:
        rule: The rule.
        factors: Shape `(members,)`.
    """

    def __init__(self, rule: Rule, factors: Floats) -> None:
        self.wants: Wanted = rule.wants
        self._rule, self._factors = rule, factors

    def before(self, step: int) -> Floats:
        """Return the rule's multipliers of the step, times the factors."""
        return self._factors * self._rule.before(step)

    def after(self, losses: Floats, signals: Signals) -> None:
        """Let the rule learn."""
        self._rule.after(losses, signals)


class Bandits:
    """One controller of the library per member."""

    wants: Wanted = "nothing"

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

    def after(self, losses: Floats, signals: Signals) -> None:
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

    wants: Wanted = "nothing"

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

    def after(self, losses: Floats, signals: Signals) -> None:
        """Learn nothing."""


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
