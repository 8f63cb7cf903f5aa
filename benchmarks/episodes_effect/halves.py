"""The two halves of AEES on one task: alignment owns the rate, and a bandit, or chance, the gradient noise.

    python -m benchmarks.episodes_effect.halves --output rows.jsonl [--seeds 20]

Digits MLP with 40 % wrong labels, 400 steps, AdamW and SGD. `EpisodicScheduler(optimizer, total_steps=400)`
alone; with `GradientNoise` besides, relative to each gradient's root mean square, chosen in episodes of ten
steps by the default bandit; and chosen uniformly. Rows that are there are not trained again. The last line
is a JSON object: mean accuracies, and paired differences to alignment alone with 90 % intervals.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name

from benchmarks.episodes_effect import finders
from benchmarks.episodes_effect.rules import EPISODE
from benchmarks.episodes_effect.tasks import TASKS, EffectTask, batch_rows, noisy_labels
from benchmarks.parts import Lines
from hypernudge.episodes import EpisodicScheduler, GradientNoise, UniformBandit
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.harness.cells.provenance import provenance

METHODS = ("alignment", "noise_bandit", "noise_uniform")
NOISE = (0.0, 0.3, 1.0)
RATES = {"adamw": 1e-3, "sgd": 0.1}  # usual ones; alignment finds its own
WRONG, SPLIT, FIRST_SEED = 0.4, 8, 8000


def attach(optimizer: torch.optim.Optimizer, method: str, steps: int, seed: int) -> EpisodicScheduler:
    """Attach what the method says."""
    if method == "alignment":
        return EpisodicScheduler(optimizer, total_steps=steps, seed=seed)
    chance: dict[str, Any] = {"bandit": UniformBandit} if method == "noise_uniform" else {}
    noise = GradientNoise(NOISE, relative=True)
    return EpisodicScheduler(optimizer, noise, total_steps=steps, seed=seed, episode_length=EPISODE, **chance)


def train(task: EffectTask, optimizer: str, method: str, seed: int) -> dict[str, Any]:
    """Train once; return the test accuracy in percent, and how often each level of noise was chosen."""
    data = task.data(SPLIT)
    problem = finders.problem(task, data, optimizer, WRONG, seed)
    network = problem.build(seed)
    built = problem.optimizer(network.parameters(), RATES[optimizer])
    episodes = attach(built, method, task.steps, seed)
    labels = noisy_labels(data.train.y, data.classes, WRONG, seed)
    chosen: list[float] = []
    for step, rows in enumerate(batch_rows(len(labels), task.batch, task.steps, [seed])[:, 0]):
        built.zero_grad()
        loss = F.cross_entropy(network(data.train.x[rows]), labels[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        episodes.observe(loss)
        built.step()
        if step % EPISODE == EPISODE // 2 and method != "alignment":
            chosen.append(float(episodes.metrics()["episodes/relative_noise"]))
    hits = (network(data.test.x).argmax(1) == data.test.y).double().mean()
    counts = {str(level): chosen.count(level) for level in NOISE} if chosen else None
    return {"test": 100.0 * hits.item(), "chosen": counts}


def runs(seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the trainings, seed by seed."""
    for seed in seeds:
        for optimizer in RATES:
            for method in METHODS:
                yield {"optimizer": optimizer, "method": method, "seed": seed}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means, paired differences to alignment alone, and how often each level was chosen."""
    found: dict[str, Any] = {}
    for optimizer in RATES:
        by_method: dict[str, dict[int, float]] = {method: {} for method in METHODS}
        chosen: dict[str, dict[str, int]] = {}
        for row in rows:
            if row["optimizer"] == optimizer:
                by_method[row["method"]][row["seed"]] = row["test"]
                for level, count in (row["chosen"] or {}).items():
                    counts = chosen.setdefault(row["method"], {})
                    counts[level] = counts.get(level, 0) + count
        for method, scores in by_method.items():
            seeds = sorted(scores.keys() & by_method["alignment"].keys())
            if len(seeds) < 2:
                continue
            entry: dict[str, Any] = {"seeds": len(seeds), "mean": float(np.mean(list(scores.values())))}
            if method != "alignment":
                difference = np.array([scores[seed] - by_method["alignment"][seed] for seed in seeds])
                interval = mean_interval(difference, level=0.9)
                entry["difference"] = [interval.estimate, interval.low, interval.high]
                entry["chosen"] = chosen[method]
            found.setdefault(optimizer, {})[method] = entry
    return found


def main() -> int:
    """Train what is missing; print the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--output", type=Path, help="file of rows (JSON lines)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = Lines(options.output)
    commit = provenance()["commit"]
    for run in runs(range(FIRST_SEED, FIRST_SEED + options.seeds)):
        if lines.has(**run):
            continue
        scores = train(TASKS["digits_mlp"], run["optimizer"], run["method"], run["seed"])
        lines.append({**run, **scores, "commit": commit})
    print(json.dumps(summary(lines.rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
