"""Whether `torch.compile` pays on a CPU: the gradients of a whole cohort on one mini-batch, four ways.

    python -m benchmarks.engine.compiled [--json] [--tasks digits_mlp digits_cnn lm] [--members 64]

By hand (how the population trains, where the task can), `torch.vmap` with autograd (how it trains
every other task), `torch.func` with `vmap` over `grad_and_value`, and the same compiled by Inductor. Runs
are interleaved and medians reported; the first compiled call is timed apart. Inductor needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.data import DATA
from benchmarks.engine.workloads import make_task, members_of, timed
from hypernudge.batching import CPU, VmapTask, stacked_values
from hypernudge.harness.cells.provenance import provenance
from hypernudge.optimizers import Params
from hypernudge.task import BatchedTask, GradientTask
from hypernudge.workspace import Workspace


def ways(task: GradientTask, members: int) -> dict[str, Callable[[], Any]]:
    """Return by name what computes losses and gradients of `members` members on their first mini-batch."""
    trajectories = members_of(task, members)
    inits = [task.init(trajectory.seed) for trajectory in trajectories]
    params = {name: torch.stack([init[name] for init in inits]) for name in inits[0]}
    seeds, steps = [trajectory.seed for trajectory in trajectories], [0] * members
    dtype = next(iter(params.values())).dtype
    hp = stacked_values([trajectory.config for trajectory in trajectories], dtype)
    found: dict[str, Callable[[], Any]] = {}

    def through(batched: BatchedTask) -> Callable[[], Any]:
        work = Workspace()
        batch = next(iter(batched.batches(seeds, steps, 1, hp, work)))
        return lambda: batched.gradients(params, {}, batch, hp, work)

    own, general = task.batched(CPU, {}), VmapTask(task, CPU, {})
    if own is not None:
        found["by hand"] = through(own)
    found["vmap, autograd"] = through(general)
    batch = next(iter(general.batches(seeds, steps, 1, hp, Workspace())))

    def loss(params: Params, batch: Params, hp: Params) -> Tensor:
        return task.loss(params, batch, hp)

    functional = torch.func.vmap(torch.func.grad_and_value(loss))
    compiled = torch.compile(functional, fullgraph=True)
    found["vmap, torch.func"] = lambda: functional(params, batch, hp)
    found["vmap, compiled"] = lambda: compiled(params, batch, hp)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--tasks", nargs="+", default=["digits_mlp", "digits_cnn", "lm"])
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--data-dir", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    for name in options.tasks:
        task = make_task(name, options.data_dir, 32).task
        each = ways(task, options.members)
        first = {way: timed(work) for way, work in each.items()}
        seconds: dict[str, list[float]] = {way: [] for way in each}
        for _ in range(options.repeats):
            for way, work in each.items():
                seconds[way].append(timed(work))
        medians = {way: statistics.median(times) for way, times in seconds.items()}
        results[name] = {"milliseconds": {way: 1e3 * value for way, value in medians.items()}}
        results[name]["first_compiled_call_seconds"] = first["vmap, compiled"]
        print(f"{name}: {results[name]}", flush=True)
    if options.json:
        date = datetime.now(UTC).isoformat(timespec="minutes")
        print(
            json.dumps(
                {
                    "gradients": results,
                    "members": options.members,
                    "threads": options.threads,
                    "date": date,
                    **provenance(),
                }
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
