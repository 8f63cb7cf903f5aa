"""The size of the update, for logs only: it costs a copy of the parameters and one read per step."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks


class UpdateNorm:
    """Mean Euclidean norm of the parameter change per step of an episode.

    Frozen parameters are included, and so is any change between `snapshot` and `measure`
    that the optimizer did not make.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []
        self.total = 0.0
        self.steps = 0

    def snapshot(self, optimizer: Optimizer) -> None:
        """Copy every parameter."""
        self._before = [
            parameter.detach().clone() for group in optimizer.param_groups for parameter in group["params"]
        ]

    def measure(self, optimizer: Optimizer) -> None:
        """Add the norm of the change since `snapshot`.

        Raises:
            ValueError: The norm is not finite.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        squares = [
            torch.sum((after.detach() - before) ** 2)
            for after, before in zip(parameters, self._before, strict=True)
        ]
        self._before = []
        total = 0.0
        for square in squares:
            total += float(square.item())
        # A power, not math.sqrt: they differ in the last bit, and the published logs use the power.
        self.total += checks.finite("update norm", total**0.5)
        self.steps += 1

    def mean(self) -> float | None:
        """Return the mean over the steps measured, or None."""
        return self.total / self.steps if self.steps else None

    def clear(self) -> None:
        """Begin a new episode."""
        self.total, self.steps = 0.0, 0
