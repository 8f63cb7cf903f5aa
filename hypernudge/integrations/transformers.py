"""Episodes in a Hugging Face `Trainer`: one callback, no change to the model or the arguments.

Example:
    Trainer(model, arguments, train_dataset=data, callbacks=[EpisodesTrainerCallback()]).train()
    # A pretrained network is known by its weights; peak=1 fine-tunes without the warning that says so:
    Trainer(pretrained, arguments, train_dataset=data, callbacks=[EpisodesTrainerCallback(peak=1)]).train()
    callback = EpisodesTrainerCallback(LearningRate([0.5, 1, 2]), episode_length=50, seed=0)
    Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
"""

import base64
import functools
import io
import warnings
import weakref
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.lifecycle.persistence import other_settings
from hypernudge.episodes.lifecycle.watch import training_loss
from hypernudge.episodes.scheduler import EpisodicScheduler
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._scheduler_factory import SchedulerFactory


class _Noticed(Tensor):
    """A tensor that calls `used` when anything is computed from it."""

    used: Callable[[], None]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Notice, and compute as for a plain tensor."""
        del types
        for value in (*args, *(kwargs or {}).values()):
            if isinstance(value, cls):
                value.used()
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def _plain(choice: Any) -> Any:
    """Return the value of a member of an enumeration, anything else as it is."""
    return getattr(choice, "value", choice)


def _entries(state: TrainerState) -> dict[str, Any]:
    """Return what callbacks have saved, by class name; annotated as the list that it is built from."""
    entries: Any = state.stateful_callbacks
    return cast("dict[str, Any]", entries)


class EpisodesTrainerCallback(TrainerCallback, ExportableState):  # type: ignore[misc, unused-ignore]
    """Attaches an `EpisodicScheduler` to the trainer's optimizer.

    A pretrained network is known by its weights before the first step, and fine-tuned as with `peak=1`, which
    a warning says: the higher peak of a network that is trained from scratch (`peak="new"`) may destroy it
    (see "Fine-tuning" in docs/episodes.md).

    Losses come from a forward hook on the model, whose training output must carry `loss`, as the models of
    the library do when given labels. Where the trainer computes the loss itself (`label_smoothing_factor`,
    `compute_loss_func`, a `compute_loss` of a subclass), let the callback see it there:

        trainer = Trainer(..., callbacks=[callback])
        callback.watch(trainer)
        trainer.train()

    What is in force (`EpisodicScheduler.metrics`) is added to what the trainer logs with each training loss,
    and so stands in `trainer.state.log_history`. TensorBoard, W&B and other trackers of `report_to` are asked
    before this callback: with `callback.watch(trainer)` it comes first, and they show it, too.

    Without axes and controller the scheduler is told the trainer's number of steps (`max_steps`), and one
    that resumes with another number is extended. The trainer's own schedule acts on top of the multiplier
    that was found; under `lr_scheduler_type="constant"` or `"constant_with_warmup"`, which do not fall, the
    multiplier is annealed.

    The loss of a step is that of the whole step, whatever `gradient_accumulation_steps` is. State travels
    in the checkpoints' `trainer_state.json`, so what a training resumes with belongs to the checkpoint it
    resumes from, wherever that lies.

    Args:
        *axes: What may change.
        controller: Builds the controller that decides instead of bandits.
        **options: Keyword arguments of `EpisodicScheduler`. `total_steps` may be `"trainer"`, for the
            trainer's number, besides axes too; None for a training whose length plays no part.

    Raises:
        TypeError: `controller` is not callable.
        ValueError: An argument is out of range.
    """

    def __init__(
        self, *axes: Axis, controller: Callable[[], Controller] | None = None, **options: Any
    ) -> None:
        self.scheduler: EpisodicScheduler | None = None
        self._factory = SchedulerFactory(axes, controller, options)
        self._trainer: weakref.ref[Trainer] | None = None
        self._undo: list[Callable[[], None]] = []
        self._step = 0
        self._sum: Tensor | None = None
        self._count = 0
        self._parts = False
        self._heeds_items = True
        self._model_loss = False

    def watch(self, trainer: Trainer) -> None:
        """Take the losses that `trainer` differentiates, wherever it computes them, and log before others do.

        Args:
            trainer: The trainer that has this callback; call this before `trainer.train()`.

        Raises:
            ValueError: It is no `transformers.Trainer`.
        """
        remedy = "pass the trainer that has this callback"
        checks.instance_with("trainer", trainer, ("accelerator", "callback_handler", "train"), remedy)
        self._trainer = weakref.ref(trainer)
        callbacks = trainer.callback_handler.callbacks
        if self in callbacks:  # trackers are told of the same dictionary, one after the other
            callbacks.remove(self)
            callbacks.insert(0, self)

    # ------------------------------------------------------------------ checkpoints

    def state(self) -> dict[str, Any]:
        """Return what the trainer writes into `trainer_state.json`, and the step it is of."""
        saved = None
        if self.scheduler is not None and self.scheduler.attached:
            buffer = io.BytesIO()
            torch.save(self.scheduler.state_dict(), buffer)
            saved = {"step": self._step, "state": base64.b64encode(buffer.getvalue()).decode()}
        return {"args": {}, "attributes": {}, "episodes": saved}

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse arguments under which the trainer would replace this callback by one without axes."""
        del state, control, kwargs
        if getattr(args, "restore_callback_states_from_checkpoint", False):
            raise InvalidArgumentError(
                "restore_callback_states_from_checkpoint: must be False with episodes, because it builds "
                "callbacks anew without their axes, but got True; leave it out, episodes resume without it"
            )

    def _saved(self, scheduler: EpisodicScheduler, state: TrainerState) -> dict[str, Any] | None:
        """Return what the checkpoint holds for `scheduler`, None where it holds nothing."""
        entries = _entries(state).get(type(self).__name__, [])
        found = [entry.get("episodes") for entry in (entries if isinstance(entries, list) else [entries])]
        # A trainer that is resumed without this callback carries on what it read: that is of another step.
        payloads = [saved["state"] for saved in found if saved and saved["step"] == state.global_step]
        if not payloads:
            warnings.warn(
                f"the checkpoint of step {state.global_step} holds no state of this callback: training "
                "resumes, episodes start anew.",
                stacklevel=2,
            )
            return None
        try:
            states = [torch.load(io.BytesIO(base64.b64decode(text)), weights_only=True) for text in payloads]
        except Exception as error:
            what = f"{type(error).__name__} on reading it"
            remedy = "resume from another checkpoint, or without the callback"
            checks.refuse("the episodes' state in trainer_state.json", "must be undamaged", what, remedy)
        # Several callbacks of this class write one list, at every checkpoint anew.
        own = scheduler.fingerprint()
        fitting = [one for one in states if not other_settings(one, own, besides="total_steps")]
        chosen: dict[str, Any] = (fitting or states)[-1]
        return chosen

    # ------------------------------------------------------------------ training

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Attach; continue if the trainer resumed from a checkpoint.

        Raises:
            ValueError: The checkpoint's state is of other settings.
        """
        self.on_init_end(args, state, control)
        self._detach()
        build = functools.partial(
            self._factory.build,
            kwargs["optimizer"],
            steps=state.max_steps if state.max_steps > 0 else None,
            falls=False if str(_plain(args.lr_scheduler_type)).startswith("constant") else None,
        )
        self.scheduler = build()
        self._step = state.global_step
        self._sum, self._count = None, 0
        try:
            if state.global_step > 0:
                saved = self._saved(self.scheduler, state)
                if saved is not None:
                    self.scheduler.detach()
                    self.scheduler = build(state=saved)
            if self.scheduler.controller.uses_loss:
                self._listen(args, kwargs["model"])
        except BaseException:
            self._detach()
            raise
        # The trainer updates entries that exist; one that resumed from elsewhere may have none.
        _entries(state).setdefault(type(self).__name__, self.state())

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report the loss of the step.

        Raises:
            RuntimeError: None was seen.
        """
        del state, control, kwargs
        if self.scheduler is None or not self.scheduler.controller.uses_loss:
            return
        total, count = self._sum, self._count
        self._sum, self._count = None, 0
        if self.scheduler.pending:
            return  # reported by hand, in a compute_loss of the user's own
        if total is None:
            smoothing = getattr(args, "label_smoothing_factor", 0.0)
            where = (
                f"label_smoothing_factor={smoothing:g}" if smoothing else "compute_loss_func or compute_loss"
            )
            raise RuntimeError(
                f"no training loss was seen in the model's output, the trainer computes it itself ({where}); "
                "call callback.watch(trainer) before trainer.train()"
            )
        self.scheduler.observe(total if self._parts or count == 1 else total / count)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note the step that the next checkpoint will be of."""
        del args, control, kwargs
        self._step = state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add what is in force to what is logged of a training step."""
        del args, control, kwargs
        if self.scheduler is None or logs is None or "loss" not in logs:
            return
        metrics = self.scheduler.metrics()
        logs.update(metrics)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(metrics)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the open episode and detach; the records stay in `scheduler`."""
        del args, state, control, kwargs
        if self.scheduler is not None:
            self.scheduler.finalize()
        self._detach()

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()
        if self.scheduler is not None:
            self.scheduler.detach()

    def _listen(self, args: TrainingArguments, model: nn.Module) -> None:
        trainer = None if self._trainer is None else self._trainer()
        self._heeds_items = True
        if args.gradient_accumulation_steps > 1:
            self._find_out(model)
        spread = args.world_size if getattr(args, "average_tokens_across_devices", False) else 1

        def hook(_module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
            loss = training_loss(output[0] if isinstance(output, tuple) and output else output)
            told = kwargs.get("num_items_in_batch") is not None
            self._model_loss = loss is not None and told
            if loss is not None and trainer is None:
                # Told the items of all accumulated batches, the model divides by them, and the trainer
                # multiplies by the number of processes over which it counted.
                parts = told and self._heeds_items
                self._note(loss * spread if parts and spread > 1 else loss, parts=parts)

        handle = model.register_forward_hook(hook, with_kwargs=True)
        self._undo.append(handle.remove)
        if trainer is not None:
            accelerator = trainer.accelerator
            inner = accelerator.backward

            def backward(loss: Tensor, **kwargs: Any) -> Any:
                # The trainer has divided already, so the parts of a step add up to its loss; but for a model
                # that was told the items and pays no heed.
                self._note(loss, parts=self._heeds_items or not self._model_loss)
                return inner(loss, **kwargs)

            accelerator.backward = backward  # type: ignore[method-assign, unused-ignore]
            self._undo.append(lambda: vars(accelerator).pop("backward", None))

    def _find_out(self, model: nn.Module) -> None:
        """Watch in the first forward pass whether the model uses the number of items it is told."""

        def before(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            items = kwargs.get("num_items_in_batch")
            if not isinstance(items, Tensor):
                return None
            handle.remove()
            self._heeds_items = False

            def used() -> None:
                self._heeds_items = True

            noticed = items.as_subclass(_Noticed)
            noticed.used = used
            return args, {**kwargs, "num_items_in_batch": noticed}

        handle = model.register_forward_pre_hook(before, with_kwargs=True)
        self._undo.append(handle.remove)

    def _note(self, loss: Tensor, *, parts: bool) -> None:
        """Add a micro-batch to the loss of the step: a part of it, or one of those it is the mean of."""
        self._sum = loss.detach().clone() if self._sum is None else self._sum + loss.detach()
        self._count += 1
        self._parts = parts
