"""How long AdamW's later steps are against its first, along which the probe measures.

    HYPERNUDGE_DATA=... python -m benchmarks.real_networks.first_direction [--seed 70000]

The first step moves every parameter by the learning rate: moments with their biases corrected are the
gradient and its square. Later, where mini-batches disagree, the mean gradient is small against its root mean
square. A JSON line for each task of the study that AdamW trains: root mean square of the step over the
learning rate, after so many steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from hypernudge.harness.cells.build import build_task
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.space import Config
from hypernudge.task import GradientTask

PLAN = Path(__file__).parents[2] / "config" / "confirmation" / "real_networks.yaml"
STEPS = (1, 2, 5, 10, 20, 50, 100)
VALUES = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-5, "augmentation": 0.0, "label_smoothing": 0.0}


def lengths(task: GradientTask, config: Config, seed: int) -> dict[int, float]:
    """Return the root mean square of the step over the learning rate, by step; weight decay left out."""
    at = task.at(config)
    params = {name: value.clone() for name, value in at.init(seed).items()}
    trained = {name: value.requires_grad_(True) for name, value in at.trained(params).items()}
    everything = {**params, **trained}
    rate = float(config["lr"])
    optimizer = torch.optim.AdamW(
        list(trained.values()), rate, (float(config["momentum"]), 0.999), weight_decay=0.0
    )
    found = {}
    for step in range(1, max(STEPS) + 1):
        before = [value.detach().clone() for value in trained.values()]
        optimizer.zero_grad()
        at.loss(everything, at.batch(seed, step - 1), config).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step in STEPS:
            moved = [a.detach() - b for a, b in zip(trained.values(), before, strict=True)]
            square = sum(float((part**2).sum()) for part in moved)
            found[step] = round((square / sum(part.numel() for part in moved)) ** 0.5 / rate, 3)
    return found


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=70000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for variation in load_plan(PLAN).variations:
        spec: dict[str, Any] = {**variation.spec}
        if not variation.run_id.endswith("-none") or variation.run_id.startswith("resnet"):
            continue
        task = build_task(spec)
        assert isinstance(task, GradientTask)
        config = Config({name: value for name, value in VALUES.items() if name in task.space})
        print(json.dumps({"task": task.name, "rms_over_lr": lengths(task, config, options.seed)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
