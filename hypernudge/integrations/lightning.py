"""Episodes, and a suggested rate, in a Lightning trainer: a callback each, no change to the module.

Example:
    trainer = Trainer(max_epochs=10, callbacks=[SuggestedRateCallback()])  # before the first step
    trainer = Trainer(max_epochs=10, callbacks=[EpisodesCallback()])  # finds a rate and anneals it
    trainer = Trainer(callbacks=[EpisodesCallback(LearningRate([0.5, 1, 2]), episode_length=50, seed=0)])
"""

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.scheduler import EpisodicScheduler
from hypernudge.errors import InvalidArgumentError, require
from hypernudge.integrations._scheduler_factory import SchedulerFactory
from hypernudge.integrations._suggested import SuggestsRate
from hypernudge.suggestion.schedules import schedule_of

_PRECISIONS = {"16-mixed": "fp16", "bf16-mixed": "bf16"}


class EpisodesCallback(Callback):
    """Attaches an `EpisodicScheduler` to every optimizer of a training.

    The loss is the one Lightning is about to differentiate, without the division by
    `accumulate_grad_batches` and without the gradient scaler's factor, so automatic and manual
    optimisation, accumulation (also one that changes) and mixed precision work; with several optimizers
    (manual optimisation) each is told every loss since its own last step. State travels in the trainer's
    checkpoints and is that of the file the training resumes from. Every `fit` has schedulers of its own.

    Without axes and controller the scheduler is told the trainer's number of steps
    (`estimated_stepping_batches`), and one that resumes with another number is extended. Several optimizers
    are taken to step once a batch each.

    What is in force goes to the trainer's loggers, whenever these are given a step's metrics: see
    `EpisodicScheduler.metrics`. With several optimizers the names begin with `optimizer0/`, ...

    Args:
        *axes: What may change.
        controller: Builds the controller that decides instead of bandits, once per optimizer.
        **options: Keyword arguments of `EpisodicScheduler`. `total_steps` may be `"trainer"`, for the
            trainer's number, besides axes too; None for a training whose length plays no part. A pretrained
            network is known by its weights, and fine-tuned with a warning: `peak=1` says that it is meant.

    Raises:
        TypeError: `controller` is not callable.
        ValueError: An argument is out of range.
    """

    def __init__(
        self, *axes: Axis, controller: Callable[[], Controller] | None = None, **options: Any
    ) -> None:
        self.schedulers: list[EpisodicScheduler] = []
        self._factory = SchedulerFactory(axes, controller, options)
        self._resuming = False
        self._saved: list[dict[str, Any]] = []
        self._logged = 0  # the trainer's steps when it was

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget a state that an evaluation, or a training that never began, has read from its checkpoint."""
        del trainer, pl_module, stage
        self._resuming, self._saved = False, []

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note that a checkpoint is read, whether or not it holds a state of this callback."""
        del trainer, pl_module, checkpoint
        self._resuming = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach, after the trainer has restored its optimizers.

        Raises:
            ValueError: The checkpoint's states are of other settings or of another number of optimizers.
        """
        del pl_module
        saved: list[Any] = self._saved
        self._saved = []
        self._logged = trainer.global_step
        self._detach()
        if saved and len(saved) != len(trainer.optimizers):
            raise InvalidArgumentError(
                f"checkpoint: must hold as many schedulers of episodes as there are optimizers "
                f"({len(trainer.optimizers)}), but got {len(saved)}; resume with the module that wrote it"
            )
        if self._resuming and not saved:
            warnings.warn(
                "the checkpoint holds no state of this callback: training resumes, episodes start anew.",
                stacklevel=2,
            )
        try:
            steps = _steps_of(trainer) if self._factory.asks_trainer else None
            states = saved or [None] * len(trainer.optimizers)
            for optimizer, state in zip(trainer.optimizers, states, strict=True):
                self.schedulers.append(self._factory.build(optimizer, state=state, steps=steps))
        except BaseException:
            self._detach()
            raise

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Report the loss as the module computed it."""
        loss = loss.detach()
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            # The scale without reading it from the device; a power of two, so the division is exact.
            loss = loss / scaler.scale(torch.ones((), device=loss.device))
        if pl_module.automatic_optimization and trainer.accumulate_grad_batches > 1:
            loss = loss * trainer.accumulate_grad_batches
        for scheduler in self.schedulers:
            scheduler.observe(loss)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Tell the loggers what is in force; as numbers of Python, so that nothing waits for a device."""
        del args, kwargs
        every = trainer.log_every_n_steps  # type: ignore[attr-defined, unused-ignore]
        if not trainer.loggers or not every or trainer.global_step == self._logged:
            return
        self._logged = trainer.global_step
        # Lightning counts steps for loggers from 0, and once where several optimizers step.
        step = getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step - 1)
        if (step + 1) % every:
            return
        several = len(self.schedulers) > 1
        metrics = {
            f"optimizer{index}/{name}" if several else name: value
            for index, scheduler in enumerate(self.schedulers)
            for name, value in scheduler.metrics().items()
        }
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the open episodes and detach; the records stay in `schedulers`."""
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
        """Keep the states until the optimizers exist.

        Raises:
            ValueError: It is no state of this callback.
        """
        self._saved = list(
            checks.state(state_dict, ("schedulers",), "state of EpisodesCallback")["schedulers"]
        )

    def _detach(self) -> None:
        for scheduler in self.schedulers:
            scheduler.detach()
        self.schedulers = []


def _steps_of(trainer: Trainer) -> int | None:
    """Return the steps of each optimizer in the whole training, None where the trainer does not know."""
    found = trainer.estimated_stepping_batches
    if not math.isfinite(found) or found < 1:
        return None
    optimizers = len(trainer.optimizers)
    if optimizers > 1 and found == trainer.max_steps:
        found = -(-found // optimizers)  # the trainer counts the steps of all
    return int(found)


class SuggestedRateCallback(SuggestsRate, Callback):
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
        trial_steps: int | None = None,
        seconds: float | None = 30.0,
        seed: int = 0,
    ) -> None:
        super().__init__(only_print, trial_steps=trial_steps, seconds=seconds, seed=seed)

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
        steps = _steps_of(trainer)
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        clips = trainer.gradient_clip_val if trainer.gradient_clip_algorithm in (None, "norm") else None
        self._ask(
            pl_module,
            _Step(trainer),
            trainer.train_dataloader,
            optimizer,
            schedulers,
            speaks=trainer.is_global_zero,
            steps=steps,
            schedule=_schedule(trainer, steps or trainer.max_steps),
            accumulate=trainer.accumulate_grad_batches,
            grad_clip=float(clips) if clips else None,
            precision=_PRECISIONS.get(str(trainer.precision), "float32"),
        )


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
                    part.log = part.log_dict = _nothing  # type: ignore[method-assign]
        device = next(module.parameters()).device
        precision = self._trainer.precision_plugin  # "64-true" and its like convert what comes in
        batch = precision.convert_input(batch)
        batch = module.transfer_batch_to_device(module.on_before_batch_transfer(batch, 0), device, 0)
        batch = module.on_after_batch_transfer(batch, 0)
        asks_for = inspect.signature(module.training_step).parameters
        output: Tensor | dict[str, Any] | None
        with precision.train_step_context():
            output = module.training_step(*(batch, 0)[: len(asks_for)])
        if output is None:  # a mini-batch that the module skips
            return next(module.parameters()).new_full((), torch.nan).requires_grad_()
        return output


def _nothing(*given: Any, **named: Any) -> None:
    del given, named
