"""Studies on real workers are killed again and again: nothing may be lost, done twice or left behind.

    python -m benchmarks.faults [--json] [--quick] [--kills 200] [--only process ray slurm] [--seed 0]

A study of 40 trials runs as a command of its own, on four workers, and is shaken at random moments until it
ends; then the next one begins. On processes: SIGKILL to a worker or to the driver, SIGINT to the driver, a
worker that is stopped for about as long as it may be silent and woken again, and a disk that refuses every
write for a while. On two nodes of Ray: a worker, the driver, a worker that is stopped, and the loss
of a node. On Slurm, what `tests.slurm.storm` does, where it is installed. The last line counts

lost                 a report that was on disk before a kill and is not there at the end
recomputed_finished  a unit whose training began again after its report was on disk
differing            a trial that is not that of an undisturbed study, unit by unit
left                 a process, a lock, a temporary file or a file of a trial after the study's end
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.faults.storm import KINDS, Found, storm
from hypernudge.harness.cells.provenance import provenance

PLACES = ("processes", "ray", "slurm")
RAY_KINDS = ("worker", "driver", "frozen", "node")
SHARES = {"processes": 0.7, "ray": 0.2, "slurm": 0.1}  # of the kills


def kinds_of(known: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Return so many kinds of kills, each as often as the next, in random order."""
    kinds = [known[number % len(known)] for number in range(count)]
    rng.shuffle(kinds)
    return kinds


def shaken(
    folder: Path,
    kinds: list[str],
    arguments: Sequence[str],
    rng: random.Random,
    others: dict[str, Callable[[], None]] | None = None,
    trials: int = 40,
) -> Found:
    """Run studies, one after the other, until each of `kinds` has come; return what came of them."""
    total, waiting = Found(), list(kinds)
    while waiting:
        seed = total.studies
        found, tried = storm(
            folder / f"study-{seed}", arguments, waiting, rng, seed=seed, trials=trials, others=others
        )
        del waiting[:tried]
        total.add(found)
        sys.stderr.write(f"study {seed}: {dict(found.kills)}, {found.counts}\n")
    return total


def on_processes(folder: Path, count: int, rng: random.Random) -> Found:
    """Shake studies on processes."""
    return shaken(folder, kinds_of(KINDS, count, rng), ["--engine", "processes"], rng)


def on_ray(folder: Path, count: int, rng: random.Random) -> Found:
    """Shake studies on a cluster of Ray."""
    from benchmarks.faults.ray_nodes import nodes

    with nodes(cores=4) as cluster:
        given = ["--engine", "ray", "--address", cluster.address]
        others = {"node": cluster.lose_one}
        return shaken(folder, kinds_of(RAY_KINDS, count, rng), given, rng, others)


def on_slurm(folder: Path, count: int, rng: random.Random) -> Found:
    """Shake an experiment on a cluster of Slurm."""
    from tests.slurm import storm as slurm
    from tests.slurm.cluster import running

    total, waiting = Found(), kinds_of(slurm.KINDS, count, rng)
    with running() as cluster, _environment(cluster.env):
        while waiting:
            place = folder / f"study-{total.studies}"
            found = slurm.storm(cluster, place, waiting, cells=8, pace=0.3, rng=rng)
            del waiting[: max(1, found["tried"])]
            wrong = {name: list(found[name]) for name in total.wrong}
            if found["exit_code"]:
                wrong["lost"].append(f"exit code {found['exit_code']}: {found['said']}")
            total.add(Found(Counter(found["kills"]), studies=1, wrong=wrong))
    return total


@contextlib.contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def missing(place: str) -> str | None:
    """Return why nothing can be shaken there; None if it can."""
    if place == "ray" and importlib.util.find_spec("ray") is None:
        return "Ray is not installed"
    if place == "slurm" and shutil.which("slurmctld") is None:
        return "Slurm is not installed: `python -m tests.slurm.cluster install`"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, help="in all (default 200; 30 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a few minutes, without Slurm")
    parser.add_argument("--only", nargs="+", choices=PLACES, help="where (default: wherever it can be)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--json", action="store_true", help="two lines of JSON: what was done, the counts")
    options = parser.parse_args(arguments)
    places = options.only or [place for place in PLACES if not (options.quick and place == "slurm")]
    left_out = {place: reason for place in places if (reason := missing(place))}
    places = [place for place in places if place not in left_out]
    kills = options.kills or (30 if options.quick else 200)
    shares = {place: SHARES[place] / sum(SHARES[p] for p in places) for place in places}
    rng, begun = random.Random(options.seed), time.perf_counter()
    run: dict[str, Callable[[Path, int, random.Random], Found]]
    run = {"processes": on_processes, "ray": on_ray, "slurm": on_slurm}
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory(prefix="hypernudge-faults-") as folder:
        for place in places:
            own = Path(folder) / place
            own.mkdir()
            found[place] = run[place](own, round(shares[place] * kills), rng)
    total = Found()
    for each in found.values():
        total.add(each)
    about: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.faults", *(arguments or sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "places": {place: _as_data(each) for place, each in found.items()},
        "left_out": left_out,
        "wrong": total.wrong,
        "minutes": round((time.perf_counter() - begun) / 60, 1),
        "provenance": provenance(),
    }
    counts = {"kills": total.kills.total(), **total.counts}
    sys.stdout.write(json.dumps(about, indent=None if options.json else 1) + "\n")
    sys.stdout.write(json.dumps(counts) + "\n")
    return 1 if sum(total.counts.values()) else 0


def _as_data(found: Found) -> dict[str, Any]:
    return {
        "kills": dict(sorted(found.kills.items())),
        "studies": found.studies,
        "trials": found.trials,
        "units": found.units,
        "units_trained_again_before_their_report": found.trained_again,
        **found.counts,
    }


if __name__ == "__main__":
    sys.exit(main())
