"""What the axes share that change numbers in an optimizer's parameter groups."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch.optim import Optimizer

from hypernudge.episodes import checks

Saved = list[tuple[dict[str, Any], str, Any]]
"""Group, key and the user's own value of everything that was changed."""


class GroupAxis:
    """An axis whose candidates scale a number in every parameter group; a candidate of 1 touches nothing.

    Args:
        candidates: The values, see the subclass.

    Raises:
        ValueError: ``candidates`` is empty or holds a value out of range.
    """

    name: str
    tag: str
    argument: ClassVar[str]
    zero_allowed: ClassVar[bool] = False
    whole_episode = False
    one_is_neutral = True

    def __init__(self, candidates: Sequence[float]) -> None:
        self.candidates = checks.candidates(self.argument, candidates, zero_allowed=self.zero_allowed)

    def change(self, group: dict[str, Any], value: float, saved: Saved) -> None:
        """Scale one group's number by ``value`` and note in ``saved`` what it was."""
        raise NotImplementedError

    def apply(self, optimizer: Optimizer, value: float) -> Saved | None:
        """Scale every group's number; return the groups with their own values."""
        if value == 1.0:
            return None
        saved: Saved = []
        for group in optimizer.param_groups:
            self.change(group, value, saved)
        return saved

    def undo(self, optimizer: Optimizer, token: Saved) -> None:
        """Put the groups' own values back."""
        del optimizer
        for group, key, value in token:
            group[key] = value
