"""A batch size among what is tuned: time to a target by `informed`, and with rates that scale with it.

    HYPERNUDGE_DATA=... python -m benchmarks.warm_starts.batch_sizes run --output FOLDER
    HYPERNUDGE_DATA=... python -m benchmarks.warm_starts.batch_sizes probe

Networks of 32 hidden units as a user's modules, SGD, batches of 16 to 256 samples among what is tuned; a unit
is an epoch and costs the same whatever the batch. Cells are kept in `FOLDER/batch_sizes.jsonl`; what is there
is not run again. Targets are what half of plain ASHA's studies reach by the end, and by half of the time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.warm_starts.batch_ideas import ChosenBatch, ScaledByBatch
from benchmarks.warm_starts.cells import UNITS, WORKERS, Kept
from hypernudge import Categorical, Informed, ModuleTask, SearchSpace, tune
from hypernudge.registry import build
from hypernudge.tasks.data.datasets import load_dataset
from hypernudge.tasks.spaces import SPACES
from hypernudge.trial import Event, Report
from hypernudge.warmstart.base import NoWarmStart, WarmStart
from hypernudge.warmstart.measurement.probe import Probe

Curve = Sequence[Sequence[float]]  # pairs of time in units per worker, and best score so far
FIRST, COUNT = 522_000, 16
SHARES = (1.0, 0.5)  # of the time by which plain ASHA says what a target is
SIZES = (16, 32, 64, 128, 256)
DATA: dict[str, Any] = {
    "digits": "digits",
    "letter": {"name": "letter", "table": "tabular_cls/letter.csv.gz", "label": "lettr", "rows": 2000},
}
ARMS: dict[str, tuple[str, WarmStart]] = {
    "plain ASHA": ("asha", NoWarmStart()),
    "informed, batch ignored": ("asha_stopping", Informed(prior="tables")),
    "informed, rate scales with the batch": ("asha_stopping", ScaledByBatch(prior="tables")),
    "informed, batch chosen, too": ("asha_stopping", ChosenBatch(prior="tables")),
}


def task(name: str) -> ModuleTask:
    """Return a data set as a module's task with `batch_size` in its space; test parts are not touched."""
    data = load_dataset(DATA[name])
    parts = ("train", "validation")
    x = {split: torch.as_tensor(data.x[split]).float().flatten(1) for split in parts}
    y = {split: torch.as_tensor(data.y[split]).long() for split in parts}
    inputs = x["train"].shape[1]
    space = SearchSpace([*SPACES["three"], Categorical("batch_size", SIZES)])
    return ModuleTask(
        lambda hp: nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, data.classes)),
        ((x["train"], y["train"]), (x["validation"], y["validation"])),
        _loss,
        "accuracy",
        space,
        name=f"{name}_batches",
        device="cpu",
    )


def _loss(model: nn.Module, batch: Any, hp: Mapping[str, Any]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def cell(name: str, scheduler: str, policy: WarmStart, seed: int) -> dict[str, Any]:
    """Return the best validation scores so far of a study: pairs of time in units per worker, and score."""
    of = task(name)
    unit = of.unit_flops(of.space.middle()) / 1e9
    found: list[tuple[float, float]] = []
    trials: set[int] = set()

    def watch(event: Event) -> None:
        if isinstance(event, Report):
            trials.add(event.job.trial)
            found.extend((one.time / unit, one.validation) for one in event.units)

    decides = build("scheduler", {"name": scheduler, "max_units": 27}, space=of.space)
    options: dict[str, Any] = {"workers": WORKERS, "test": "never", "keep_weights": False, "progress": False}
    tune(of, decides, seed=seed, budget=unit * UNITS / WORKERS, warm_start=policy, callback=watch, **options)
    curve: list[tuple[float, float]] = []
    for at, score in sorted(found):
        if np.isfinite(score) and (not curve or score > curve[-1][1]):
            curve.append((round(at, 3), round(score, 5)))
    return {"curve": curve, "trials": len(trials)}


def run(folder: Path, arms: Sequence[str], names: Sequence[str], first: int, count: int) -> None:
    """Run the cells that are not there."""
    kept = Kept(folder / "batch_sizes.jsonl")
    for seed in range(first, first + count):
        for name in names:
            for arm in arms:
                key = {"task": name, "arm": arm, "seed": seed}
                if not kept.find(**key):
                    begun = time.process_time()
                    kept.append({**key, **cell(name, *ARMS[arm], seed)})
                    sys.stderr.write(f"{key}: {time.process_time() - begun:.1f} s\n")


def table(folder: Path) -> str:
    """Return times to target of all arms over those of plain ASHA, and over `informed` that ignores it."""
    rows = Kept(folder / "batch_sizes.jsonl").rows
    text = "| task, target | arm | reached | units per worker | over plain ASHA | over batch ignored |\n"
    text += "|---|---|---|---|---|---|\n"
    for name in DATA:
        cells = {(row["arm"], row["seed"]): row["curve"] for row in rows if row["task"] == name}
        arms = [arm for arm in ARMS if any(own == arm for own, _ in cells)]
        seeds = sorted({seed for _, seed in cells if all((arm, seed) in cells for arm in arms)})
        curves = {arm: [cells[arm, seed] for seed in seeds] for arm in arms}
        for share in SHARES if seeds else ():
            text += _rows(name, curves, share)
    return text


def _rows(name: str, curves: Mapping[str, Sequence[Curve]], share: float) -> str:
    """Return a row for each arm; the target is what half of plain studies reach by a share of the time."""
    plain, ignored = list(ARMS)[:2]
    by = share * UNITS / WORKERS
    target = statistics.median_high(max(score for at, score in curve if at <= by) for curve in curves[plain])
    times = {arm: np.array([_reached(curve, target) for curve in of]) for arm, of in curves.items()}
    text = ""
    for arm, own in times.items():
        hit = sum(any(score >= target for _, score in curve) for curve in curves[arm])
        shown = [f"{np.exp(np.log(own).mean()):.1f}"]
        shown += [_ratio(own, times[over]) if over in times else "" for over in (plain, ignored)]
        text += f"| {name}, {target:.4f} | {arm} | {hit} of {len(own)} | {' | '.join(shown)} |\n"
    return text


def _reached(curve: Curve, target: float) -> float:
    """Return when a target was reached, in units per worker; the budget where it was missed."""
    return min((at for at, score in curve if score >= target), default=UNITS / WORKERS)


def _ratio(times: np.ndarray, over: np.ndarray) -> str:
    logs = np.log(times) - np.log(over)
    if not logs.any():
        return "1"
    error = 2.0 * logs.std(ddof=1) / np.sqrt(len(logs))
    middle, low, high = np.exp(logs.mean() + np.array([0.0, -error, error]))
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def probes(seeds: Sequence[int]) -> str:
    """Return the mean of what the probe says by batch size, with its deviation over seeds."""
    text = "| task | " + " | ".join(map(str, SIZES)) + " |\n|---|" + "---|" * len(SIZES) + "\n"
    for name in DATA:
        of, probe, shown = task(name), Probe(), []
        for size in SIZES:
            config = of.space.middle().replace(batch_size=size)
            walks = [probe.walked(of, "informed", config, seed)[0][probe.skip :] for seed in seeds]
            means = [statistics.mean(walk) for walk in walks]
            shown.append(f"{statistics.mean(means):.2f} ({statistics.stdev(means):.2f})")
        text += f"| {name} | {' | '.join(shown)} |\n"
    return text


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "probe"))
    parser.add_argument("--output", type=Path, help="folder of cells and table")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--tasks", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--first", type=int, default=FIRST, help="first seed")
    parser.add_argument("--count", type=int, default=COUNT, help="pairs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "probe":
        sys.stdout.write(probes(range(args.first, args.first + args.count)))
        return 0
    if args.output is None:
        parser.error("--output: must be given with run; name a folder")
    run(args.output, args.arms, args.tasks, args.first, args.count)
    text = table(args.output)
    (args.output / "batch_sizes.md").write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
