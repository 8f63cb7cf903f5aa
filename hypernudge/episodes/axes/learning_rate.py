"""The learning-rate axis."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes.axes.group_axis import GroupAxis, Saved


class LearningRate(GroupAxis):
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
    argument = "lr_candidates"

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

    def change(self, group: dict[str, Any], value: float, saved: Saved) -> None:
        """Multiply the group's rate."""
        base = group["lr"]
        if not isinstance(base, Tensor):
            base = float(base)
            saved.append((group, "lr", base))
            group["lr"] = base * value
        elif not any(other["lr"] is base for other, _, _ in saved):  # one tensor may serve several groups
            with torch.no_grad():
                saved.append((group, "lr", base.clone()))
                base.mul_(value)

    def undo(self, optimizer: Optimizer, token: Saved) -> None:
        """Put the base rates back."""
        del optimizer
        for group, key, base in token:
            if isinstance(base, Tensor):
                with torch.no_grad():
                    group[key].copy_(base)
            else:
                group[key] = base
