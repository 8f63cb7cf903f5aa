"""The learning-rate axis."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks


class LearningRate:
    """Multiplies the learning rate of every parameter group during a step.

    A rate stored as a tensor is multiplied in place on its own device and copied back afterwards: the
    tensor a captured or compiled step refers to stays the same object, and nothing waits for the
    device. A multiplier of exactly 1 touches nothing.

    Args:
        candidates: Multipliers, all above 0.

    Raises:
        ValueError: ``candidates`` is empty or holds a value that is not above 0.
    """

    name = "lr"
    tag = "lr"
    whole_episode = False
    one_is_neutral = True

    def __init__(self, candidates: Sequence[float]) -> None:
        self.candidates = checks.candidates("lr_candidates", candidates, zero_allowed=False)

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer whose groups have no ``lr``.

        Raises:
            ValueError: A parameter group lacks the key.
        """
        for index, group in enumerate(optimizer.param_groups):
            if "lr" not in group:
                raise ValueError(
                    f"optimizer has no 'lr' in parameter group {index}; "
                    f"{type(optimizer).__name__} cannot be steered by a learning-rate axis."
                )

    def apply(self, optimizer: Optimizer, value: float) -> list[tuple[dict[str, Any], Any]] | None:
        """Multiply every rate; return the groups with their base rates."""
        if value == 1.0:
            return None
        saved: list[tuple[dict[str, Any], Any]] = []
        shared: set[int] = set()
        for group in optimizer.param_groups:
            base = group["lr"]
            if isinstance(base, Tensor):
                if id(base) in shared:  # one tensor may serve several groups
                    continue
                shared.add(id(base))
                with torch.no_grad():
                    saved.append((group, base.clone()))
                    base.mul_(value)
            else:
                base = float(base)
                saved.append((group, base))
                group["lr"] = base * value
        return saved

    def undo(self, optimizer: Optimizer, token: list[tuple[dict[str, Any], Any]]) -> None:
        """Put the base rates back."""
        del optimizer
        for group, base in token:
            if isinstance(base, Tensor):
                with torch.no_grad():
                    group["lr"].copy_(base)
            else:
                group["lr"] = base
