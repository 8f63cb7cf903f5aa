"""Blocks of the study: each trains one method on one cell for all seeds and rates, and is recorded by itself.

A block's file is written when it is done, in one step: what is recorded is never run again, a rate that is
missing is added, and whatever was interrupted is run from its start. Phases, in order, on seeds of their own:

    tune      right rates per cell: plain, cosine and Schedule-Free on a grid, by validation accuracy
    develop   candidates for the default on digits and letter, split 0
    confirm   the frozen default and its competitors on every task, split 2
    ends      the frozen default for a training of known length and its competitors, split 7; see `ends`
    fourth    the same on the seeds of the fourth such study, and the rivals that need no rate, split 6;
              see `rivals`
"""

from __future__ import annotations

import datetime
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.episodes_effect.finders import UNFOUND, find
from benchmarks.episodes_effect.methods import METHODS, Crew, update_of
from benchmarks.episodes_effect.rules import Scaled
from benchmarks.episodes_effect.tasks import TASKS
from benchmarks.episodes_effect.training import train
from hypernudge.harness.cells.provenance import provenance
from hypernudge.results.files import write_text
from hypernudge.results.jsonio import json_line

OPTIMIZERS = ("adamw", "sgd")
NOISES = (0.0, 0.4)
RATIOS = (0.01, 0.1, 1.0, 10.0, 100.0)
GRIDS = {
    "adamw": tuple(10.0 ** (-4.0 + k / 2) for k in range(7)),
    "sgd": tuple(10.0 ** (-3.0 + k / 2) for k in range(7)),
}
TUNED = ("plain", "cosine", "schedule_free")
DEVELOPMENT_TASKS = ("digits_cnn", "digits_mlp", "letter_mlp")
CONFIRMED = (
    "plain",
    "default",
    "random_walk",
    "random_arms",
    "alignment",
    "compat",
    "bandit",
    "cosine",
    "schedule_free",
    "prodigy",
)
ENDS = ("annealed", "cosine", "schedule_free", "prodigy", "plain")
RIVALS = (
    "prodigy_cosine",
    "prodigy_schedule_free",
    "d_adaptation",
    "d_adaptation_cosine",
    "lightning_cosine",
    "torch_lr_finder_cosine",
    "suggest_cosine",
)
SEEDS = {
    "tune": range(9000, 9005),
    "develop": range(300, 316),
    "confirm": range(1000, 1030),
    "ends": range(6000, 6060),
    "fourth": range(5000, 5030),
}
SPLITS = {"tune": 0, "develop": 0, "confirm": 2, "ends": 7, "fourth": 6}


@dataclass(frozen=True)
class Block:
    """One method on one cell of the study."""

    phase: str
    task: str
    optimizer: str
    noise: float
    method: str

    @property
    def name(self) -> str:
        """Name of the block's file, without suffix."""
        return f"{self.phase}-{self.task}-{self.optimizer}-noise{round(100 * self.noise)}-{self.method}"


def plan(phase: str, candidates: Sequence[str] = ()) -> Iterator[Block]:
    """Yield the blocks of a phase, the most telling tasks first.

    Args:
        phase: A key of `SEEDS`.
        candidates: Methods of the development phase; in the phase `fourth`, the rivals that are wanted.
    """
    names = {
        "tune": TUNED,
        "develop": tuple(candidates),
        "confirm": CONFIRMED,
        "ends": ENDS,
        "fourth": (*ENDS, *(name for name in candidates if name in RIVALS)),
    }[phase]
    tasks = DEVELOPMENT_TASKS if phase == "develop" else tuple(TASKS)
    for task, noise, optimizer, method in itertools.product(tasks, NOISES, OPTIMIZERS, names):
        yield Block(phase, task, optimizer, noise, method)


def run(block: Block, folder: Path, ratios: Sequence[float]) -> float:
    """Train a block and record it; return the seconds it took, 0 if it was recorded already.

    Args:
        block: What to train.
        folder: Where the records are; a later phase reads the right rates from the first one's.
        ratios: Rates as multiples of the right one.
    """
    path = folder / f"{block.name}.jsonl"
    recorded = path.read_text() if path.exists() else ""
    known = {line["rate"] for line in map(json.loads, recorded.splitlines()) if line["event"] == "member"}
    begun = time.perf_counter()
    task, method = TASKS[block.task], METHODS[block.method]
    data, seeds = task.data(SPLITS[block.phase]), tuple(SEEDS[block.phase])[: method.seeds]
    found: list[float | None] | None = None
    if block.phase == "tune":
        rates = GRIDS[block.optimizer]
        own = (1.0,) * len(rates)
    elif method.finder is not None:
        # Multipliers of a base rate of 1 are the rates that were found.
        rates, own = (1.0,), (1.0,)
        known = set(rates) if known else known
    else:
        # Competitors with a rate of their own stand at it; the others share plain's, right or wrong.
        tuned = block.method in TUNED and block.method != "plain"
        own = (1.0,) if tuned or method.one_rate else tuple(ratios)
        right = right_rate(folder, block, block.method if tuned else "plain")
        rates = tuple(right * ratio for ratio in own)
    missing = [(rate, ratio) for rate, ratio in zip(rates, own, strict=True) if rate not in known]
    if not missing:
        return 0.0
    rates, own = zip(*missing, strict=True)
    shapes = tuple(value.shape for value in task.init(data, seeds[0], torch.float32).values())
    crew = Crew(block.optimizer, seeds, rates, task.steps, shapes)
    rule = method.rule(crew)
    if method.finder is not None:
        found = [find(method.finder, task, data, block.optimizer, block.noise, seed) for seed in seeds]
        rule = Scaled(rule, np.array([UNFOUND if rate is None else rate for rate in found]))
    outcome = train(
        task,
        data,
        seeds=seeds,
        rates=rates,
        noise=block.noise,
        update=update_of(block.method, crew),
        rule=rule,
    )
    seconds = time.perf_counter() - begun
    where: dict[str, Any] = {"seconds": round(seconds, 2), "threads": torch.get_num_threads()}
    where |= {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **provenance()}
    lines: list[dict[str, Any]] = [{"event": "block", **vars(block), **where}]
    for index, (rate, seed) in enumerate(itertools.product(range(len(rates)), seeds)):
        lines.append(
            {
                "event": "member",
                "seed": seed,
                "rate": rates[rate],
                "ratio": own[rate],
                "validation": outcome.validation[index],
                "test": outcome.test[index],
                "multiplier": outcome.multipliers[index],
                **({} if found is None else {"found": found[index]}),
            }
        )
    new = "".join(json_line(line) for line in lines)
    write_text(path, recorded + new)
    return seconds


def read(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the headers, one for each time that rates were added, and the members of a recorded block."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] == "block"], [
        line for line in lines if line["event"] == "member"
    ]


def right_rate(folder: Path, block: Block, method: str) -> float:
    """Return the rate of the grid with the best mean validation accuracy of `method` on the block's cell.

    Raises:
        FileNotFoundError: The cell was not tuned yet.
    """
    tuning = Block("tune", block.task, block.optimizer, block.noise, method)
    _, members = read(folder / f"{tuning.name}.jsonl")
    by_rate: dict[float, list[float]] = {}
    for member in members:
        by_rate.setdefault(member["rate"], []).append(member["validation"])
    return max(by_rate, key=lambda rate: float(np.mean(by_rate[rate])))
