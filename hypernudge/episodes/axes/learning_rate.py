"""The learning-rate axis."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.param_group_axis import ParamGroupAxis, Saved, check_number

REMEDY = "set a rate (Adafactor: lr=1e-3, relative_step=False), or steer another axis"


class LearningRate(ParamGroupAxis):
    """Multiplies the learning rate of every parameter group during a step.

    A rate stored as a tensor is multiplied in place on its own device and copied back afterwards: the
    tensor a captured or compiled step refers to stays the same object, and nothing waits for the
    device. A multiplier of exactly 1 touches nothing.

    Args:
        candidates: Multipliers, all above 0.

    Raises:
        ValueError: `candidates` is empty or holds a value that is not above 0, not finite or there twice.
    """

    name = "lr"
    tag = "lr"
    argument = "lr_candidates"

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer whose groups have no rate to multiply; 0, as a warm-up begins with, is one.

        Raises:
            ValueError: A parameter group lacks the key, or its rate is None: the optimizer finds its own.
        """
        for index, group in enumerate(optimizer.param_groups):
            if "lr" not in group:
                name = f"optimizer {type(optimizer).__name__}"
                rule = f"must have 'lr' in parameter group {index}"
                checks.refuse(name, rule, sorted(set(group) - {"params"}), "drop the learning-rate axis")
            if self.candidates != (self.neutral,):
                check_number(optimizer, "lr", index, group["lr"], REMEDY)

    def change(self, group: dict[str, Any], value: float, saved: Saved) -> None:
        """Multiply the group's rate."""
        base = group["lr"]
        if base is None:  # of a group that was added later
            checks.refuse("optimizer", "must have a number as 'lr' in every parameter group", base, REMEDY)
        if not isinstance(base, Tensor):
            saved.append((group, "lr", base))
            group["lr"] = float(base) * value
        elif not any(other["lr"] is base for other, _, _ in saved):  # one tensor may serve several groups
            with torch.no_grad():
                saved.append((group, "lr", base.clone()))
                base.mul_(value)

    def undo(self, optimizer: Optimizer, token: Saved) -> None:
        """Put the base rates back."""
        del optimizer
        for group, key, base in reversed(token):
            if isinstance(base, Tensor):
                with torch.no_grad():
                    group[key].copy_(base)
            else:
                group[key] = base
