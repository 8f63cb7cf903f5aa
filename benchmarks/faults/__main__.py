"""Studies on real workers are killed again and again: nothing may be lost, done twice or left behind.

    python -m benchmarks.faults [--json] [--quick] [--kills 200] [--only processes ray slurm] [--seed 0]
                                [--output FILE]

A study of 40 trials runs as a command of its own, on four workers, and is shaken at random moments until it
ends; then the next one begins. On processes: SIGKILL to a worker or to the driver, SIGINT to the driver, a
worker that is stopped for about as long as it may be silent and woken again, and a disk that refuses every
write for a while. On two nodes of Ray: a worker, the driver, a worker that is stopped, and the loss
of a node. On Slurm, what `tests.slurm.storm` does, where it is installed. With `--output` every study is kept
once it is done: the same command goes on with the next one. The last line counts

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
from pathlib import Path
from typing import Any

from benchmarks.faults.storm import KINDS, WRONG, Found, storm
from benchmarks.parts import Parts
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.provenance import provenance

PLACES = ("processes", "ray", "slurm")
KINDS_OF = {
    "processes": KINDS,
    "ray": ("worker", "driver", "frozen", "node"),
    "slurm": ("job", "daemon", "node", "controller", "driver"),
}
SHARES = {"processes": 0.7, "ray": 0.2, "slurm": 0.1}  # of the kills


def kinds_of(known: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Return so many kinds of kills, each as often as the next, in random order."""
    kinds = [known[number % len(known)] for number in range(count)]
    rng.shuffle(kinds)
    return kinds


Study = Callable[[Path, int, Sequence[str], random.Random], tuple[Found, int]]
"""Shakes a study in a new folder, by its number, once for each kind; how many kinds were tried."""


def shaken(place: str, kinds: Sequence[str], seed: int, folder: Path, parts: Parts, study: Study) -> Found:
    """Run studies, one after the other, until each of `kinds` has come; return what came of them."""
    total, waiting, began = Found(), list(kinds), folder / place
    began.mkdir(parents=True)
    while waiting:
        number = total.studies

        def run(number: int = number) -> dict[str, Any]:
            begun = time.perf_counter()
            rng = random.Random(f"{seed} {place} {number}")
            found, tried = study(began / f"study-{number}", number, waiting, rng)
            found.seconds = time.perf_counter() - begun
            return {"tried": max(1, tried), **vars(found)}

        kept = dict(parts.of(f"{len(kinds)} on {place}, study {number}", run))
        tried = kept.pop("tried")
        for kind in Counter[str](kept["kills"]).elements():
            waiting.remove(kind)  # those that found nothing to be done to come again
        if not kept["kills"]:
            del waiting[:tried]
        found = Found(**{**kept, "kills": Counter(kept["kills"])})
        total.add(found)
        sys.stderr.write(f"{place}, study {number}: {dict(found.kills)}, {found.counts}\n")
    return total


@contextlib.contextmanager
def on_processes() -> Iterator[Study]:
    """Yield what shakes studies on processes."""

    def study(folder: Path, number: int, kinds: Sequence[str], rng: random.Random) -> tuple[Found, int]:
        return storm(folder, ["--engine", "processes"], kinds, rng, seed=number)

    yield study


@contextlib.contextmanager
def on_ray() -> Iterator[Study]:
    """Yield what shakes studies on a cluster of Ray."""
    from benchmarks.faults.ray_nodes import nodes

    with nodes(cores=4) as cluster:
        given = ["--engine", "ray", "--address", cluster.address]
        others = {"node": cluster.lose_one}

        def study(folder: Path, number: int, kinds: Sequence[str], rng: random.Random) -> tuple[Found, int]:
            return storm(folder, given, kinds, rng, seed=number, others=others)

        yield study


@contextlib.contextmanager
def on_slurm() -> Iterator[Study]:
    """Yield what shakes experiments on a cluster of Slurm."""
    from tests.slurm import storm as slurm
    from tests.slurm.cluster import running

    with running() as cluster, _environment(cluster.env):

        def study(folder: Path, number: int, kinds: Sequence[str], rng: random.Random) -> tuple[Found, int]:
            del number
            found = slurm.storm(cluster, folder, kinds, cells=8, pace=0.3, rng=rng)
            wrong = {name: list(found[name]) for name in WRONG}
            if found["exit_code"]:
                wrong["lost"].append(f"exit code {found['exit_code']}: {found['said']}")
            return Found(Counter(found["kills"]), studies=1, wrong=wrong), found["tried"]

        yield study


ON: dict[str, Callable[[], contextlib.AbstractContextManager[Study]]]
ON = {"processes": on_processes, "ray": on_ray, "slurm": on_slurm}


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
    parser.add_argument("--output", type=Path, help="file of studies that were shaken (JSON)")
    options = parser.parse_args(arguments)
    places = options.only or [place for place in PLACES if not (options.quick and place == "slurm")]
    left_out = {place: reason for place in places if (reason := missing(place))}
    places = [place for place in places if place not in left_out]
    kills = options.kills or (30 if options.quick else 200)
    shares = {place: SHARES[place] / sum(SHARES[p] for p in places) for place in places}
    try:
        parts = Parts(options.output, {"benchmark": "faults", "seed": options.seed})
    except InvalidArgumentError as error:
        parser.error(str(error))
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory(prefix="hypernudge-faults-") as folder:
        for place in places:
            rng = random.Random(f"{options.seed} {place}")
            kinds = kinds_of(KINDS_OF[place], round(shares[place] * kills), rng)
            with ON[place]() as study:
                found[place] = shaken(place, kinds, options.seed, Path(folder), parts, study)
    total = Found()
    for each in found.values():
        total.add(each)
    about: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.faults", *(arguments or sys.argv[1:])]),
        "begun": parts.begun,
        "places": {place: _as_data(each) for place, each in found.items()},
        "left_out": left_out,
        "wrong": total.wrong,
        "minutes": round(total.seconds / 60, 1),
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
        "minutes": round(found.seconds / 60, 1),
        "units_trained_again_before_their_report": found.trained_again,
        **found.counts,
    }


if __name__ == "__main__":
    sys.exit(main())
