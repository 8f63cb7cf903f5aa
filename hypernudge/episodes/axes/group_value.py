"""Axes on other numbers that optimizers keep in their parameter groups."""

from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes.axes.param_group_axis import ParamGroupAxis, Saved, check_number
from hypernudge.errors import InvalidArgumentError


class WeightDecay(ParamGroupAxis):
    """Multiplies the weight decay of every parameter group; groups without decay stay without.

    Args:
        candidates: Multipliers, all 0 or above.

    Raises:
        ValueError: `candidates` is empty or holds a value that is negative, not finite or there twice.
    """

    name = "weight_decay"
    tag = "wd"
    argument = "weight_decay candidates"
    zero_allowed = True

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer on which the axis would do nothing.

        Raises:
            ValueError: No group has a weight decay other than 0.
        """
        if not any(group.get("weight_decay") for group in optimizer.param_groups):
            raise InvalidArgumentError(
                "optimizer: must have a parameter group with a weight_decay above 0, to be multiplied, but "
                f"got {type(optimizer).__name__} without one; set one, or drop the WeightDecay axis"
            )
        for index, group in enumerate(optimizer.param_groups):
            decay = group.get("weight_decay")
            if decay:
                check_number(optimizer, "weight_decay", index, decay, "set one, or drop the axis")

    def change(self, group: dict[str, Any], value: float, saved: Saved) -> None:
        """Multiply the group's decay."""
        base = group.get("weight_decay")
        if base:
            saved.append((group, "weight_decay", base))
            group["weight_decay"] = base * value


class Momentum(ParamGroupAxis):
    """Stretches the memory of the first moment: `1 - beta` is divided by the candidate.

    Works on `momentum` (SGD, RMSprop) and on the first of `betas` (the Adam family). A horizon factor of
    2 turns 0.9 into 0.95, 0.5 turns it into 0.8; factors below `1 - beta` switch momentum off.
    Adam's bias correction keeps using the step count with the beta of the moment, which is exact only for a
    constant beta; the difference fades with `beta^t`.

    Args:
        candidates: Horizon factors, all above 0.

    Raises:
        ValueError: `candidates` is empty or holds a value that is not above 0, not finite or there twice.
    """

    name = "momentum"
    tag = "mom"
    argument = "momentum candidates"

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer without momentum.

        Raises:
            ValueError: No group has `betas` or a `momentum` above 0.
        """
        if not any("betas" in group or group.get("momentum") for group in optimizer.param_groups):
            raise InvalidArgumentError(
                f"optimizer: must have a momentum, but got {type(optimizer).__name__} with neither betas nor "
                "a momentum above 0 in any parameter group; set momentum, or drop the Momentum axis"
            )
        for index, group in enumerate(optimizer.param_groups):
            if "betas" in group:
                check_number(optimizer, "betas[0]", index, group["betas"][0], "set it, or drop the axis")
            elif group.get("momentum"):
                check_number(optimizer, "momentum", index, group["momentum"], "set it, or drop the axis")

    def change(self, group: dict[str, Any], value: float, saved: Saved) -> None:
        """Stretch the group's first moment."""
        if "betas" in group:
            betas = group["betas"]
            saved.append((group, "betas", betas))
            group["betas"] = (_stretch(betas[0], value), *betas[1:])
        elif group.get("momentum"):
            saved.append((group, "momentum", group["momentum"]))
            group["momentum"] = _stretch(group["momentum"], value)


def _stretch(beta: Any, factor: float) -> Any:
    stretched = 1.0 - (1.0 - beta) / factor
    return max(stretched, 0.0) if isinstance(stretched, float) else stretched.clamp(min=0.0)
