"""What the axes share that change numbers in an optimizer's parameter groups."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Phase

Saved = list[tuple[dict[str, Any], str, Any]]
"""Group, key and the user's own value of everything that was changed."""


class ParamGroupAxis:
    """An axis whose candidates change a number in every parameter group.

    They scale it, and `neutral`, a candidate of 1, touches nothing. A subclass whose candidates are values
    as such sets `neutral = None`, and every candidate is applied.

    Args:
        candidates: The values, see the subclass.

    Raises:
        ValueError: `candidates` is empty or holds a value out of range or twice.
    """

    name: str
    tag: str
    argument: ClassVar[str]
    zero_allowed: ClassVar[bool] = False
    phase: Phase = "step"
    neutral: float | None = 1.0

    def __init__(self, candidates: Sequence[float]) -> None:
        def allowed(value: float) -> bool:
            return value > 0 or (value == 0 and self.zero_allowed)

        rule = "0 or above" if self.zero_allowed else "above 0"
        self.candidates = checks.candidates(self.argument, candidates, allowed, rule)

    def check(self, optimizer: Optimizer) -> None:
        """Accept every optimizer, unless the subclass knows better."""

    def keys(self, optimizer: Optimizer) -> set[str]:
        """Return the entries of the parameter groups that the axis changes: tried, and put back."""
        saved: Saved = []
        value = next((value for value in self.candidates if value != self.neutral), None)
        if value is not None:
            try:
                for group in optimizer.param_groups:
                    self.change(group, value, saved)
            finally:
                self.undo(optimizer, saved)
        return {key for _, key, _ in saved}

    def change(self, group: dict[str, Any], value: float, saved: Saved) -> None:
        """Change one group's number by `value` and note in `saved` what it was."""
        raise NotImplementedError

    def apply(self, optimizer: Optimizer, value: float) -> Saved | None:
        """Change every group's number; return the groups with their own values."""
        if value == self.neutral:
            return None
        saved: Saved = []
        try:
            for group in optimizer.param_groups:
                self.change(group, value, saved)
        except BaseException:
            self.undo(optimizer, saved)
            raise
        return saved

    def undo(self, optimizer: Optimizer, token: Saved) -> None:
        """Put the groups' own values back."""
        del optimizer
        for group, key, value in reversed(token):
            group[key] = value


def check_number(optimizer: Optimizer, key: str, index: int, value: Any, remedy: str) -> None:
    """Refuse what cannot be scaled in place of a number: None, where an optimizer finds the value itself.

    Raises:
        ValueError: `value` is neither a number nor a tensor of one element.
    """
    if isinstance(value, Tensor):
        right = value.numel() == 1
    else:
        right = isinstance(value, numbers.Real) and math.isfinite(value)
    if not right:
        name = f"optimizer {type(optimizer).__name__}"
        checks.refuse(name, f"must have a number as {key!r} in parameter group {index}", value, remedy)
