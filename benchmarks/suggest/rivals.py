"""Learning-rate finders: one sweep of 100 steps whose rate grows exponentially, and a rule to read it.

Lightning's is run itself. torch-lr-finder and fastai are not installed beside this library; their sweeps and
rules are written here from their documentation and sources, with their defaults.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.suggest.tasks import Problem
from benchmarks.suggest.training import batches

STEPS = 100
LOWEST, HIGHEST = 1e-7, 10.0


def sweep(problem: Problem, seed: int, smoothing: float, debias: bool, stop: float) -> tuple[Any, Any]:
    """Return rates and smoothed losses of a sweep, which ends early at `stop` times the best.

    The rates are those that the steps were made with, the losses those before each step.
    """
    model = problem.build(seed)
    optimizer = problem.optimizer(model.parameters(), LOWEST)
    rates, losses, average, best = [], [], 0.0, math.inf
    for step, batch in zip(range(STEPS), batches(problem, seed + 1000), strict=False):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = problem.loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average = smoothing * average + (1 - smoothing) * loss.item() if step or debias else loss.item()
        smoothed = average / (1 - smoothing ** (step + 1)) if debias else average
        rates.append(rate)
        losses.append(smoothed)
        best = min(best, smoothed)
        if not math.isfinite(smoothed) or smoothed > stop * best:
            break
    return np.array(rates), np.array(losses)


def torch_lr_finder(problem: Problem, seed: int) -> float | None:
    """Of torch-lr-finder: where the smoothed loss falls most by step, without 10 first and 5 last."""
    rates, losses = sweep(problem, seed, 0.95, False, 5.0)
    rates, losses = rates[10:-5], losses[10:-5]
    return float(rates[np.gradient(losses).argmin()]) if len(losses) > 1 else None


def _fastai(problem: Problem, seed: int) -> tuple[Any, Any]:
    rates, losses = sweep(problem, seed, 0.98, True, 4.0)
    rates, losses = rates[STEPS // 10 : -5], losses[STEPS // 10 : -5]
    finite = int(np.argmin(np.isfinite(losses))) if not np.isfinite(losses).all() else len(losses)
    return rates[:finite], losses[:finite]


def fastai_valley(problem: Problem, seed: int) -> float | None:
    """Of fastai, its default: within the longest falling subsequence, the middle of its second third."""
    rates, losses = _fastai(problem, seed)
    if not len(losses):
        return None
    longest = [1] * len(losses)
    for i in range(1, len(losses)):
        longest[i] = 1 + max((longest[j] for j in range(i) if losses[j] > losses[i]), default=0)
    end = int(np.argmax(longest))
    start = end - longest[end]
    third = (end - start) / 3
    return float(rates[start + int(third) + int(third / 2)])


def fastai_steep(problem: Problem, seed: int) -> float | None:
    """Of fastai: where the smoothed loss falls most by the logarithm of the rate."""
    rates, losses = _fastai(problem, seed)
    return float(rates[(np.diff(losses) / np.diff(np.log(rates))).argmin()]) if len(losses) > 1 else None


def fastai_minimum(problem: Problem, seed: int) -> float | None:
    """Of fastai: a tenth of the rate with the lowest smoothed loss."""
    rates, losses = _fastai(problem, seed)
    return float(rates[losses.argmin()]) / 10 if len(losses) else None


def lightning(problem: Problem, seed: int) -> float | None:
    """`Tuner.lr_find` of Lightning, as it is installed, with its defaults: 1e-8 to 1."""
    import lightning.pytorch as pl
    from lightning.pytorch.tuner.tuning import Tuner

    class Batches(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            return batches(problem, seed + 1000)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.lr, self.inner = 1e-3, problem.build(seed)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return problem.loss(self.inner, batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return problem.optimizer(self.parameters(), self.lr)

    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            trainer = pl.Trainer(
                accelerator="cpu", max_steps=problem.steps, default_root_dir=folder,
                enable_checkpointing=False, **quiet,
            )  # fmt: skip
            found = Tuner(trainer).lr_find(Module(), DataLoader(Batches(), batch_size=None))
            return None if found is None else found.suggestion()


RIVALS: dict[str, Callable[[Problem, int], float | None]] = {
    "lightning": lightning,
    "torch_lr_finder": torch_lr_finder,
    "fastai_valley": fastai_valley,
    "fastai_steep": fastai_steep,
    "fastai_minimum": fastai_minimum,
}
