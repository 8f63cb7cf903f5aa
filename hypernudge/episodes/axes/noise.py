"""The gradient-noise axis."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Phase


class NoiseSource(Protocol):
    """Adds Gaussian noise to the gradients an optimizer is about to use.

    For noise relative to the gradients it has `add_relative(optimizer, factor)` too, see `StreamedNoise`.
    """

    def add(self, optimizer: Optimizer, std: float) -> None:
        """Add noise of standard deviation `std` (units of the gradient) to every gradient, in place."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the random streams: strings to tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class GradientNoise:
    """Adds Gaussian noise to the raw gradients just before the optimizer uses them.

    After the user's own clipping, and before the optimizer's weight decay, momentum and normalisation. With a
    closure, every evaluation of it inside one step is given fresh noise.

    Args:
        candidates: Standard deviations in units of the gradient, all 0 or above; 0 draws nothing.
        relative: Candidates are multiples of the gradient's own spread instead: of the root mean square of
            the entries of each parameter's gradient at that step. The same candidates then suit a small
            network and a pretrained transformer, whose gradients differ by orders of magnitude. Costs one
            more pass over the gradients. The axis is called `relative_noise` then.

    Raises:
        ValueError: `candidates` is empty or holds a value that is negative, not finite or there twice.
    """

    name = "noise"
    tag = "n"
    phase: Phase = "gradients"
    neutral = 0.0

    def __init__(self, candidates: Sequence[float], *, relative: bool = False) -> None:
        self.candidates = checks.candidates(
            "noise_candidates", candidates, lambda value: value >= 0, "0 or above"
        )
        self.relative: bool = checks.flag("relative", relative)
        if relative:
            self.name, self.tag = "relative_noise", "rn"
        self._source: Any = None

    def keys(self, optimizer: Optimizer) -> set[str]:
        """Return `noise`: no two axes of noise act on one optimizer."""
        del optimizer
        return {"noise"}

    def drawn_from(self, source: NoiseSource) -> "GradientNoise":
        """Return the axis with the source of one scheduler: the user's may serve several.

        Raises:
            ValueError: The axis is relative, and the source has no `add_relative`.
        """
        if self.relative:
            checks.instance_with("noise_source", source, ("add_relative",), "leave it out, or relative=False")
        drawn = copy.copy(self)
        drawn._source = source
        return drawn

    def check(self, optimizer: Optimizer) -> None:
        """Accept every optimizer with parameters."""
        del optimizer

    def apply(self, optimizer: Optimizer, value: float) -> None:
        """Add noise of standard deviation `value`, or of `value` times their spread, to the gradients.

        Raises:
            RuntimeError: No scheduler has given it a source.
        """
        if self._source is None:
            raise RuntimeError("gradient noise has no source; pass the axis to EpisodicScheduler")
        if self.relative:
            self._source.add_relative(optimizer, value)
        else:
            self._source.add(optimizer, value)

    def undo(self, optimizer: Optimizer, token: Any) -> None:
        """Do nothing: the gradients are computed anew for the next step."""
        del optimizer, token
