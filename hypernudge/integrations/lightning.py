"""Episodes in a Lightning trainer: one callback, no change to the module.

Example::

    trainer = Trainer(callbacks=[EpisodesCallback(LearningRate([0.5, 1, 2]), episode_length=50, seed=0)])
"""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controller import Controller
from hypernudge.episodes.scheduler import EpisodicScheduler
from hypernudge.integrations._recipe import Recipe


class EpisodesCallback(Callback):
    """Attaches an :class:`~hypernudge.episodes.EpisodicScheduler` to every optimizer of a training.

    The loss is the one Lightning is about to differentiate, so automatic and manual optimisation,
    accumulation and mixed precision work; with several optimizers (manual optimisation) each is told every
    loss since its own last step. State travels in the trainer's checkpoints.

    Args:
        *axes: What may change.
        controller: Builds the controller that decides instead of bandits, once per optimizer.
        **options: Keyword arguments of :class:`~hypernudge.episodes.EpisodicScheduler`.

    Raises:
        TypeError: ``controller`` is not callable.
    """

    def __init__(
        self, *axes: Axis, controller: Callable[[], Controller] | None = None, **options: Any
    ) -> None:
        self.schedulers: list[EpisodicScheduler] = []
        self._recipe = Recipe(axes, controller, options)
        self._saved: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach, after the trainer has restored its optimizers."""
        del pl_module
        self.schedulers = [self._recipe.build(optimizer) for optimizer in trainer.optimizers]
        for scheduler, state in zip(self.schedulers, self._saved, strict=False):
            scheduler.load_state_dict(state)
        self._saved = []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Report the loss."""
        del trainer, pl_module
        for scheduler in self.schedulers:
            scheduler.observe(loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the open episodes and detach; the records stay in :attr:`schedulers`."""
        del trainer, pl_module
        for scheduler in self.schedulers:
            scheduler.finalize()
            scheduler.detach()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Detach, so that a later training does not step through this one's hooks."""
        del trainer, pl_module, exception
        for scheduler in self.schedulers:
            scheduler.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return the schedulers' states for the trainer's checkpoint."""
        return {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until the optimizers exist."""
        self._saved = list(state_dict["schedulers"])
