"""What episodes cost on a device: `benchmarks.episodes`, with few rounds."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.episodes.measure import ROUNDS, measure_cell
from benchmarks.episodes.variants import OPTIMIZERS


def measure(device: torch.device, limit: float, tiny: bool) -> dict[str, Any]:
    """Return the overhead in percent by model and optimizer; what no time is left for is left out."""
    until = time.perf_counter() + limit
    models = ["mlp_26k"] if tiny else list(ROUNDS)
    optimizers = ["sgd"] if tiny else list(OPTIMIZERS)
    found: dict[str, Any] = {}
    for model in models:
        for optimizer in optimizers:
            if time.perf_counter() > until and found:
                found[f"{model}, {optimizer}"] = "left out: no time"
                continue
            rounds = 3 if tiny else 200 if model == "mlp_26k" else 40
            cell = measure_cell(model, optimizer, rounds, device)
            found[f"{model}, {optimizer}"] = {
                key: cell[key] for key in ("parameters", "rounds", "plain_median_ms", "overhead_percent")
            }
    return found
