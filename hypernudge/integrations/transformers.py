"""Episodes in a Hugging Face ``Trainer``: one callback, no change to the model or the arguments.

Example::

    callback = EpisodesTrainerCallback(LearningRate([0.5, 1, 2]), episode_length=50, seed=0)
    Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controller import Controller
from hypernudge.episodes.scheduler import EpisodicScheduler
from hypernudge.integrations._recipe import Recipe

STATE_FILE = "episodes.pt"


class EpisodesTrainerCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Attaches an :class:`~hypernudge.episodes.EpisodicScheduler` to the trainer's optimizer.

    Losses come from a forward hook on the model, whose training output must carry ``loss``, as the models of
    the library do when given labels. If the loss is computed elsewhere (a custom ``compute_loss``), call
    ``callback.scheduler.observe(loss)`` there. State is written beside the trainer's checkpoints
    (``episodes.pt``) and read when training resumes from one.

    Args:
        *axes: What may change.
        controller: Builds the controller that decides instead of bandits.
        **options: Keyword arguments of :class:`~hypernudge.episodes.EpisodicScheduler`.

    Raises:
        TypeError: ``controller`` is not callable.
    """

    def __init__(
        self, *axes: Axis, controller: Callable[[], Controller] | None = None, **options: Any
    ) -> None:
        self.scheduler: EpisodicScheduler | None = None
        self._recipe = Recipe(axes, controller, options)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Attach; continue if the trainer resumed from a checkpoint."""
        del control
        if self.scheduler is not None:
            self.scheduler.detach()
        self.scheduler = self._recipe.build(kwargs["optimizer"])
        self.scheduler.watch(kwargs["model"])
        if state.global_step > 0:
            path = _checkpoint(args, state) / STATE_FILE
            if path.exists():
                self.scheduler.load_state_dict(torch.load(path, weights_only=True))
            else:
                warnings.warn(f"{path} does not exist: training resumes, episodes start anew.", stacklevel=2)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the state beside the checkpoint."""
        del control, kwargs
        if self.scheduler is not None and state.is_world_process_zero:
            torch.save(self.scheduler.state_dict(), _checkpoint(args, state) / STATE_FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the open episode and detach; the records stay in :attr:`scheduler`."""
        del args, state, control, kwargs
        if self.scheduler is not None:
            self.scheduler.finalize()
            self.scheduler.detach()


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
