"""How to build a scheduler once the trainer has made its optimizers."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controller import Controller
from hypernudge.episodes.scheduler import EpisodicScheduler


class Recipe:
    """Arguments of an :class:`~hypernudge.episodes.EpisodicScheduler`, kept until there is an optimizer.

    Args:
        axes: What may change.
        controller: Builds the controller that decides instead of bandits, once per optimizer, for example
            ``hypernudge.episodes.Alignment``.
        options: Keyword arguments of the scheduler.

    Raises:
        TypeError: ``controller`` is an instance: it would be shared between optimizers and trainings.
    """

    def __init__(
        self, axes: tuple[Axis, ...], controller: Callable[[], Controller] | None, options: dict[str, Any]
    ) -> None:
        if controller is not None and not callable(controller):
            raise TypeError(
                f"controller must be a callable that builds one, but got {type(controller).__name__}; "
                "pass the class, or functools.partial(Alignment, start=1.0)."
            )
        self._axes = axes
        self._controller = controller
        self._options = options

    def build(self, optimizer: Optimizer | Any) -> EpisodicScheduler:
        """Attach a fresh scheduler to ``optimizer``."""
        controller = None if self._controller is None else self._controller()
        return EpisodicScheduler(optimizer, *self._axes, controller=controller, **self._options)
