"""Member-steps per second: an ordinary PyTorch loop against the population engine at 1, 16, 64, 256 members.

    python -m benchmarks.engine [--json] [--quick] [--tasks digits_mlp digits_cnn resnet20 lm] [--threads 2]

The ordinary loop is an `nn.Module`, `torch.optim.SGD` and the same mini-batches, augmentation and label
smoothing; it is scored after every unit, as the population is. It runs with one thread and with as many as
the population has, and the faster counts. Measurements are interleaved and medians reported. What takes
longer than half of `--limit` seconds is measured once, and what takes six times that limit is left out: null.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.data import DATA
from benchmarks.engine.workloads import Workload, make_task, members_of, ordinary_loop, timed
from hypernudge.engine.trainer import Population
from hypernudge.engine.trajectory import Trajectory
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.provenance import provenance

MEMBERS = (1, 16, 64, 256)
TASKS = ("digits_mlp", "digits_cnn", "resnet20", "lm")


def measure(work: Workload, members: tuple[int, ...], options: argparse.Namespace) -> dict[str, Any]:
    """Return medians of member-steps per second, serial and by number of members."""
    task = work.task
    population = Population(
        task, memory_budget=options.memory_budget, device=options.device, threads=options.threads
    )
    serial = ordinary_loop(work, {n: float(v) for n, v in members_of(task, 1)[0].config.items()})
    serial()
    each = timed(serial)
    cohorts: dict[int, list[Trajectory]] = {}
    seconds: dict[Any, list[float]] = {}
    errors: list[str] = []
    for count in members:
        expected = count * each  # as if it were no faster than the one before
        if count == 1 or expected < options.limit / 2:
            cohorts[count] = members_of(task, count)
            population.train(cohorts[count])
            each = timed(partial(population.train, cohorts[count])) / count
        elif expected < 6 * options.limit:  # one measurement, without a first one to warm up, must do
            large = members_of(task, count)
            seconds[count] = [timed(partial(population.train, large))]
            each = seconds[count][0] / count
            errors += [member.error for member in large if member.error]
    errors += [member.error for cohort in cohorts.values() for member in cohort if member.error]
    if errors:  # what raises is quickly done, and no measurement
        raise RuntimeError(errors[0])
    widths = sorted({1, options.threads})
    seconds.update({("serial", n): [] for n in widths})
    seconds.update({count: [] for count in cohorts})
    begun = time.perf_counter()
    for _ in range(options.repeats):
        for n in widths:
            torch.set_num_threads(n)
            seconds["serial", n].append(statistics.median(timed(serial) for _ in range(3)))
        torch.set_num_threads(1)  # the population sets its own
        for count, cohort in cohorts.items():
            seconds[count].append(timed(partial(population.train, cohort)))
            if options.device.startswith("cuda"):
                torch.cuda.synchronize()
        if time.perf_counter() - begun > options.limit:
            break
    steps = task.steps_per_unit
    return {
        "serial": steps / min(statistics.median(seconds["serial", n]) for n in widths),
        "population": {
            str(n): n * steps / statistics.median(seconds[n]) if n in seconds else None for n in members
        },
    }


def product_flops(device: str, size: int = 1536) -> float:
    """FLOP/s of a large matrix product on the same cores, the best of five."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)

    def product() -> float:
        return (a @ b)[0, 0].item()

    product()
    return 2 * size**3 / min(timed(product) for _ in range(5))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--members", nargs="+", type=int, default=list(MEMBERS))
    parser.add_argument("--batch-size", type=int, default=32, help="of the digits tasks")
    parser.add_argument("--data-dir", type=Path, default=DATA)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of the population")
    parser.add_argument("--memory-budget", type=int, default=None, help="bytes")
    parser.add_argument("--limit", type=float, default=None, help="seconds for one measurement")
    options = parser.parse_args(arguments)
    options.limit = options.limit or (3.0 if options.quick else 60.0)
    options.repeats = 2 if options.quick else 5
    torch.set_num_threads(1)
    rates: dict[str, Any] = {}
    achieved: dict[str, Any] = {}
    for name in options.tasks:
        try:
            most = max(options.members)
            work = make_task(name, options.data_dir, options.batch_size, options.device, most)
        except InvalidArgumentError as error:
            print(f"{name}: skipped: {error}", file=sys.stderr)
            continue
        rates[name] = measure(work, tuple(options.members), options)
        best = max(rate for rate in rates[name]["population"].values() if rate)
        achieved[name] = best * work.task.step_flops
        shown = {
            n: f"{rate:,.0f} ({rate / rates[name]['serial']:.1f}x)" if rate else "left out"
            for n, rate in rates[name]["population"].items()
        }
        print(f"{name}: serial {rates[name]['serial']:,.0f} member-steps/s, population {shown}")
    torch.set_num_threads(options.threads)
    product = product_flops(options.device)
    print(
        f"large matrix product {product / 1e9:.1f} GFLOP/s; "
        + ", ".join(f"{name} {value / 1e9:.1f}" for name, value in achieved.items())
    )
    if options.json:
        result = {
            "member_steps_per_second": rates,
            "flops_per_second": {"matrix_product": product if math.isfinite(product) else None, **achieved},
            "batch_size": options.batch_size,
            "threads": options.threads,
            "device": torch.cuda.get_device_name() if options.device != "cpu" else "cpu",
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            **provenance(),
        }
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
