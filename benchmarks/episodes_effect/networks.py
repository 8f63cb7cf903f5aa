"""A training of known length on two real networks, against a cosine at its tuned rate.

    HYPERNUDGE_DATA=... python -m benchmarks.episodes_effect.networks --output rows.jsonl [--tasks resnet lm]

ResNet-20 with BatchNorm (width 8) on 10,000 CIFAR-10 images of 16x16 pixels under SGD (momentum .9, decay
5e-4), and a Transformer of 0.9 million parameters on WikiText-2's validation file under AdamW (decay .01 on
matrices). Cosine's rate is the best of a grid by the validation score of one seed;
`EpisodicScheduler(optimizer, total_steps=N)` begins at 1/30 to 30 times that rate. Scores are of the ResNet's
test part, accuracy in percent, and of the Transformer's validation part, minus the loss in nats (its test
part takes as long as the training). Rows that are recorded are not run again; the last line is a JSON object
with the differences and their means; `--seeds 0` prints it of what is recorded, and trains nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.parts import Lines
from hypernudge.episodes import EpisodicScheduler
from hypernudge.harness.cells.provenance import provenance
from hypernudge.task import GradientTask
from hypernudge.tasks.language.task import LanguageModel
from hypernudge.tasks.vision.task import ImageClassification

STEPS = 400
RATIOS = (1 / 30, 1 / 3, 1.0, 3.0, 30.0)
GRIDS = {"resnet": (0.01, 0.03, 0.1, 0.3, 1.0), "lm": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)}
TUNING_SEED, FIRST_SEED = 9000, 6100


@cache  # read where something is to be trained, and once
def task_of(name: str) -> GradientTask:
    """Return a network with its data; the loss is at the values of `config_of`."""
    if name == "resnet":
        return ImageClassification(
            {"name": "cifar10", "size": 16, "limit": {"train": 10_000, "validation": 500, "test": 2000}},
            {"name": "resnet20", "width": 8},
            schedule="constant",
            augmentation={"flip": True, "crop": 2, "colour": 0.4},
            batch_size=32,
            steps_per_unit=20,
            device="cpu",
            score_test=True,
        )
    return LanguageModel(
        {
            "name": "wikitext2",
            "tokens": "bpe",
            "vocabulary": 1024,
            "train_on": "validation",
            "held_out": [0.02, 0.05],
        },
        {"name": "transformer_lm", "width": 128, "depth": 4, "heads": 4},
        length=32,
        schedule="constant",
        batch_size=4,
        steps_per_unit=14,
        device="cpu",
    )


def config_of(task: GradientTask) -> dict[str, Any]:
    """Return the values at which the loss is computed: no smoothing, and colours as they are."""
    config = {parameter.name: parameter.decode(0.5) for parameter in task.space}
    return {**config, **{n: 0.0 for n in ("label_smoothing", "augmentation") if n in config}}


def train(name: str, task: GradientTask, method: str, rate: float, seed: int) -> dict[str, float]:
    """Train once in an ordinary loop; return the scores by part."""
    config = config_of(task)
    at = task.at(config)
    params = at.init(seed)
    leaves = {key: value.clone().requires_grad_() for key, value in at.trained(params).items()}
    decay = 5e-4 if name == "resnet" else 0.01
    groups = [
        {"params": [leaf for leaf in leaves.values() if (leaf.dim() > 1) == matrices], "weight_decay": by}
        for matrices, by in ((True, decay), (False, decay if name == "resnet" else 0.0))
    ]
    optimizer: torch.optim.Optimizer
    if name == "resnet":
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(groups, lr=rate)
    schedule = None
    if method == "cosine":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    else:
        EpisodicScheduler(optimizer, total_steps=STEPS)
    everything = {**params, **leaves}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the search for a rate ended")
        for step in range(STEPS):
            optimizer.zero_grad()
            loss, buffers = at.loss_and_buffers(everything, at.batch(seed, step), config)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            everything |= buffers
            if schedule is not None:
                schedule.step()
    final = {key: value.detach() for key, value in everything.items()}
    if name == "lm":
        return {"validation": at.score(final, "validation")}
    return {"validation": 100.0 * at.score(final, "validation"), "test": 100.0 * at.score(final, "test")}


def runs(
    name: str, seeds: Sequence[int], rows: list[dict[str, Any]]
) -> Iterator[tuple[str, float, float, int]]:
    """Yield method, base rate, ratio to cosine's rate and seed: the tuning first, which decides the rest."""
    for rate in GRIDS[name]:
        yield "cosine", rate, 0.0, TUNING_SEED
    own = [row for row in rows if row["task"] == name and row["seed"] == TUNING_SEED]
    right = max(own, key=lambda row: -np.inf if np.isnan(row["validation"]) else row["validation"])["rate"]
    for seed in seeds:
        yield "cosine", right, 1.0, seed
        for ratio in RATIOS:
            yield "annealed", right * ratio, ratio, seed


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by task: cosine's rate and scores, the paired differences to it, and their means.

    `mean` is that of each base rate and of `all`.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == name and row["seed"] != TUNING_SEED]
        part = "test" if name == "resnet" else "validation"
        cosine = {row["seed"]: row[part] for row in own if row["method"] == "cosine"}
        if not cosine or len(own) == len(cosine):
            continue
        differences: dict[str, list[float]] = {}
        for row in own:
            if row["method"] == "annealed" and row["seed"] in cosine:
                differences.setdefault(f"x{row['ratio']:.3g}", []).append(row[part] - cosine[row["seed"]])
        whole = ("all", [value for values in differences.values() for value in values])
        found[name] = {
            "cosine_rate": next(row["rate"] for row in own if row["method"] == "cosine"),
            "cosine": [round(value, 3) for value in cosine.values()],
            "difference": {key: [round(v, 3) for v in values] for key, values in differences.items()},
            "mean": {key: round(float(np.mean(values)), 3) for key, values in (*differences.items(), whole)},
        }
    return found


def main() -> int:
    """Train what is missing; print a line for each training, and the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=list(GRIDS), default=list(GRIDS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--output", type=Path, help="file of rows (JSON lines)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = Lines(options.output)
    for name in options.tasks:
        seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
        for method, rate, ratio, seed in runs(name, seeds, lines.rows):
            run = {"task": name, "method": method, "rate": rate, "ratio": ratio, "seed": seed}
            if lines.has(task=name, method=method, rate=rate, seed=seed):
                continue
            begun = time.process_time()
            scores = train(name, task_of(name), method, rate, seed)
            seconds = round(time.process_time() - begun, 2)
            row = lines.append({**run, **scores, "seconds": seconds, "commit": provenance()["commit"]})
            print(json.dumps(row), flush=True)
    print(json.dumps(summary(lines.rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
