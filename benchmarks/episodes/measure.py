"""Timing the variants of a step, interleaved in one process."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.episodes.models import workload
from benchmarks.episodes.variants import Variant, rotations

ROUNDS = {"mlp_26k": (250, 3000), "resnet18": (7, 60), "transformer_20m": (5, 35)}  # quick, in full


def compute_gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Run the part of a step that no variant changes; return the loss."""
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


class Clock:
    """Seconds of a call: of the processor, or on the wall where a device works too."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
        """Return the duration of `work(*arguments)` and what it returned."""
        if self.cuda:
            torch.cuda.synchronize()
        clock = time.perf_counter if self.cuda else time.process_time
        start = clock()
        result = work(*arguments)
        if self.cuda:
            torch.cuda.synchronize()
        return clock() - start, result


def measure(
    found: dict[str, Variant],
    gradients: Callable[[], Tensor],
    model: nn.Module,
    rounds: int,
    clock: Clock,
    *,
    whole: bool,
) -> tuple[dict[str, list[float]], list[float]]:
    """Time every variant `rounds` times, interleaved.

    Returns:
        Seconds per step of each variant, and seconds of the shared gradient computation per round (zeros if
        every variant took whole steps).
    """
    names = list(found)
    times: dict[str, list[float]] = {name: [] for name in names}
    common: list[float] = []
    parameters = list(model.parameters())

    def whole_step(variant: Variant) -> None:
        variant.begin()
        variant.end(gradients())

    for name in names:
        whole_step(found[name])
    for turn in range(rounds):
        seconds, loss = (0.0, None) if whole else clock(gradients)
        common.append(seconds)
        kept = [] if whole else [p.grad.clone() for p in parameters if p.grad is not None]
        for position in range(len(names)):
            name = names[(turn + position) % len(names)]
            variant = found[name]
            if loss is None:
                times[name].append(clock(whole_step, variant)[0])
                continue
            torch._foreach_copy_([p.grad for p in parameters if p.grad is not None], kept)
            times[name].append(clock(variant.begin)[0] + clock(variant.end, loss)[0])
    return times, common


def overheads(times: dict[str, list[float]], common: list[float]) -> dict[str, list[float]]:
    """Return what each variant adds to the plain step, in percent of a whole plain step.

    Compared are the fifth percentiles: whatever else the machine does can only make a step longer, and the
    shortest of many rounds are those that it let alone.

    Returns:
        By variant: the difference of the fifth percentiles, the least and the greatest of the differences of
        the first to the tenth.
    """
    ranks = np.arange(1, 11)
    plain = np.percentile(times["plain"], ranks)
    whole = np.percentile(np.add(times["plain"], common), 5)
    found = {}
    for name, seconds in times.items():
        if name != "plain":
            added = 100 * (np.percentile(seconds, ranks) - plain) / whole
            found[name] = [round(float(value), 3) for value in (added[4], added.min(), added.max())]
    return found


def measure_cell(model_name: str, optimizer_name: str, rounds: int, device: torch.device) -> dict[str, Any]:
    """Measure one model under one optimizer; return the cell's record."""
    model, inputs, targets = workload(model_name, device)
    gradients = functools.partial(compute_gradients, model, inputs, targets)
    clock, whole = Clock(device), model_name == "mlp_26k"
    found: dict[str, list[float]] = {}
    plain: list[float] = []
    for variants in rotations(model, optimizer_name):
        times, common = measure(variants, gradients, model, rounds, clock, whole=whole)
        found |= overheads(times, common)
        plain += map(sum, zip(times["plain"], common, strict=True))
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "rounds": rounds,
        "plain_median_ms": round(1e3 * statistics.median(plain), 4),
        "overhead_percent": {name: values[0] for name, values in found.items()},
        "overhead_range": {name: values[1:] for name, values in found.items()},
    }
