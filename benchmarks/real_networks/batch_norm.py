"""What the probe says of a network with BatchNorm: statistics of the batch or running ones, scaled weights.

    HYPERNUDGE_DATA=... python -m benchmarks.real_networks.batch_norm [--seeds 4] [--first-seed 70000]

A JSON line for each variant of ResNet-20: `log10` of the probe and of `lr*`, the curvature at initialisation.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

import torch
from torch import nn

from hypernudge.random import Streams
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.vision.task import ImageClassification
from hypernudge.trial import History
from hypernudge.warmstart.measurement.measure import curvature_rates
from hypernudge.warmstart.measurement.probe import Probe

SCALES = (0.5, 1.0, 2.0)


def altered(model: nn.Module, scale: float, running: bool) -> nn.Module:
    """Return the model, its convolutions scaled; with `running`, BatchNorm uses its running statistics."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.mul_(scale)
        if running and isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign, misc]
    return model


def task_of(scale: float, running: bool) -> ModuleTask:
    """Return the study's ResNet task with such a network."""
    task = ImageClassification(
        {"name": "cifar10", "size": 16, "limit": {"train": 10_000, "validation": 500}},
        {"name": "resnet20", "width": 8},
        schedule="constant",
        augmentation={"flip": True, "crop": 2, "colour": 0.4},
        batch_size=32,
        steps_per_unit=20,
    )
    build = task.recipe.model
    task.recipe = replace(task.recipe, model=lambda hp: altered(build(hp), scale, running))
    return task


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=70000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for running in (False, True):
        for scale in SCALES:
            task = task_of(scale, running)
            probes, first = [], []
            for seed in seeds:
                streams = Streams(seed)
                config = task.space.sample(streams("config", 0))
                probes.append(round(Probe()(task, "probe", config, History(), streams).value, 3))
                rates = curvature_rates(task, [config], [streams.trial_seed(0)], 96)
                first.append(round(torch.tensor(rates[0][0]).log10().item(), 3))
            line = {
                "statistics": "running" if running else "batch",
                "scale": scale,
                "probe": probes,
                "curvature": first,
            }
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
