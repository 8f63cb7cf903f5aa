"""How to build a scheduler once the trainer has made its optimizers."""

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.anneal_shapes import AUTO
from hypernudge.episodes.controllers.build import check_parts, controller_of
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.scheduler import EpisodicScheduler

GIVEN = ("self", "optimizer", "axes", "controller", "bandit_options")
TRAINER = "trainer"
"""In place of `total_steps`: the number that the trainer knows."""
STATEFUL = ("reward", "noise_source")


class SchedulerFactory:
    """Arguments of an `EpisodicScheduler`, kept until there is an optimizer.

    Args:
        axes: What may change.
        controller: Builds the controller that decides instead of bandits, once per optimizer, for example
            `hypernudge.episodes.Alignment`.
        options: Keyword arguments of the scheduler. A reward is copied for every optimizer and training.
            `total_steps` may be `"trainer"`, for the trainer's own number, which is the default where there
            are neither axes nor a controller; None for a training whose length plays no part.

    Attributes:
        asks_trainer: Whether `build` is to be told the trainer's number of steps.

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
        total = options.get("total_steps", None if axes or bandit_options or controller else TRAINER)
        self.asks_trainer = total == TRAINER
        if isinstance(total, str) and not self.asks_trainer:
            checks.refuse("total_steps", f"must be a whole number, None or {TRAINER!r}", total, "pass one")
        controller_of(
            axes,
            built,
            seed=0,
            process_group=None,
            options=bandit_options,
            total_steps=1 if self.asks_trainer else total,
            anneal=options.get("anneal", AUTO),
            peak=options.get("peak"),
        )
        check_parts(criterion=options.get("criterion"), noise_source=options.get("noise_source"))
        checks.seed(options.get("seed"))
        for name in ("update_norm", "attach"):
            checks.flag(name, options.get(name, True))
        checks.flag("deferred_reads", options.get("deferred_reads"), optional=True)
        self._axes = axes
        self._controller = controller
        self._options = {**options, "total_steps": total}

    def build(
        self,
        optimizer: Optimizer | Any,
        *,
        state: dict[str, Any] | None = None,
        steps: int | None = None,
        falls: bool | None = None,
    ) -> EpisodicScheduler:
        """Attach a fresh scheduler to `optimizer`, or one that goes on where `state` was saved.

        Args:
            optimizer: The optimizer.
            state: What a checkpoint holds of the scheduler, None to begin anew. A training that is now of
                another length is extended.
            steps: The trainer's number of optimizer steps, None if it knows none.
            falls: Whether the trainer has a schedule that takes the rate down by itself; None if that is to
                be found out.

        Raises:
            ValueError: The state is of other settings, or `steps` is no more than were taken.
        """
        options = dict(self._options)
        if self.asks_trainer:
            if steps is None:
                warnings.warn(
                    "the trainer does not know its number of optimizer steps, so the rate is steered but not "
                    "annealed: pass total_steps= to the callback, or max_steps to the trainer",
                    stacklevel=3,
                )
            options["total_steps"] = steps
        total = options["total_steps"]
        if total is None:
            options.pop("anneal", None)
            options.pop("peak", None)
        elif falls is not None and options.get("anneal", AUTO) == AUTO:
            options["anneal"] = "none" if falls else "linear"
        saved = None if state is None else _saved_total(state)
        if total is not None and saved is not None:
            options["total_steps"] = saved
        scheduler = self._fresh(optimizer, options)
        if state is not None:
            try:
                scheduler.load_state_dict(state)
                if total is not None and saved is not None and total != saved:
                    scheduler.extend(total)
            except BaseException:
                scheduler.detach()
                raise
        return scheduler

    def _fresh(self, optimizer: Optimizer | Any, options: dict[str, Any]) -> EpisodicScheduler:
        controller = None if self._controller is None else self._controller()
        fresh = {name: copy.deepcopy(options[name]) for name in STATEFUL if name in options}
        return EpisodicScheduler(optimizer, *self._axes, controller=controller, **{**options, **fresh})


def _saved_total(state: Any) -> int | None:
    """Return the number of steps that a saved scheduler was told, None if it was told none."""
    settings = state.get("settings") if isinstance(state, dict) else None
    controller = settings.get("controller") if isinstance(settings, dict) else None
    if not isinstance(controller, dict):
        return None
    parts = controller.get("parts", [controller])
    found = [part.get("total_steps") for part in parts if isinstance(part, dict)]
    return next((total for total in found if total is not None), None)
