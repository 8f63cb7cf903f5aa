"""Episodes in an Accelerate loop: one line after `accelerator.prepare`.

Example:
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    attach(accelerator, optimizer, loader=loader, epochs=3)  # finds a rate and anneals it
    episodes = attach(accelerator, optimizer, LearningRate([0.5, 1, 2]), criterion=criterion, seed=0)
"""

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.lifecycle.hooks import unwrap
from hypernudge.episodes.scheduler import EpisodicScheduler
from hypernudge.integrations._scheduler_factory import SchedulerFactory


class _Registered:
    """A place in the accelerator's checkpoints, which outlives a scheduler that was attached again."""

    def __init__(self) -> None:
        self.scheduler: EpisodicScheduler | None = None
        self.was_prepared = False

    def hold(self, scheduler: EpisodicScheduler, accelerator: Accelerator) -> None:
        """Save and load `scheduler` from now on."""
        self.scheduler = scheduler
        self.was_prepared = self._prepared(accelerator)

    def free(self, scheduler: EpisodicScheduler, accelerator: Accelerator) -> bool:
        """Whether what it holds is over: replaced by `scheduler`, or its optimizer was released."""
        held = self.scheduler
        if held is None:
            return True
        replaced = not held.attached and held.optimizer is scheduler.optimizer
        return replaced or (self.was_prepared and not self._prepared(accelerator))

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state."""
        return {} if self.scheduler is None else self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scheduler's state."""
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state)

    def _prepared(self, accelerator: Accelerator) -> bool:
        mine = None if self.scheduler is None else self.scheduler.optimizer
        return any(unwrap(optimizer) is mine for optimizer in accelerator._optimizers)


def attach(
    accelerator: Accelerator,
    optimizer: Any,
    *axes: Axis,
    controller: Callable[[], Controller] | None = None,
    loader: Any = None,
    epochs: int = 1,
    **options: Any,
) -> EpisodicScheduler:
    """Attach a scheduler to the optimizer under Accelerate's wrapper and to its checkpoints.

    Accelerate's own `step` does nothing between accumulated batches; the hooks sit on the real optimizer
    and count real steps. `accelerator.save_state` and `load_state` include the scheduler: the state is
    that of the folder that is loaded, and a folder without one is refused by Accelerate. Attached again, to
    the same optimizer or after `free_memory`, the later scheduler takes the earlier one's place there too.

    Args:
        accelerator: The accelerator.
        optimizer: What `accelerator.prepare` returned for the optimizer.
        *axes: What may change.
        controller: Builds the controller that decides instead of bandits.
        loader: What `accelerator.prepare` returned for the data loader: the training is then `epochs` of it,
            accumulation heeded, and the rate that is found is annealed. Accelerate itself does not know how
            long a training is; `total_steps`, in optimizer steps, says it as well.
        epochs: Passes through `loader`, at least 1.
        **options: Keyword arguments of `EpisodicScheduler`. A pretrained network is known by its weights, and
            fine-tuned with a warning: `peak=1` says that it is meant.

    Returns:
        The scheduler; report losses with `observe` or pass `criterion=`.

    Raises:
        TypeError: `optimizer` holds no torch optimizer, or `controller` is not callable.
        ValueError: An argument is out of range.
    """
    remedy = "pass accelerate.Accelerator()"
    checks.instance_with("accelerator", accelerator, ("register_for_checkpointing", "prepare"), remedy)
    if loader is None:
        options = {"total_steps": None, **options}
    elif "total_steps" in options:
        rule = "must be left out where there is a loader"
        checks.refuse("total_steps", rule, options["total_steps"], "pass one of the two")
    else:
        options = {**options, "total_steps": _steps(accelerator, loader, epochs)}
    scheduler = SchedulerFactory(axes, controller, options).build(optimizer)
    for place in accelerator._custom_objects:
        if isinstance(place, _Registered) and place.free(scheduler, accelerator):
            break
    else:
        place = _Registered()
        accelerator.register_for_checkpointing(place)
    place.hold(scheduler, accelerator)
    return scheduler


def _steps(accelerator: Accelerator, loader: Any, epochs: int) -> int:
    """Return the optimizer steps of `epochs` passes through `loader`."""
    checks.at_least("epochs", epochs, 1)
    try:
        batches = len(loader)
    except TypeError:
        checks.refuse("loader", "must have a length", type(loader).__name__, "pass total_steps instead")
    every = accelerator.gradient_accumulation_steps
    if getattr(accelerator.gradient_state, "sync_with_dataloader", True):
        return int(epochs * -(-batches // every))  # what is left at the end of a pass is a step
    return int(max(1, epochs * batches // every))
