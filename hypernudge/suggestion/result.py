"""What `hypernudge.suggest` returns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernudge.suggestion.copies import rates, ratios
from hypernudge.suggestion.ladder import RateTrial

if TYPE_CHECKING:
    import torch

    from hypernudge.plotting.picture import Picture

OF_GROUPS = ("lr", "initial_lr", "max_lr", "min_lr")  # what schedulers of PyTorch note in groups
OF_SCHEDULERS = ("base_lrs", "max_lrs", "_last_lr")


@dataclass(frozen=True)
class Suggestion:
    """A learning rate, how sure that is, and what it was based on.

    Attributes:
        lr: Learning rate of the optimizer's first group (the first whose rate is above 0): the peak of
            `schedule`, or for a scheduler of PyTorch the rate that its factors are applied to.
        low: Lower end of the rates that are as good, as far as trials can tell.
        high: Upper end of them.
        basis: `"trials"`, or what was left where no trial could be finished: `"curvature"`, or
            `"optimizer"`, the rate that it came with.
        steps: Optimizer steps of the training that the rate is meant for.
        schedule: Name of the schedule that it is meant for.
        peak: Highest rate under that schedule: `lr`, but for a scheduler of PyTorch that rises above its
            base rate (to `max_lr` of `OneCycleLR`) or never reaches it.
        trials: Every short training, in the order in which they were made.
        untrained: Mean loss before training.
        curvature: Rate that curvature suggests along the optimizer's first step; NaN where that failed.
        ratios: Rate of each parameter group over that of the first.
        gradients: Forward and backward passes that were made.
        seconds: Wall time.
        notes: What a user should know: mini-batches that were dropped, time that was up.
    """

    lr: float
    low: float
    high: float
    basis: str
    steps: int
    schedule: str
    peak: float
    trials: tuple[RateTrial, ...]
    untrained: float
    curvature: float
    ratios: tuple[float, ...]
    gradients: int
    seconds: float
    notes: tuple[str, ...] = ()

    def __float__(self) -> float:
        return self.lr

    def __str__(self) -> str:
        peak = "constant" if self.schedule == "constant" else f"peak of {self.schedule}"
        if not math.isclose(self.peak, self.lr):
            peak = f"base rate of {self.schedule}, whose peak is {self.peak:.2g}"
        head = f"lr {self.lr:.2g} [{self.low:.2g}, {self.high:.2g}] ({peak}, {self.steps} steps)"
        cost = (
            f"from {self.basis}: {len(self.trials)} trials, {self.gradients} gradients, {self.seconds:.1f} s"
        )
        return "; ".join((head, cost, *self.notes))

    def apply(self, optimizer: torch.optim.Optimizer, *schedulers: Any) -> None:
        """Set the rates of an optimizer's groups, which keep their proportions.

        Args:
            optimizer: Its groups' `lr`, and what schedulers have noted there, are scaled.
            *schedulers: Those of PyTorch that were built with it already, and read its rates then.

        Raises:
            InvalidArgumentError: If a group has no learning rate.
        """
        wanted = [self.lr * ratio for ratio in ratios(optimizer)]
        scales = []
        for group, before, rate in zip(optimizer.param_groups, rates(optimizer), wanted, strict=True):
            scales.append(rate / before if before > 0 else math.inf)
            for name in OF_GROUPS:
                if name in group:
                    _set(group, name, _scaled(float(group[name]), scales[-1], rate))
        for scheduler in schedulers:
            _scale(scheduler, scales, wanted)

    def plot(self, path: str | Path | None = None) -> Picture:
        """Draw the losses of the trials by rate, and the suggestion with its interval.

        Args:
            path: Where the picture is written to: `.pdf`, `.svg` or `.png`.

        Returns:
            A Matplotlib figure.

        Raises:
            InvalidArgumentError: If the path is none of a picture.
            MissingExtraError: If Matplotlib is not installed.
        """
        from hypernudge.errors import package

        package("matplotlib", "harness", "a picture")
        from hypernudge.suggestion.plot import losses_by_rate

        return losses_by_rate(self, path=path)


def _scaled(held: float, scale: float, wanted: float) -> float:
    """Return a scaled rate; one of a group whose rate was 0 cannot be scaled, and is what is wanted."""
    return held * scale if math.isfinite(scale) else wanted


def _scale(scheduler: Any, scales: list[float], wanted: list[float]) -> None:
    """Scale what a scheduler keeps of the rates that its optimizer had, and those that it is made of."""
    for name in OF_SCHEDULERS:
        held = getattr(scheduler, name, None)
        if isinstance(held, list) and len(held) == len(scales):
            setattr(scheduler, name, list(map(_scaled, held, scales, wanted)))
    for inner in getattr(scheduler, "_schedulers", ()):
        _scale(inner, scales, wanted)


def _set(group: dict[str, Any], name: str, rate: float) -> None:
    """Set a rate that may be held in a tensor."""
    if hasattr(group[name], "fill_"):
        group[name].fill_(rate)
    else:
        group[name] = rate
