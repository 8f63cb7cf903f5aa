"""One case, in this process: `python -m benchmarks.warm_start_fee.measure CASE ROUNDS` prints JSON."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.warm_start_fee.workloads import CASES, TOGETHER, experiment
from hypernudge.harness.cells.build import build_task
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.cells.group import run_group
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.results.plan import Variation
from hypernudge.results.records import cell_path
from hypernudge.results.resources import wall_fee
from hypernudge.task import GradientTask
from hypernudge.warmstart.measurement.probe import Probe
from hypernudge.warmstart.runner import WarmStartRunner


class Stopwatch:
    """Processor seconds of calls, one by one."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextmanager
    def on(self, owner: Any, name: str) -> Iterator[None]:
        """Time every call of a method while entered."""
        method = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.process_time()
            try:
                return method(*arguments, **options)
            finally:
                self.seconds.append(time.process_time() - begun)

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, method)


def records_of(case: str, variation: Variation, seeds: list[int], folder: Path) -> list[dict[str, Any]]:
    """Run cells as the harness does; return their records."""
    if case == "population_together":
        run_group(variation, seeds, folder)
        return [json.loads(cell_path(folder, seed).read_text()) for seed in seeds]
    return [run_cell(variation, seed, folder) for seed in seeds]


def one(run: Callable[[], list[dict[str, Any]]]) -> dict[str, Any]:
    """Return what some cells take, and of that measuring and choosing."""
    runner, probe = Stopwatch(), Stopwatch()
    with runner.on(WarmStartRunner, "__call__"), probe.on(Probe, "walked"):
        begun, wall = time.process_time(), time.perf_counter()
        records = run()
        processor, wall = time.process_time() - begun, time.perf_counter() - wall
    fees = [wall_fee(record) for record in records]
    return {
        "share": sum(fee.seconds for fee in fees) / sum(fee.cell_seconds for fee in fees),
        "processor_share": sum(runner.seconds) / processor,
        "seconds": sum(fee.seconds for fee in fees) / len(fees),
        "cell_seconds": sum(fee.cell_seconds for fee in fees) / len(fees),
        "wall": wall,
        "processor": processor,
        "trials": sum(len(record["trials"]) for record in records) / len(records),
        "choosing": (sum(runner.seconds) - sum(probe.seconds)) / max(1, len(runner.seconds)),
        "probes": probe.seconds,
        "price": records[0]["bill"]["price_in_training_steps"],
    }


def step_seconds(task: GradientTask, units: int) -> float:
    """Return the processor seconds of a training step of one trial alone."""
    config = task.space.middle()
    found = []
    for _ in range(units):
        state = task.start(0)
        task.advance(state, config)  # what a first unit prepares is no step
        begun = time.process_time()
        task.advance(state, config)
        found.append((time.process_time() - begun) / task.steps_per_unit)
    return statistics.median(found)


def probe_seconds(task: GradientTask, times: int) -> float:
    """Return the processor seconds of a probe that is made again and again, as training steps are."""
    config, found = task.space.middle(), []
    for seed in range(times + 1):
        begun = time.process_time()
        Probe().walked(task, "informed", config, seed)
        found.append(time.process_time() - begun)
    return statistics.median(found[1:])  # what the first prepares is no probe


def main(case: str, rounds: int) -> dict[str, Any]:
    """Return what a case takes."""
    size = TOGETHER if case == "population_together" else 1
    with tempfile.TemporaryDirectory(prefix="hypernudge-fee-") as name:
        folder = Path(name)
        path = folder / "experiment.yaml"
        path.write_text(yaml.safe_dump(experiment(case, rounds * size)))
        plan = load_plan(path, [f"+engine={CASES[case][0]}"])
        pairs = []
        for turn in range(rounds):
            seeds = list(range(turn * size, (turn + 1) * size))
            names = ["informed", "none"] if turn % 2 == 0 else ["none", "informed"]
            pair = {}
            for run_id in names:
                where = folder / run_id
                pair[run_id] = one(partial(records_of, case, plan[run_id], seeds, where))
            pairs.append(pair)
        task = build_task(plan["informed"].spec)
    assert isinstance(task, GradientTask)
    own = [pair["informed"] for pair in pairs]
    step = step_seconds(task, 5)
    probes = [seconds for run in own for seconds in run["probes"]]
    medians = {name: statistics.median(run[name] for run in own) for name in own[0] if name != "probes"}
    return {
        **{name: medians[name] for name in ("share", "processor_share", "seconds", "cell_seconds", "trials")},
        "processor_seconds": medians["processor"] / size,
        "first_share": own[0]["share"],
        "pairs": statistics.median(p["informed"]["processor"] / p["none"]["processor"] - 1 for p in pairs),
        "choosing_ms": 1e3 * medians["choosing"],
        "probe_ms": 1e3 * statistics.median(probes),
        "first_probe_ms": 1e3 * probes[0],
        "step_ms": 1e3 * step,
        "counted_as_steps": medians["price"],
        "probe_over_steps": statistics.median(probes) / (medians["price"] * step),
        "probe_again_over_steps": probe_seconds(task, 5) / (medians["price"] * step),
        "rounds": rounds,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], int(sys.argv[2]))) + "\n")
