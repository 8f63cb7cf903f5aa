"""Screening rules of a training of known length on development seeds; nothing is recorded.

    python -m benchmarks.episodes_effect.screen --results FOLDER --seeds 300 306 [--curve]
        [--tasks ...] [--optimizers ...] [--noises ...] [--ratios .01 1 100] [--set warmup_samples=8]
        [--bound weight=.7]

`FOLDER` holds the records of `tune`, whose right rates are the base. Every cell is trained by the default,
with what is `--set` of the arguments of `Alignment` (and `search`) and `--bound` of `StepBounds`, and by a
cosine at its tuned rate, on the same seeds of split 0. `--curve` trains a warm-up of `--warmup` and a linear
fall instead, from multiples of cosine's rate, without a search: what a peak is worth. Lines of JSON;
differences to cosine are in points of test accuracy, peaks are multiples of cosine's rate. Seeds of a study
are refused.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.episodes_effect import blocks
from benchmarks.episodes_effect.aligned import AnnealedMembers
from benchmarks.episodes_effect.methods import ANNEALED, PEAKS, Crew, update_of
from benchmarks.episodes_effect.report import Cell
from benchmarks.episodes_effect.rules import Floats, Rule, Scheduled, cosine_factor
from benchmarks.episodes_effect.tasks import TASKS
from benchmarks.episodes_effect.training import train
from hypernudge.episodes.controllers.step_bounds import StepBounds
from hypernudge.errors import refuse

MULTIPLES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
SPLIT = 0
LOST = 5.0  # points below cosine


def linear_factor(steps: int, warmup: float) -> Callable[[int], float]:
    """Return a rise over the share `warmup` of the steps to 1, and a linear fall to 0 over the rest."""
    first = max(1, round(warmup * steps))
    return lambda step: min((step + 1) / first, (steps - step) / max(steps - first, 1), 1.0)


def trained(
    cell: Cell, seeds: Sequence[int], rates: Sequence[float], rule: Callable[[Crew], Rule]
) -> tuple[Floats, Rule]:
    """Return the test accuracies, `(rates, seeds)`, and the rule as the training left it."""
    name, optimizer, noise = cell
    task = TASKS[name]
    data = task.data(SPLIT)
    crew = Crew(optimizer, tuple(seeds), tuple(rates), task.steps)
    built = rule(crew)
    outcome = train(
        task, data, seeds=seeds, rates=rates, noise=noise, update=update_of("annealed", crew), rule=built
    )
    return outcome.test.reshape(len(rates), len(seeds)), built


def scheduled(factor: Callable[[int], Callable[[int], float]]) -> Callable[[Crew], Rule]:
    """Return what builds a schedule of everybody's, a function of the number of steps."""
    return lambda crew: Scheduled(len(crew.member_seeds), factor(crew.steps))


def right_rate(folder: Path, cell: Cell, method: str) -> float:
    """Return the tuned rate of `method` on the cell, as the studies have it."""
    return blocks.right_rate(folder, blocks.Block("tune", *cell, method), method)


def curve(folder: Path, cell: Cell, seeds: Sequence[int], warmup: float) -> dict[str, Any]:
    """Return what a linear fall is worth by its peak: means over the seeds, and their standard errors."""
    rate = right_rate(folder, cell, "cosine")
    cosine, _ = trained(cell, seeds, (rate,), scheduled(cosine_factor))
    rates = [rate * multiple for multiple in MULTIPLES]
    own, _ = trained(cell, seeds, rates, scheduled(lambda steps: linear_factor(steps, warmup)))
    differences = own - cosine
    errors = differences.std(axis=1, ddof=1) / np.sqrt(len(seeds))
    pairs = zip(MULTIPLES, differences.mean(axis=1), errors, strict=True)
    return {str(multiple): [round(mean, 2), round(error, 2)] for multiple, mean, error in pairs}


def screened(
    folder: Path, cell: Cell, seeds: Sequence[int], ratios: Sequence[float], options: dict[str, Any]
) -> tuple[Floats, dict[str, Any]]:
    """Return the differences to cosine, `(ratios, seeds)`, and where the peaks stood."""
    rate = right_rate(folder, cell, "cosine")
    cosine, _ = trained(cell, seeds, (rate,), scheduled(cosine_factor))
    rates = [right_rate(folder, cell, "plain") * ratio for ratio in ratios]
    own, rule = trained(
        cell,
        seeds,
        rates,
        lambda crew: AnnealedMembers(
            len(crew.member_seeds), crew.steps, peak=PEAKS[crew.optimizer], **(ANNEALED | options)
        ),
    )
    assert isinstance(rule, AnnealedMembers)
    peaks = np.log(rule.peaks.reshape(own.shape) * np.array(rates)[:, None] / rate)
    return own - cosine, {
        "peak": round(float(np.exp(peaks.mean())), 2),
        "spread": round(float(peaks.std()), 2),  # of its logarithm
        "start": round(float(rule.starts.mean()), 1),
    }


def summary(found: dict[Cell, Floats]) -> dict[str, Any]:
    """Return means over members, clean and noisy, and how many pairs and trainings are below cosine."""
    pairs = np.concatenate([differences.mean(axis=1) for differences in found.values()])
    everybody = np.concatenate([differences.ravel() for differences in found.values()])
    parts = {"all": found}
    for noise in dict.fromkeys(cell[2] for cell in found):
        parts[f"noise {noise:g}"] = {cell: d for cell, d in found.items() if cell[2] == noise}
    return {
        "mean": {
            name: round(float(np.mean([d.mean() for d in part.values()])), 3) for name, part in parts.items()
        },
        "pairs": len(pairs),
        "below": int((pairs < -0.5).sum()),
        "worst": round(float(pairs.min()), 2),
        "trainings": len(everybody),
        "lost": int((everybody < -LOST).sum()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Screen what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/episodes_effect"))
    parser.add_argument("--seeds", nargs=2, type=int, required=True, metavar=("FIRST", "END"))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--optimizers", nargs="+", choices=blocks.OPTIMIZERS, default=list(blocks.OPTIMIZERS))
    parser.add_argument("--noises", nargs="+", type=float, default=list(blocks.NOISES))
    parser.add_argument("--ratios", nargs="+", type=float, default=[0.01, 1.0, 100.0])
    parser.add_argument("--set", nargs="+", type=_setting, default=[], help="NAME=VALUE, in JSON")
    parser.add_argument("--bound", nargs="+", type=_setting, default=[], help="the same of StepBounds")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--warmup", type=float, default=0.1)
    given = parser.parse_args(arguments)
    seeds = range(*given.seeds)
    for phase, own in blocks.SEEDS.items():
        if phase != "develop" and set(seeds) & set(own):
            refuse("--seeds", f"must not be those of the phase {phase}", given.seeds, "pass others")
    torch.set_num_threads(1)
    options = dict(given.set) | {"bounds": StepBounds(**dict(given.bound))}
    found: dict[Cell, Floats] = {}
    for cell in itertools.product(given.tasks, given.optimizers, given.noises):
        if given.curve:
            line = curve(given.results, cell, seeds, given.warmup)
        else:
            found[cell], line = screened(given.results, cell, seeds, given.ratios, options)
            means = found[cell].mean(axis=1)
            line = {
                f"x{ratio:g}": round(mean, 2) for ratio, mean in zip(given.ratios, means, strict=True)
            } | line
        print(json.dumps({"cell": cell, **line}), flush=True)
    if found:
        print(json.dumps(summary(found)))
    return 0


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


if __name__ == "__main__":
    sys.exit(main())
