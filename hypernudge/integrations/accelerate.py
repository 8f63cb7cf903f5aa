"""Episodes in an Accelerate loop: one line after ``accelerator.prepare``.

Example::

    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    episodes = attach(accelerator, optimizer, LearningRate([0.5, 1, 2]), criterion=criterion, seed=0)
"""

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controller import Controller
from hypernudge.episodes.scheduler import EpisodicScheduler
from hypernudge.integrations._recipe import Recipe


def attach(
    accelerator: Accelerator,
    optimizer: Any,
    *axes: Axis,
    controller: Callable[[], Controller] | None = None,
    **options: Any,
) -> EpisodicScheduler:
    """Attach a scheduler to the optimizer under Accelerate's wrapper and to its checkpoints.

    Accelerate's own ``step`` does nothing between accumulated batches; the hooks sit on the real optimizer
    and count real steps. ``accelerator.save_state`` and ``load_state`` include the scheduler.

    Args:
        accelerator: The accelerator.
        optimizer: What ``accelerator.prepare`` returned for the optimizer.
        *axes: What may change.
        controller: Builds the controller that decides instead of bandits.
        **options: Keyword arguments of :class:`~hypernudge.episodes.EpisodicScheduler`.

    Returns:
        The scheduler; report losses with ``observe`` or pass ``criterion=``.

    Raises:
        TypeError: ``optimizer`` holds no torch optimizer, or ``controller`` is not callable.
        ValueError: An argument is out of range.
    """
    scheduler = Recipe(axes, controller, options).build(optimizer)
    accelerator.register_for_checkpointing(scheduler)
    return scheduler
