"""One short training of a throw-away copy at one rate."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.suggestion import batches
from hypernudge.suggestion.copies import Training, copied
from hypernudge.suggestion.ladder import OutOfTimeError, RateTrial, Scale
from hypernudge.suggestion.losses import autocast, explained, loss_of
from hypernudge.tasks.module.schedules import Schedule
from hypernudge.tasks.module.seeded import reseed

BLOWN_UP = 4.0  # a loss above the first by so many times its size or spread is blown up
PATIENCE = 10  # steps in a row with such losses end a trial: on raw inputs a few at first are usual
SCALED_BY = 8  # mini-batches whose losses before training say on what scale losses are
UNKNOWN = Scale(math.nan)
FEWEST_BATCHES = 5  # of which some can be set aside,
SET_ASIDE, MOST_SET_ASIDE = 5, 16  # one in so many, and so many at most
DEAD = 0.5  # a network is, if no gradient reaches so large a share of what one reaches untrained


@dataclass
class Recipe:
    """How a user trains, and the mini-batches that all trials share.

    Attributes:
        model: The original.
        optimizer: The original.
        loss: As `losses.loss_of` takes it.
        batches: That trials train on, in turn.
        held_out: That no trial trains on; none where trials meet no mini-batch twice.
        accumulate: Mini-batches of an optimizer step.
        grad_clip: Largest norm of the gradient, if it is clipped.
        precision: "float32", "bf16" or "fp16".
        schedule: Of which a trial has a miniature.
        seed: Of what models draw.
        deadline: Of `time.monotonic`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Any
    batches: list[Any]
    accumulate: int
    grad_clip: float | None
    precision: str
    schedule: Schedule
    seed: int
    deadline: float
    scale: Scale = UNKNOWN
    held_out: list[Any] = field(default_factory=list)
    gradients: int = 0  # forward and backward passes so far
    raises: int = 0  # trials that raised
    raised: Exception | None = None  # what the first of them did
    closures: bool = True  # whether the optimizer calls the closure that its `step` is given

    @property
    def device(self) -> torch.device:
        """Where the model's first parameter is."""
        return next(self.model.parameters()).device

    def start(self) -> Training:
        """Return a fresh copy, and seed the global generators."""
        training = copied(self.model, self.optimizer, self.loss)
        reseed(self.seed)
        return training

    def set_aside(self, most: int) -> None:
        """Set mini-batches aside where a trial would meet some twice: it must not be praised for memory.

        Args:
            most: Optimizer steps of the longest trial.
        """
        known = len(self.batches)
        if known < most * self.accumulate and known >= FEWEST_BATCHES:
            kept = known - min(max(1, known // SET_ASIDE), MOST_SET_ASIDE)
            self.batches, self.held_out = self.batches[:kept], self.batches[kept:]

    def loss_at(self, training: Training, number: int) -> Tensor:
        """Return the loss of a mini-batch."""
        batch = batches.moved(self.batches[number % len(self.batches)], self.device)
        with autocast(self.precision, self.device):
            return loss_of(training.loss, training.model, batch)

    def in_time(self) -> None:
        """Raise where there is no time left.

        Raises:
            OutOfTimeError: If so.
        """
        if time.monotonic() > self.deadline:
            raise OutOfTimeError

    def drop_broken_batches(self, until: float) -> int:
        """Drop mini-batches on which the untrained model's loss is not finite, and note that of the others.

        Args:
            until: Time of `time.monotonic` from which no more than `SCALED_BY` are looked at.

        Returns:
            How many were dropped.

        Raises:
            InvalidArgumentError: If none is left.
        """
        training = self.start()
        good: list[Any] = []
        found: list[float] = []
        dropped = 0
        for number, batch in enumerate(self.batches):
            if len(found) >= SCALED_BY and time.monotonic() > until:
                good.extend(self.batches[number:])
                break
            with torch.no_grad() if number else torch.enable_grad(), explained(number == 0):
                value = self._untrained(training, number)
            if math.isfinite(value):
                good.append(batch)
                found.append(value)
            else:
                dropped += 1
        remedy = "look at its inputs and at the loss"
        seen = f"none of {len(self.batches)}"
        require(bool(good), "loss", "must be finite on some mini-batch before training", seen, remedy)
        self.batches = good
        self.scale = Scale(float(np.mean(found[:SCALED_BY])), float(np.std(found[:SCALED_BY])))
        return dropped

    def _untrained(self, training: Training, number: int) -> float:
        """Return the loss of a mini-batch; check once that it has a gradient by what the optimizer trains."""
        if number:
            batch = batches.moved(self.batches[number], self.device)
            with autocast(self.precision, self.device):
                return float(loss_of(training.loss, training.model, batch, differentiable=False))
        loss = self.loss_at(training, number)
        loss.backward()  # type: ignore[no-untyped-call]
        self.gradients += 1
        if math.isfinite(loss.item()) and all(p.grad is None for p in training.parameters):
            raise InvalidArgumentError(
                "loss: must be computed with the model that it is given, but got one that is not; "
                "write loss=lambda model, batch: ... and use that model"
            )
        return loss.item()

    def run(self, rate: float, steps: int) -> RateTrial:
        """Train a fresh copy for a number of steps, with the schedule's whole shape in them.

        An error after the first step counts as a divergence, but for one of memory.

        Raises:
            OutOfTimeError: If time is up.
        """
        training = self.start()
        scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        size = max(abs(self.scale.untrained), self.scale.spread)
        ceiling = self.scale.untrained + BLOWN_UP * size
        losses: list[float] = []
        blown_up = 0  # steps in a row
        reached: list[Tensor] = []
        at_end: int | None = None  # parameters that a gradient reaches, where they seem to be few
        for step in range(steps):
            self.in_time()
            training.set_rate(rate * self.schedule.factor(step, steps, {}))
            try:
                losses.append(self._step(training, step, scaler))
                reached = reached if step else _reached(training.parameters)
                if step == steps - 1 and _size(_reached(reached)) <= (1.0 - DEAD) * _size(reached):
                    at_end = self._reach(training, step, scaler)
            except Exception as error:  # of a model that refuses what has become too large
                if not step or isinstance(error, torch.OutOfMemoryError | InvalidArgumentError):
                    raise
                self.raises, self.raised = self.raises + 1, self.raised or error
                return RateTrial(rate, steps, tuple(losses), diverged=True)
            blown_up = blown_up + 1 if losses[-1] > ceiling else 0
            if not math.isfinite(losses[-1]) or blown_up == PATIENCE:
                break
        if not math.isfinite(losses[-1]) or float(np.median(losses[-3:])) > ceiling:
            return RateTrial(rate, steps, tuple(losses), diverged=True)
        held_out = self._evaluated(training)
        diverged = not all(map(math.isfinite, held_out))
        del training, reached  # there may be no room for two copies
        # The last mini-batch may train another part than the first: tasks in turn, experts, dropped layers.
        untrained = self._reach(self.start(), steps - 1, scaler) if at_end is not None else 0
        dead = at_end is not None and untrained > 0 and at_end <= (1.0 - DEAD) * untrained
        return RateTrial(rate, steps, tuple(losses), diverged, held_out, dead)

    def _reach(self, training: Training, step: int, scaler: Any) -> int:
        """Return how many parameters the gradient of a step's mini-batches reaches, with draws of its own."""
        reseed(self.seed)
        self._backward(training, step, scaler)
        return _size(_reached(training.parameters))

    @torch.no_grad()
    def _evaluated(self, training: Training) -> tuple[float, ...]:
        """Return the losses of the mini-batches that were set aside, computed as in training.

        After a few steps the running statistics of BatchNorm are not yet those of the data.
        """
        reseed(self.seed)
        found = []
        for given in self.held_out:
            self.in_time()
            batch = batches.moved(given, self.device)
            with autocast(self.precision, self.device):
                loss = loss_of(training.loss, training.model, batch, differentiable=False)
            found.append(loss.item())
        return tuple(found)

    def _backward(self, training: Training, step: int, scaler: Any) -> Tensor:
        """Compute the gradient of a step's mini-batches anew; return their mean loss."""
        training.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for part in range(self.accumulate):
            loss = self.loss_at(training, step * self.accumulate + part) / self.accumulate
            (loss if scaler is None else scaler.scale(loss)).backward()
            total = total + loss.detach().float()
        self.gradients += self.accumulate
        return total

    def _step(self, training: Training, step: int, scaler: Any) -> float:
        """Make an optimizer step and return the mean loss before it."""
        found: list[float] = []

        def closure() -> Tensor:
            total = self._backward(training, step, scaler)
            if scaler is not None:
                scaler.unscale_(training.optimizer)
            if self.grad_clip is not None:
                nn.utils.clip_grad_norm_(training.parameters, self.grad_clip)
            found.append(total.item())
            return total

        if scaler is not None:
            closure()
            scaler.step(training.optimizer)
            scaler.update()
        elif self.closures:
            training.optimizer.step(closure)  # type: ignore[arg-type]  # as optimizers do, it takes a tensor
        else:
            closure()
            training.optimizer.step()
        return found[0]


def _reached(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the parameters whose gradient is not zero throughout."""
    return [p for p in parameters if p.grad is not None and bool(_entries(p.grad).any())]


def _entries(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _size(parameters: Sequence[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)
