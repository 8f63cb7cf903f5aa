"""Watching the rates that the user's own schedule sets between steps."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks


class BaseRates:
    """What the sum of an optimizer's rates did so far; rates that are tensors are not read.

    Attributes:
        varied: Whether it ever changed.
        rising: Whether it rose at the last step.
    """

    def __init__(self) -> None:
        self.varied = self.rising = False
        self._last: float | None = None
        self._highest = 0.0

    @property
    def halved(self) -> bool:
        """Whether it is below half of what it was at most."""
        return self._last is not None and self._last < 0.5 * self._highest

    def note(self, optimizer: Optimizer) -> None:
        """Look at the rates of a step, as the user set them."""
        total = 0.0
        for group in optimizer.param_groups:
            rate = group["lr"]
            if isinstance(rate, Tensor):
                return  # reading it might wait for a device
            total += rate
        if self._last is not None and total != self._last:
            self.varied = True
        self.rising = self._last is not None and total > self._last
        self._last = total
        self._highest = max(self._highest, total)

    def scheduled(self, optimizer: Optimizer) -> bool:
        """Whether the rates have a schedule: they changed, or one of torch's is attached."""
        return self.varied or any("initial_lr" in group for group in optimizer.param_groups)

    def state_dict(self) -> list[Any]:
        """Return the state in plain types."""
        return [self.varied, self.rising, self._last, self._highest]

    def load_state_dict(self, state: Any) -> None:
        """Restore what `state_dict` returned."""
        if not isinstance(state, list) or len(state) != 4:
            checks.refuse("rates", "must be a list of 4", state, "load what state_dict() returned")
        varied, rising, last, highest = state
        self.varied, self.rising = checks.flag("varied", varied), checks.flag("rising", rising)
        self._last = None if last is None else float(checks.not_negative("rate", last))
        self._highest = float(checks.not_negative("highest rate", highest))
