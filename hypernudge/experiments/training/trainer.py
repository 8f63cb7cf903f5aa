"""The training loop of the experiments: epochs, validation, checkpoints; one for every task and method."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the usual name

from hypernudge.experiments.batches import (
    augmentation,
    batches,
    epoch_order,
    seed_dropout,
    steps_per_epoch,
)
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.task_data import StepCosts, TaskData, logits_of
from hypernudge.experiments.training.checkpoints import load_checkpoint, save_checkpoint
from hypernudge.experiments.training.schedules import build_schedule
from hypernudge.experiments.training.stepped_optimizer import SteppedOptimizer, build_optimizer

Event = dict[str, Any]


@dataclass
class TrainerState:
    """Where a run is, and what it has seen; goes into checkpoints as it is."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    seen: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    train_losses: list[float] = field(default_factory=list)
    train_accuracies: list[float] = field(default_factory=list)
    val_accuracies: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    train_seconds: list[float] = field(default_factory=list)
    train_cpu_seconds: list[float] = field(default_factory=list)
    epoch_flops: list[float] = field(default_factory=list)
    test_at_best: float | None = None


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written.

    Attributes:
        path: Where.
        every: Optimizer steps between two; 0 for one per epoch.
        resume: Go on from the one that is there.
    """

    path: Path
    every: int = 0
    resume: bool = False


class Trainer:
    """Trains a model.

    Between two steps everything that matters is in the state: model, optimizer, schedule, episodes and
    counters. Orders, augmentation and dropout are functions of seed and step, so a run that was killed goes
    on from its last checkpoint to the same result, bit for bit on a CPU.

    Args:
        config: Settings.
        data: What it trains on.
        model: Trained in place, on `device`.
        costs: FLOPs of the steps.
        device: Where.
        checkpoints: When they are written; None for never.
        evaluate_test: Evaluate the test part whenever validation is better than before, and at the end.
        on_step: Called after each optimizer step with the number of steps done.
        emit: Called with a JSON-able event per epoch.
    """

    def __init__(
        self,
        config: RunConfig,
        data: TaskData,
        model: nn.Module,
        costs: StepCosts,
        device: torch.device,
        *,
        checkpoints: CheckpointConfig | None = None,
        evaluate_test: bool = False,
        on_step: Callable[[int], None] = lambda steps: None,
        emit: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.config, self.data, self.model, self.costs = config, data, model, costs
        self.device, self.checkpoints, self.on_step, self.emit = device, checkpoints, on_step, emit
        self.evaluate_test = evaluate_test and data.size("test") > 0
        self.steps_per_epoch = steps_per_epoch(data.size("train"), config.batch_size)
        self.optimizer = build_optimizer(model.parameters(), config)
        self.stepper = SteppedOptimizer(self.optimizer, config)
        self.schedule = build_schedule(self.optimizer, config, self.steps_per_epoch)
        self.state = TrainerState()
        self.resumed_at = 0

    def run(self) -> TrainerState:
        """Train to the end; return what was seen.

        Raises:
            InvalidArgumentError: The checkpoint to resume from does not fit.
        """
        cuda = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        deterministic = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        with torch.random.fork_rng(devices=cuda), deterministic:
            self._restore()
            while self.state.epoch < self.config.epochs:
                self._epoch()
        self.stepper.finalize()
        return self.state

    def accuracy(self, part: str, labels: Tensor | None = None, rows: Tensor | None = None) -> float:
        """Return the share of `rows` of a part that the model gets right, by other labels if given."""
        truth = self.data.samples.labels[part] if labels is None else labels
        order = torch.arange(len(truth)) if rows is None else rows
        hits = torch.zeros((), dtype=torch.int64, device=self.device)
        self.model.eval()
        with torch.no_grad():
            for batch in batches(order, self.config.batch_size):
                logits = logits_of(self.model, self.data.samples.batch(part, batch, None))
                hits += (logits.argmax(1) == truth[batch].to(self.device)).sum()
        return int(hits) / max(1, len(order))

    def _epoch(self) -> None:
        clock = _Clock(self.state.seconds, self.state.cpu_seconds)
        order = epoch_order(self.config.seed, self.state.epoch, self.data.size("train"))
        self.model.train()
        # Kept where the model is, and read once per epoch or checkpoint.
        loss_sum = torch.tensor(self.state.loss_sum, dtype=torch.float64, device=self.device)
        hits = torch.tensor(self.state.hits, dtype=torch.int64, device=self.device)
        first = self.state.step - self.state.epoch * self.steps_per_epoch
        for rows in list(batches(order, self.config.batch_size))[first:]:
            loss, right = self._step(rows)
            loss_sum += loss.double() * len(rows)
            hits += right
            self.state.seen += len(rows)
            if self.checkpoints and self.checkpoints.every and self.state.step % self.checkpoints.every == 0:
                self.state.loss_sum, self.state.hits = float(loss_sum), int(hits)
                self.state.seconds, self.state.cpu_seconds = clock.wall, clock.cpu
                self._save()
            self.on_step(self.state.step)
        self.state.train_losses.append(float(loss_sum) / self.state.seen)
        self.state.train_accuracies.append(int(hits) / self.state.seen)
        self.state.train_seconds.append(clock.wall)
        self.state.train_cpu_seconds.append(clock.cpu)
        self._validate(clock.wall)
        if self.schedule is not None and self.config.schedule_unit == "epoch":
            self.schedule.step()
        self.state.epoch += 1
        self.state.loss_sum, self.state.hits, self.state.seen, self.state.flops = 0.0, 0, 0, 0.0
        self.state.seconds, self.state.cpu_seconds = 0.0, 0.0
        if self.checkpoints and not self.checkpoints.every and self.state.epoch < self.config.epochs:
            self._save()

    def _step(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        config, samples, step = self.config, self.data.samples, self.state.step
        seed_dropout(config.seed, step)
        inputs = samples.batch("train", rows, augmentation(config.seed, step))
        targets = samples.labels["train"][rows].to(self.device)
        self.stepper.begin(step)
        self.optimizer.zero_grad(set_to_none=True)
        logits = logits_of(self.model, inputs)
        loss = F.cross_entropy(logits, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.stepper.end(loss)
        if self.schedule is not None and config.schedule_unit == "step":
            self.schedule.step()
        self.state.step += 1
        self.state.flops += self.costs(len(rows), samples.length("train", rows), training=True)
        return loss.detach(), (logits.argmax(1) == targets).sum()

    def _validate(self, seconds: float) -> None:
        begun = time.perf_counter()
        accuracy = self.accuracy("validation")
        for rows in batches(torch.arange(self.data.size("validation")), self.config.batch_size):
            length = self.data.samples.length("validation", rows)
            self.state.flops += self.costs(len(rows), length, training=False)
        seconds += time.perf_counter() - begun
        if self.evaluate_test and accuracy > max(self.state.val_accuracies, default=-1.0):
            self.state.test_at_best = self.accuracy("test")
        self.state.val_accuracies.append(accuracy)
        self.state.epoch_seconds.append(seconds)
        self.state.epoch_flops.append(self.state.flops)
        self.emit(
            {
                "event": "epoch",
                "epoch": self.state.epoch + 1,
                "step": self.state.step,
                "train_loss": self.state.train_losses[-1],
                "train_accuracy": self.state.train_accuracies[-1],
                "val_accuracy": accuracy,
                "seconds": round(seconds, 3),
                "tflops": self.state.flops / 1e12,
                "lr": self.optimizer.param_groups[0]["lr"],
            }
        )

    def _save(self) -> None:
        assert self.checkpoints is not None  # asked by the callers
        state = {
            "progress": asdict(self.state),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "episodes": self.stepper.state_dict(),
        }
        save_checkpoint(self.checkpoints.path, self.config, state)

    def _restore(self) -> None:
        if self.checkpoints is None or not self.checkpoints.resume:
            return
        state = load_checkpoint(self.checkpoints.path, self.config, self.device)
        if state is None:
            return
        self.state = TrainerState(**state["progress"])
        self.resumed_at = self.state.step
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.stepper.load_state_dict(state["episodes"])


class _Clock:
    """Wall and CPU seconds of an epoch, those before a resume included."""

    def __init__(self, wall: float, cpu: float) -> None:
        self._wall, self._cpu = wall - time.perf_counter(), cpu - time.process_time()

    @property
    def wall(self) -> float:
        """Seconds on the wall."""
        return self._wall + time.perf_counter()

    @property
    def cpu(self) -> float:
        """CPU seconds of this process, all threads."""
        return self._cpu + time.process_time()


def planned_flops(config: RunConfig, data: TaskData, costs: StepCosts) -> list[float]:
    """Return what the epochs of a run will cost, FLOPs, without running it."""
    samples = data.samples
    validation = batches(torch.arange(data.size("validation")), config.batch_size)
    lengths = [(len(rows), samples.length("validation", rows)) for rows in validation]
    evaluation = sum(costs(size, length, training=False) for size, length in lengths)
    totals = []
    for epoch in range(config.epochs):
        order = epoch_order(config.seed, epoch, data.size("train"))
        training = sum(
            costs(len(rows), samples.length("train", rows), training=True)
            for rows in batches(order, config.batch_size)
        )
        totals.append(training + evaluation)
    return totals
