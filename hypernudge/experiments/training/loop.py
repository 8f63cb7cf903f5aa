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
from hypernudge.experiments.problem import Problem, StepCosts, logits_of
from hypernudge.experiments.training.checkpoints import load_checkpoint, save_checkpoint
from hypernudge.experiments.training.control import Regime, build_optimizer
from hypernudge.experiments.training.schedules import build_schedule

Event = dict[str, Any]


@dataclass
class Progress:
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
class Saving:
    """When checkpoints are written.

    Attributes:
        path: Where.
        every: Optimizer steps between two; 0 for one per epoch.
        resume: Go on from the one that is there.
    """

    path: Path
    every: int = 0
    resume: bool = False


class Loop:
    """Trains a model on a problem.

    Between two steps everything that matters is in the state: model, optimizer, schedule, episodes and
    counters. Orders, augmentation and dropout are functions of seed and step, so a run that was killed goes
    on from its last checkpoint to the same result, bit for bit on a CPU.

    Args:
        config: Settings.
        problem: Data.
        model: Trained in place, on `device`.
        costs: FLOPs of the steps.
        device: Where.
        saving: Checkpoints; None for none.
        evaluate_test: Evaluate the test part whenever validation is better than before, and at the end.
        on_step: Called after each optimizer step with the number of steps done.
        emit: Called with a JSON-able event per epoch.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        model: nn.Module,
        costs: StepCosts,
        device: torch.device,
        *,
        saving: Saving | None = None,
        evaluate_test: bool = False,
        on_step: Callable[[int], None] = lambda steps: None,
        emit: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.config, self.problem, self.model, self.costs = config, problem, model, costs
        self.device, self.saving, self.on_step, self.emit = device, saving, on_step, emit
        self.evaluate_test = evaluate_test and problem.size("test") > 0
        self.steps_per_epoch = steps_per_epoch(problem.size("train"), config.batch_size)
        self.optimizer = build_optimizer(model.parameters(), config)
        self.regime = Regime(self.optimizer, config)
        self.schedule = build_schedule(self.optimizer, config, self.steps_per_epoch)
        self.at = Progress()
        self.resumed_at = 0

    def run(self) -> Progress:
        """Train to the end; return what was seen.

        Raises:
            InvalidArgumentError: The checkpoint to resume from does not fit.
        """
        cuda = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        deterministic = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        with torch.random.fork_rng(devices=cuda), deterministic:
            self._restore()
            while self.at.epoch < self.config.epochs:
                self._epoch()
        self.regime.finalize()
        return self.at

    def accuracy(self, part: str, labels: Tensor | None = None, rows: Tensor | None = None) -> float:
        """Return the share of `rows` of a part that the model gets right, by other labels if given."""
        truth = self.problem.samples.labels[part] if labels is None else labels
        order = torch.arange(len(truth)) if rows is None else rows
        hits = torch.zeros((), dtype=torch.int64, device=self.device)
        self.model.eval()
        with torch.no_grad():
            for batch in batches(order, self.config.batch_size):
                logits = logits_of(self.model, self.problem.samples.batch(part, batch, None))
                hits += (logits.argmax(1) == truth[batch].to(self.device)).sum()
        return int(hits) / max(1, len(order))

    def _epoch(self) -> None:
        clock = _Clock(self.at.seconds, self.at.cpu_seconds)
        order = epoch_order(self.config.seed, self.at.epoch, self.problem.size("train"))
        self.model.train()
        # Kept where the model is, and read once per epoch or checkpoint.
        loss_sum = torch.tensor(self.at.loss_sum, dtype=torch.float64, device=self.device)
        hits = torch.tensor(self.at.hits, dtype=torch.int64, device=self.device)
        first = self.at.step - self.at.epoch * self.steps_per_epoch
        for rows in list(batches(order, self.config.batch_size))[first:]:
            loss, right = self._step(rows)
            loss_sum += loss.double() * len(rows)
            hits += right
            self.at.seen += len(rows)
            if self.saving and self.saving.every and self.at.step % self.saving.every == 0:
                self.at.loss_sum, self.at.hits = float(loss_sum), int(hits)
                self.at.seconds, self.at.cpu_seconds = clock.wall, clock.cpu
                self._save()
            self.on_step(self.at.step)
        self.at.train_losses.append(float(loss_sum) / self.at.seen)
        self.at.train_accuracies.append(int(hits) / self.at.seen)
        self.at.train_seconds.append(clock.wall)
        self.at.train_cpu_seconds.append(clock.cpu)
        self._validate(clock.wall)
        if self.schedule is not None and self.config.schedule_unit == "epoch":
            self.schedule.step()
        self.at.epoch += 1
        self.at.loss_sum, self.at.hits, self.at.seen, self.at.flops = 0.0, 0, 0, 0.0
        self.at.seconds, self.at.cpu_seconds = 0.0, 0.0
        if self.saving and not self.saving.every and self.at.epoch < self.config.epochs:
            self._save()

    def _step(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        config, samples, step = self.config, self.problem.samples, self.at.step
        seed_dropout(config.seed, step)
        inputs = samples.batch("train", rows, augmentation(config.seed, step))
        targets = samples.labels["train"][rows].to(self.device)
        self.regime.begin(step)
        self.optimizer.zero_grad(set_to_none=True)
        logits = logits_of(self.model, inputs)
        loss = F.cross_entropy(logits, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.regime.end(loss)
        if self.schedule is not None and config.schedule_unit == "step":
            self.schedule.step()
        self.at.step += 1
        self.at.flops += self.costs(len(rows), samples.length("train", rows), training=True)
        return loss.detach(), (logits.argmax(1) == targets).sum()

    def _validate(self, seconds: float) -> None:
        begun = time.perf_counter()
        accuracy = self.accuracy("validation")
        for rows in batches(torch.arange(self.problem.size("validation")), self.config.batch_size):
            length = self.problem.samples.length("validation", rows)
            self.at.flops += self.costs(len(rows), length, training=False)
        seconds += time.perf_counter() - begun
        if self.evaluate_test and accuracy > max(self.at.val_accuracies, default=-1.0):
            self.at.test_at_best = self.accuracy("test")
        self.at.val_accuracies.append(accuracy)
        self.at.epoch_seconds.append(seconds)
        self.at.epoch_flops.append(self.at.flops)
        self.emit(
            {
                "event": "epoch",
                "epoch": self.at.epoch + 1,
                "step": self.at.step,
                "train_loss": self.at.train_losses[-1],
                "train_accuracy": self.at.train_accuracies[-1],
                "val_accuracy": accuracy,
                "seconds": round(seconds, 3),
                "tflops": self.at.flops / 1e12,
                "lr": self.optimizer.param_groups[0]["lr"],
            }
        )

    def _save(self) -> None:
        assert self.saving is not None  # asked by the callers
        state = {
            "progress": asdict(self.at),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "episodes": self.regime.state_dict(),
        }
        save_checkpoint(self.saving.path, self.config, state)

    def _restore(self) -> None:
        if self.saving is None or not self.saving.resume:
            return
        state = load_checkpoint(self.saving.path, self.config, self.device)
        if state is None:
            return
        self.at = Progress(**state["progress"])
        self.resumed_at = self.at.step
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.regime.load_state_dict(state["episodes"])


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


def planned_flops(config: RunConfig, problem: Problem, costs: StepCosts) -> list[float]:
    """Return what the epochs of a run will cost, FLOPs, without running it."""
    samples = problem.samples
    validation = batches(torch.arange(problem.size("validation")), config.batch_size)
    lengths = [(len(rows), samples.length("validation", rows)) for rows in validation]
    evaluation = sum(costs(size, length, training=False) for size, length in lengths)
    totals = []
    for epoch in range(config.epochs):
        order = epoch_order(config.seed, epoch, problem.size("train"))
        training = sum(
            costs(len(rows), samples.length("train", rows), training=True)
            for rows in batches(order, config.batch_size)
        )
        totals.append(training + evaluation)
    return totals
