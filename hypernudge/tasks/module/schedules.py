"""Learning-rate schedules inside a trial: a factor on the peak rate, by step of the study's longest training.

A schedule is a function of the step alone: a trial that is stopped early has had the beginning of it, and one
that is resumed goes on where it was. Every schedule begins with a linear warm-up over the share `warmup` of
all steps, if there is one. A configuration's own `warmup` and `final_factor` take the place of the
schedule's, so that they can be tuned.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypernudge.errors import is_real, require, require_between, require_share
from hypernudge.optimizers import setting


@dataclass(frozen=True)
class Schedule(ABC):
    """Warm-up, then a shape.

    Args:
        warmup: Share of all steps, in [0, 1), over which the rate rises linearly to its peak.

    Raises:
        InvalidArgumentError: For a share outside.
    """

    warmup: float = 0.0
    reads: ClassVar[tuple[str, ...]] = ("warmup",)

    def __post_init__(self) -> None:
        require_share("schedule.warmup", self.warmup, "0.05 is usual")

    def factor(self, step: int, steps: int, hp: Mapping[str, Any]) -> float:
        """Return the factor on the peak rate at `step`, counted from 0, of `steps`."""
        rising = round(float(setting(hp, "warmup", self.warmup)) * steps)
        if step < rising:
            return (step + 1) / rising
        return self.shape(min((step - rising) / max(steps - rising, 1), 1.0), hp)

    @abstractmethod
    def shape(self, progress: float, hp: Mapping[str, Any]) -> float:
        """Return the factor where the share `progress` of the steps after the warm-up has been made."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The peak rate throughout."""

    def shape(self, progress: float, hp: Mapping[str, Any]) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class _Falling(Schedule):
    """Falls to a share of the peak rate.

    Args:
        final_factor: That share, at least 0.

    Raises:
        InvalidArgumentError: For a negative one.
    """

    final_factor: float = 0.0
    reads: ClassVar[tuple[str, ...]] = ("warmup", "final_factor")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("schedule.final_factor", self.final_factor, 0, 1, ends=True, remedy="0 is usual")

    def final(self, hp: Mapping[str, Any]) -> float:
        """Return the factor at the end."""
        return float(setting(hp, "final_factor", self.final_factor))


@dataclass(frozen=True)
class Linear(_Falling):
    """Falls linearly to `final_factor`."""

    def shape(self, progress: float, hp: Mapping[str, Any]) -> float:
        """Return the factor."""
        return 1.0 + (self.final(hp) - 1.0) * progress


@dataclass(frozen=True)
class Cosine(_Falling):
    """Falls along half a cosine to `final_factor` (Loshchilov and Hutter 2017, without restarts)."""

    def shape(self, progress: float, hp: Mapping[str, Any]) -> float:
        """Return the factor."""
        final = self.final(hp)
        return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied by `gamma` at each of `milestones` (He et al. 2016: by .1 at half and three quarters).

    Args:
        milestones: Ascending shares, in (0, 1), of the steps after the warm-up.
        gamma: Above 0, at most 1.

    Raises:
        InvalidArgumentError: For a value out of range.
    """

    milestones: Sequence[float] = (0.5, 0.75)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.milestones
        listed = isinstance(given, Sequence) and not isinstance(given, str) and all(map(is_real, given))
        ok = listed and all(0 < share < 1 for share in given) and sorted(given) == list(given)
        remedy = "write [0.5, 0.75]"
        require(ok, "schedule.milestones", "must be ascending shares in (0, 1)", given, remedy)
        object.__setattr__(self, "milestones", tuple(given))
        inside = is_real(self.gamma) and 0 < self.gamma <= 1
        require(inside, "schedule.gamma", "must lie in (0, 1]", self.gamma, "0.1 is usual")

    def shape(self, progress: float, hp: Mapping[str, Any]) -> float:
        """Return the factor."""
        return self.gamma ** sum(progress >= share for share in self.milestones)


@dataclass(frozen=True)
class WarmupStableDecay(_Falling):
    """Constant, then linear to `final_factor` (Hu et al. 2024, MiniCPM).

    Args:
        decay: Share of the steps after the warm-up, in (0, 1], over which it falls.

    Raises:
        InvalidArgumentError: For a share outside.
    """

    decay: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = is_real(self.decay) and 0 < self.decay <= 1
        require(inside, "schedule.decay", "must lie in (0, 1]", self.decay, "0.2 is usual")

    def shape(self, progress: float, hp: Mapping[str, Any]) -> float:
        """Return the factor."""
        fallen = max(progress - (1.0 - self.decay), 0.0) / self.decay
        return 1.0 + (self.final(hp) - 1.0) * fallen
