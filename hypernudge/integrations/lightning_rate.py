"""A learning rate for a Lightning training, suggested when it begins.

Example:
    trainer = Trainer(max_epochs=10, callbacks=[SuggestedRateCallback()])
"""

import inspect
import math
import sys
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from hypernudge.errors import require, require_flag
from hypernudge.suggestion.agreement import agreed
from hypernudge.suggestion.result import Suggestion
from hypernudge.suggestion.schedules import schedule_of
from hypernudge.suggestion.suggest import check_numbers, suggest

_PRECISIONS = {"16-mixed": "fp16", "bf16-mixed": "bf16"}


class SuggestedRateCallback(Callback):
    """Asks `hypernudge.suggest` when a training begins, and sets the rate of its optimizer and scheduler.

    It reads the trainer's steps, accumulation, clipping and precision, and the module's scheduler. Trials
    call `training_step` of copies of the module, whose `log` does nothing. A training that is resumed keeps
    the rate of its checkpoint. Where several processes train, that of the first is taken.

    Args:
        only_print: Whether the suggestion is only written to standard error.
        trial_steps: As for `suggest`.
        seconds: As for `suggest`.
        seed: As for `suggest`.

    Attributes:
        suggestion: The last one; None before a training has begun.

    Raises:
        InvalidArgumentError: An argument is out of range.
    """

    def __init__(
        self,
        only_print: bool = False,
        *,
        trial_steps: int = 400,
        seconds: float | None = 30.0,
        seed: int = 0,
    ) -> None:
        require_flag("only_print", only_print)
        check_numbers(trial_steps=trial_steps, seconds=seconds, seed=seed)
        self.only_print = only_print
        self.suggestion: Suggestion | None = None
        self._options: dict[str, Any] = {"trial_steps": trial_steps, "seconds": seconds, "seed": seed}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask, and set the rate.

        Raises:
            InvalidArgumentError: If the module has several optimizers or optimises by hand, or as `suggest`.
        """
        if trainer.global_step > 0:
            return
        count, remedy = len(trainer.optimizers), "call hypernudge.suggest for each of them"
        require(count == 1, "configure_optimizers", "must return one optimizer", count, remedy)
        automatic, remedy = pl_module.automatic_optimization, "call hypernudge.suggest in its place"
        require(automatic, "automatic_optimization", "must be true", automatic, remedy)
        optimizer = trainer.optimizers[0]
        total = trainer.estimated_stepping_batches
        steps = int(total) if math.isfinite(total) and total >= 1 else None
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        clips = trainer.gradient_clip_val if trainer.gradient_clip_algorithm in (None, "norm") else None
        found = suggest(
            pl_module,
            _Step(trainer),
            trainer.train_dataloader,
            optimizer,
            steps=steps,
            schedule=_schedule(trainer, steps or trainer.max_steps),
            accumulate=trainer.accumulate_grad_batches,
            grad_clip=float(clips) if clips else None,
            precision=_PRECISIONS.get(str(trainer.precision), "float32"),
            **self._options,
        )
        self.suggestion = agreed(found)
        if trainer.is_global_zero:
            sys.stderr.write(f"hypernudge: {self.suggestion}\n")
        if not self.only_print:
            self.suggestion.apply(optimizer, *schedulers)


def _schedule(trainer: Trainer, steps: int) -> Any:
    """Return the shape of the trainer's scheduler; constant where there is none."""
    if not trainer.lr_scheduler_configs or steps < 1:
        return "constant"
    config = trainer.lr_scheduler_configs[0]
    epoch = max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    every = config.frequency * (1 if config.interval == "step" else epoch)
    return schedule_of(config.scheduler, steps, every)


class _Step:
    """The loss of a copy of the module: its `training_step`, on the trainer, without a word to loggers."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def __call__(self, module: Any, batch: Any) -> Any:
        if module._trainer is None:
            module.trainer = self._trainer
            for part in module.modules():
                if isinstance(part, LightningModule):
                    part.log = part.log_dict = _nothing  # type: ignore[assignment, method-assign]
        device = next(module.parameters()).device
        batch = module.transfer_batch_to_device(module.on_before_batch_transfer(batch, 0), device, 0)
        batch = module.on_after_batch_transfer(batch, 0)
        asks_for = inspect.signature(module.training_step).parameters
        output: Tensor | dict[str, Any] | None = module.training_step(*(batch, 0)[: len(asks_for)])
        if output is None:  # a mini-batch that the module skips
            return next(module.parameters()).new_full((), torch.nan).requires_grad_()
        return output


def _nothing(*given: Any, **named: Any) -> None:
    del given, named
