"""What a study is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypernudge.space import SearchSpace

Direction = Literal["maximize", "minimize"]
TestPolicy = Literal["best", "every", "never"]


@dataclass(frozen=True, eq=False)
class About:
    """What a study is of.

    Attributes:
        task: The task's name.
        metric: What its score is called.
        space: Of the configurations; None where nobody knows it.
        scheduler: Name of the scheduler.
        warm_start: Name of the warm start.
        direction: Whether a larger or a smaller score is better.
        max_units: Units of the longest training.
        created: When it began, in ISO 8601; empty where nobody knows.
        family: Of the task: what it shares with tasks on the same data; empty where nobody knows.
    """

    task: str = ""
    metric: str = "score"
    space: SearchSpace | None = None
    scheduler: str = ""
    warm_start: str = "none"
    direction: Direction = "maximize"
    max_units: int | None = None
    created: str = ""
    family: str = ""

    @property
    def sign(self) -> int:
        """What scores are multiplied by so that larger is better."""
        return -1 if self.direction == "minimize" else 1
