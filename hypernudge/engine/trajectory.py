"""The training of one trial so far: its state and its scores, apart from any clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypernudge.engine.cohort import Shape
from hypernudge.engine.scored import Scored
from hypernudge.space import Config


@dataclass(eq=False)
class Trajectory:
    """What a trial has learnt so far: scores by unit (validation, test), and where it stands."""

    config: Config
    seed: int
    trial: int = 0
    scored: Callable[[Scored], None] | None = None  # is told of every unit
    scores: list[tuple[float, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # wall time by unit, its share of its cohort's
    error: str | None = None
    state: Any = None  # a Member, or the task's own state if it is trained alone
    shape: Shape | None = None
    requested_units: int = 0
    speculative_units: int = 0

    @property
    def ended(self) -> bool:
        """Whether it diverged or raised and cannot go on."""
        return self.error is not None or bool(self.scores and not math.isfinite(self.scores[-1][0]))
