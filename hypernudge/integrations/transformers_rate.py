"""A learning rate for a Hugging Face `Trainer`, suggested when it begins to train.

Example:
    Trainer(model, arguments, train_dataset=data, callbacks=[SuggestedRateTrainerCallback()]).train()
"""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hypernudge.integrations._suggested import SuggestsRate
from hypernudge.suggestion import losses


class SuggestedRateTrainerCallback(SuggestsRate, TrainerCallback):
    """Asks `hypernudge.suggest` when a training begins, and sets the rate of its optimizer and scheduler.

    It reads steps, accumulation, clipping and precision from the trainer's arguments, and follows its
    scheduler (`lr_scheduler_type`, `warmup_steps`): the suggestion takes the place of `learning_rate`. A
    training that is resumed keeps the rate of its checkpoint. Where several processes train, that of the
    first is taken.

    Args:
        only_print: Whether the suggestion is only written to standard error.
        loss: `loss(model, batch)`, where the model's own loss is not what is trained (`compute_loss_func`).
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
        loss: losses.Loss | None = None,
        trial_steps: int | None = None,
        seconds: float | None = 30.0,
        seed: int = 0,
    ) -> None:
        super().__init__(only_print, trial_steps=trial_steps, seconds=seconds, seed=seed)
        losses.checked(loss)
        self._loss = loss

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask, and set the rate.

        Raises:
            InvalidArgumentError: As `suggest`.
        """
        del control
        if state.global_step > 0:
            return
        optimizer, scheduler = kwargs["optimizer"], kwargs["lr_scheduler"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # inside what Accelerate wraps around it
        scheduler = getattr(scheduler, "scheduler", scheduler)
        self._ask(
            kwargs["model"],
            self._loss,
            kwargs["train_dataloader"],
            optimizer,
            [scheduler],
            speaks=state.is_world_process_zero,
            steps=state.max_steps if state.max_steps > 0 else None,
            schedule=scheduler,
            accumulate=args.gradient_accumulation_steps,
            grad_clip=args.max_grad_norm or None,
            precision="bf16" if args.bf16 else "fp16" if args.fp16 else "float32",
        )
