"""A study on a cluster is shaken: nothing may be lost, different, done twice or left behind.

    python -m tests.slurm.storm [--kills 20] [--cells 12] [--pace .3] [--seed 0] [--json]

At random moments a job's process is killed, a node's daemon (its jobs run on, and the cluster starts them
again elsewhere), a whole node, the controller, or the driver; a moment later what was killed is started
again. At the end the same command must have come to its end. Counted are

lost         a record that was sealed before a kill and is not the same file, byte by byte, after it
recomputed   a record whose file was written again
differing    a record that is not that of an undisturbed run, by its digest
left         a lock, a temporary, a checkpoint, a file of submitit or a process of a job
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.harness.cells.provenance import provenance
from tests.slurm.cluster import Cluster, running
from tests.slurm.tools import PATIENCE, Driver, computed_here, digests, leftovers, paced, wait_for

WRONG = ("lost", "recomputed_finished", "differing", "left")
KINDS = ("job", "daemon", "node", "controller", "driver")


def storm(
    cluster: Cluster, folder: Path, kinds: Sequence[str], cells: int, pace: float, rng: random.Random
) -> dict[str, Any]:
    """Kill once for each of `kinds`, at random moments, until the study ends; return what went wrong."""
    folder.mkdir()
    config, results, jobs = paced(folder, cells), folder / "r", folder / "jobs"
    reference = computed_here(config, folder / "alone")
    kills: Counter[str] = Counter()
    lost: list[str] = []
    options: dict[str, Any] = {"pace": pace, "attempts": 100, "max_parallel": 4}
    driver = Driver(config, results, jobs, **options)
    inodes: dict[Path, int] = {}
    tried = 0
    try:
        for tried, kind in enumerate(kinds, 1):  # noqa: B007
            _wait_for_a_cell(driver, results)
            time.sleep(rng.uniform(0, 2))
            if driver.process.poll() is not None:
                break
            before = _records(results)
            if not _kill(cluster, driver, results, kind, rng):
                continue
            kills[kind] += 1
            if kind == "driver":
                driver = Driver(config, results, jobs, **options)
            time.sleep(rng.uniform(0, 3))
            _mend(cluster)
            after = _records(results)
            lost += [str(path) for path, content in before.items() if after.get(path) != content]
            inodes |= {path: path.stat().st_ino for path in after if path not in inodes}
        code = _ended(cluster, driver)
        if code != 0:  # a driver may have been the last one that was killed
            driver = Driver(config, results, jobs, **options)
            code = _ended(cluster, driver)
    finally:
        _mend(cluster)
        driver.__exit__()
    found = digests(results)
    left = [str(path) for path in leftovers(results, jobs)]
    left += _stayed(results)
    return {
        "kills": dict(kills),
        "tried": tried,
        "exit_code": code,
        "lost": lost,
        "recomputed_finished": [str(p) for p, inode in inodes.items() if p.stat().st_ino != inode],
        "differing": [name for name in reference if found.get(name) != reference[name]],
        "left": left,
        "said": "" if code == 0 else driver.said[-3000:],
    }


def _wait_for_a_cell(driver: Driver, results: Path) -> None:
    wait_for(lambda: any(results.glob("*/cells/*.lock")) or driver.process.poll() is not None, 120)


def _records(results: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in results.glob("*/cells/seed-*.json")}


def _kill(cluster: Cluster, driver: Driver, results: Path, kind: str, rng: random.Random) -> bool:
    node = rng.choice(cluster.nodes)
    if kind == "job":
        workers = _workers(results)
        with contextlib.suppress(ProcessLookupError):
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                return True
        return False
    if kind == "daemon":
        cluster.kill_daemon(node)
    elif kind == "node":
        cluster.kill_node(node)
    elif kind == "controller":
        cluster.kill_controller()
    else:
        driver.end(signal.SIGKILL)
    return True


def _workers(results: Path) -> list[int]:
    """Return the processes that hold the lock of a cell."""
    found = []
    for path in results.glob("*/cells/*.lock"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # its cell has just ended
            found.append(int(json.loads(path.read_text())["process"]))
    return found


def _mend(cluster: Cluster) -> None:
    for node in cluster.nodes:
        if not cluster.is_up(node):
            cluster.start_node(node)
    if not cluster.is_up("slurmctld"):
        cluster.start_controller()


def _ended(cluster: Cluster, driver: Driver) -> int:
    """Wait for the end of a driver; jobs that were lost with a node are missed at once, not in a minute."""
    deadline = time.monotonic() + 3 * PATIENCE
    while driver.process.poll() is None and time.monotonic() < deadline:
        cluster.ask_nodes()
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.process.wait(5)
    return driver.process.wait(1)


def _stayed(results: Path) -> list[str]:
    """Return the workers that are still there although they had time to end."""
    deadline = time.monotonic() + 30
    while True:
        left = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (path / "cmdline").read_bytes()
                if b"submitit" in command and str(results.parent).encode() in command:
                    left.append(path.name)
        if not left or time.monotonic() > deadline:
            return [f"process {name}" for name in left]
        time.sleep(0.2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--pace", type=float, default=0.3, help="seconds of a unit; a cell has about 30")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="numbers alone, on one line")
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(options.kills)]
    rng.shuffle(kinds)
    begun = time.monotonic()
    kills: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {name: [] for name in WRONG}
    studies = failed = 0
    with running() as cluster, tempfile.TemporaryDirectory() as folder:
        os.environ.update(cluster.env)
        while kinds:
            found = storm(cluster, Path(folder) / f"study-{studies}", kinds, options.cells, options.pace, rng)
            studies, failed = studies + 1, failed + (found["exit_code"] != 0)
            kills.update(found["kills"])
            del kinds[: max(1, found["tried"])]
            for name in WRONG:
                wrong[name] += found[name]
            sys.stderr.write(f"study {studies}: {found['kills']}\n{found['said']}")
    counts = {name: len(entries) for name, entries in wrong.items()}
    result: dict[str, Any] = {"kills": kills.total(), **counts}
    if not options.json:
        about = {"by_kind": dict(kills), "studies": studies, "cells": studies * options.cells, **wrong}
        about |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "provenance": provenance()}
        about["minutes"] = round((time.monotonic() - begun) / 60, 1)
        sys.stdout.write(json.dumps(about, indent=1) + "\n")
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if sum(counts.values()) or failed else 0


if __name__ == "__main__":
    sys.exit(main())
