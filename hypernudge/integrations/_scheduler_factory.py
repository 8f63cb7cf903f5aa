"""How to build a scheduler once the trainer has made its optimizers."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.build import check_parts, controller_of
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.scheduler import EpisodicScheduler

GIVEN = ("self", "optimizer", "axes", "controller", "bandit_options")
STATEFUL = ("reward", "noise_source")


class SchedulerFactory:
    """Arguments of an `EpisodicScheduler`, kept until there is an optimizer.

    Args:
        axes: What may change.
        controller: Builds the controller that decides instead of bandits, once per optimizer, for example
            `hypernudge.episodes.Alignment`.
        options: Keyword arguments of the scheduler. A reward is copied for every optimizer and training.

    Raises:
        TypeError: `controller` is an instance: it would be shared between optimizers and trainings.
        ValueError: An argument is out of range; said here, not when the training begins.
    """

    def __init__(
        self, axes: tuple[Axis, ...], controller: Callable[[], Controller] | None, options: dict[str, Any]
    ) -> None:
        if controller is not None and not callable(controller):
            raise TypeError(
                f"controller: must be a callable that builds one, but got {type(controller).__name__}; "
                "pass the class, or functools.partial(Alignment, initial_multiplier=1.0)"
            )
        own = [name for name in inspect.signature(EpisodicScheduler.__init__).parameters if name not in GIVEN]
        bandit_options = {name: value for name, value in options.items() if name not in own}
        built = None if controller is None else controller()
        controller_of(axes, built, seed=0, process_group=None, options=bandit_options)
        check_parts(criterion=options.get("criterion"), noise_source=options.get("noise_source"))
        checks.seed(options.get("seed"))
        for name in ("update_norm", "attach"):
            checks.flag(name, options.get(name, True))
        checks.flag("deferred_reads", options.get("deferred_reads"), optional=True)
        self._axes = axes
        self._controller = controller
        self._options = dict(options)

    def build(self, optimizer: Optimizer | Any) -> EpisodicScheduler:
        """Attach a fresh scheduler to `optimizer`."""
        controller = None if self._controller is None else self._controller()
        fresh = {name: copy.deepcopy(self._options[name]) for name in STATEFUL if name in self._options}
        options = {**self._options, **fresh}
        return EpisodicScheduler(optimizer, *self._axes, controller=controller, **options)
