"""What decides: the protocol between the scheduler, which acts, and a controller, which chooses."""

from typing import Any, Protocol

from torch.optim import Optimizer

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.records import Selection
from hypernudge.episodes.rewards.base import RewardDetails


class Controller(Protocol):
    """Chooses what is in force during the next episode, and learns from how it went.

    Attributes:
        axes: What it decides about; `Selection.values` follow their order.
        capacity: Largest number of steps an episode can have.
        uses_loss: Whether `close` needs the losses.
        uses_gradients: Whether `before_step` and `after_step` are to be called.
    """

    axes: tuple[Axis, ...]
    capacity: int
    uses_loss: bool
    uses_gradients: bool

    def open(self) -> Selection:
        """Choose for a new episode."""
        ...

    def before_step(self, optimizer: Optimizer) -> None:
        """See the gradients of the step in progress, before noise and before parameters move."""
        ...

    def after_step(self, optimizer: Optimizer) -> None:
        """See the parameters after the step."""
        ...

    def is_complete(self, steps: int) -> bool:
        """Whether an episode of `steps` steps is over."""
        ...

    def close(self, selection: Selection, losses: list[float]) -> RewardDetails | None:
        """Learn from the `losses` under a `selection`; return the reward, or None where there is none.

        Raises:
            ValueError: The losses have no reward; nothing was learned then.
        """
        ...

    def selection_id(self, selection: Selection) -> int:
        """Return a small integer that differs between one `selection` and another, compared across ranks."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types; a checkpoint refuses other settings."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state in plain types and tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...
