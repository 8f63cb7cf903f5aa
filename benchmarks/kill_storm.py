"""Studies are killed again and again, in five ways: nothing may be lost, unfinished or left behind.

    python -m benchmarks.kill_storm [--kills 100] [--door "hypernudge run"] [--seed 0] [--json]

The smoke test, made small, runs through both front doors (`python -m src.main`, `hypernudge run`) with both
engines, each combination in directories of its own. A kill comes at a random moment: SIGKILL to the whole
process group, to one worker or to the first process alone; SIGTERM or SIGINT to the first process. Then the
same command is started again. After the last kill it runs to its end. Checked all along:

lost         a record that was sealed before a kill is not the same file, byte by byte, after it
unfinished   a record that is not that of an undisturbed run, by its digest
orphans      a process of the study that is still there after the kill
left         a temporary, a lock or a log after the study has ended
disorderly   SIGINT or SIGTERM without its exit code (130, 143) and its one line, or with a traceback

It needs Linux: processes are found by their environment, workers by the locks they hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.harness.cells.leftovers import RUN_LOCK
from hypernudge.harness.cells.provenance import provenance
from hypernudge.results.digests import record_digest
from hypernudge.results.files import temporary_of

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("group", "worker", "parent", "SIGTERM", "SIGINT")
ENGINES = ("serial", "population")
SMALL = (
    "common.budget.units=12",
    "common.scheduler.max_units=3",
    "common.seeds.count=12",
    *(f"~variations.asha-{name}" for name in ("literal", "multi_step", "random_step")),
)
DOORS: dict[str, tuple[str, ...]] = {
    "src.main": ("-m", "src.main", "--smoke-test"),
    "hypernudge run": ("-m", "hypernudge.cli", "run", str(ROOT / "config" / "smoke_test.yaml")),
}
MARK = "HYPERNUDGE_KILL_STORM"
PATIENCE = 120.0  # seconds for what must happen soon, on a busy machine


@dataclass
class Found:
    """What a storm did, and what went wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    records: int = 0
    sealed_before_kills: int = 0
    wrong: dict[str, list[str]] = field(
        default_factory=lambda: {name: [] for name in ("lost", "unfinished", "orphans", "left", "disorderly")}
    )

    def add(self, other: Found) -> None:
        """Count another storm in."""
        self.kills += other.kills
        self.studies += other.studies
        self.records += other.records
        self.sealed_before_kills += other.sealed_before_kills
        for name, entries in other.wrong.items():
            self.wrong[name] += entries

    @property
    def faults(self) -> int:
        """How much went wrong."""
        return sum(map(len, self.wrong.values()))


@dataclass(frozen=True)
class Study:
    """A command that is killed, in a directory of its own.

    Attributes:
        command: Arguments of the interpreter; `{results}` in them is the directory.
        results: The directory.
    """

    command: tuple[str, ...]
    results: Path

    def start(self) -> subprocess.Popen[str]:
        """Start it in a process group of its own."""
        log = self.results.with_suffix(".log").open("w")
        try:
            return subprocess.Popen(
                [sys.executable, *(part.replace("{results}", str(self.results)) for part in self.command)],
                cwd=ROOT,
                env={**os.environ, MARK: str(self.results)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        finally:
            log.close()

    def said(self) -> str:
        """Return what its last start wrote to standard error."""
        return self.results.with_suffix(".log").read_text(errors="replace")

    def records(self) -> dict[str, bytes]:
        """Return the sealed records there are."""
        paths = sorted(self.results.glob("*/cells/seed-*.json"))
        return {path.relative_to(self.results).as_posix(): path.read_bytes() for path in paths}

    def processes(self) -> list[int]:
        """Return its living processes, orphans too."""
        return [pid for pid in _pids() if _has_mark(pid, str(self.results))]

    def workers(self) -> list[int]:
        """Return the processes that hold the lock of a cell."""
        cells = set()
        for path in self.results.glob("*/cells/*.lock"):
            with contextlib.suppress(FileNotFoundError):  # its cell has just ended
                cells.add(path.stat().st_ino)
        return [pid for pid, inode in _locks() if inode in cells]

    def leftovers(self) -> list[str]:
        """Return temporaries, locks and logs of cells."""
        return [
            path.relative_to(self.results).as_posix()
            for path in self.results.rglob("*")
            if temporary_of(path) or path.name == RUN_LOCK or path.name.endswith((".lock", ".partial.jsonl"))
        ]


def digests(records: dict[str, bytes]) -> dict[str, str]:
    """Return the digest of what each record holds, or why it is no record."""
    found = {}
    for name, data in records.items():
        try:
            record = json.loads(data)
            own = record_digest(record)
            found[name] = own if own == record["digest"] else "not its own"
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            found[name] = f"no record: {error}"
    return found


def undisturbed(command: Sequence[str], results: Path) -> dict[str, str]:
    """Run a command to its end; return the digests of its records."""
    study = Study(tuple(command), results)
    _finish(study)
    return digests(study.records())


def storm(
    command: Sequence[str], folder: Path, kinds: Sequence[str], reference: dict[str, str], rng: random.Random
) -> Found:
    """Kill a command once for each of `kinds`, then run it to its end; begin anew if it gets there early.

    Args:
        command: Arguments of the interpreter; `{results}` in them is a directory of its own.
        folder: Where its directories go.
        kinds: Of kills, in this order.
        reference: Digests of an undisturbed run.
        rng: Draws the moments.
    """
    found = Found()
    waiting = list(kinds)
    while waiting:
        found.studies += 1
        study = Study(tuple(command), folder / f"study-{found.studies}")
        over = False
        while waiting and not over:
            over = _until_killed(study, waiting, reference, rng, found)
        _finish(study)
        records = study.records()
        found.records += len(records)
        found.wrong["unfinished"] += _unlike(records, reference, whole=True)
        found.wrong["left"] += study.leftovers()
        found.wrong["orphans"] += _stayed(study, "its end")
    return found


def _until_killed(
    study: Study, waiting: list[str], reference: dict[str, str], rng: random.Random, found: Found
) -> bool:
    """Start a study and kill it, a worker or the whole; return whether it came to its end instead."""
    with study.start() as process:
        while waiting:
            kind = waiting[0]
            if not _moment(study, process, kind, rng):
                return True
            before = study.records()
            if not _kill(study, process, kind):
                continue  # the worker has just ended: another moment
            waiting.pop(0)
            found.kills[kind] += 1
            found.sealed_before_kills += len(before)
            if kind != "worker":
                process.wait(PATIENCE)
                found.wrong["orphans"] += _stayed(study, kind)
                found.wrong["disorderly"] += _manners(kind, process.returncode, study.said())
            after = study.records()
            found.wrong["lost"] += [name for name, data in before.items() if after.get(name) != data]
            found.wrong["unfinished"] += _unlike(after, reference)
            if kind != "worker":
                return False
        # Only workers were killed: the study goes on by itself.
        process.wait(10 * PATIENCE)
    return True


def _moment(study: Study, process: subprocess.Popen[str], kind: str, rng: random.Random) -> bool:
    """Wait for a random moment in which there is something to kill; return False if the study ended first."""
    more = rng.choice((0, 0, 1, 2, 3))  # records that are sealed meanwhile
    goal = len(list(study.results.glob("*/cells/seed-*.json"))) + more
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        sealed = len(list(study.results.glob("*/cells/seed-*.json")))
        if sealed >= goal and _can_be_killed(study, process, kind):
            time.sleep(rng.choice((0.0, rng.uniform(0, 0.1), rng.uniform(0, 2.0))))
            return process.poll() is None
        time.sleep(0.005)
    return False


def _can_be_killed(study: Study, process: subprocess.Popen[str], kind: str) -> bool:
    if kind == "worker":
        return bool(study.workers())
    return kind not in ("SIGTERM", "SIGINT") or _listens(process.pid)


def _listens(pid: int) -> bool:
    """Whether a process handles SIGTERM by now; before its own first lines it has the interpreter's way."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def _kill(study: Study, process: subprocess.Popen[str], kind: str) -> bool:
    if kind == "worker":
        workers = study.workers()
        if workers:
            try:
                os.kill(workers[0], signal.SIGKILL)
            except ProcessLookupError:
                return False
        return bool(workers)
    if kind == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.send_signal(signal.SIGKILL if kind == "parent" else signal.Signals[kind])
    return True


def _manners(kind: str, code: int, said: str) -> Iterator[str]:
    """Yield what is wrong with how a process took SIGTERM or SIGINT."""
    if kind not in ("SIGTERM", "SIGINT"):
        return
    expected = 128 + signal.Signals[kind]
    if code not in (expected, 0):
        yield f"{kind}: exit code {code}"
    if "Traceback" in said:
        yield f"{kind}: {said[said.index('Traceback') :][:2000]}"
    if code == expected and not said.rstrip().endswith("interrupted; the same command goes on"):
        yield f"{kind}: it said {said[-200:]!r}"


def _finish(study: Study) -> None:
    with study.start() as process:
        code = process.wait(20 * PATIENCE)
    if code != 0:  # the last worker may have been killed twice at one cell
        with study.start() as process:
            code = process.wait(20 * PATIENCE)
    if code != 0:
        raise RuntimeError(f"the study does not come to its end: {study.said()[-2000:]}")


def _unlike(records: dict[str, bytes], reference: dict[str, str], whole: bool = False) -> Iterator[str]:
    found = digests(records)
    for name in reference if whole else found:
        if found.get(name) != reference.get(name):
            yield f"{name}: {found.get(name, 'not there')}"


def _stayed(study: Study, after: str) -> list[str]:
    """Return the processes that are still there although they had time to end."""
    deadline = time.monotonic() + PATIENCE
    while (left := study.processes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [f"{after}: {pid}" for pid in left]


def _pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def _has_mark(pid: int, value: str) -> bool:
    try:
        return f"{MARK}={value}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # ended meanwhile, or somebody else's
        return False


def _locks() -> Iterator[tuple[int, int]]:
    """Yield the process and the inode of every `flock` that is held."""
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if len(fields) > 6 and fields[1] == "FLOCK" and fields[4] != "-1":
            yield int(fields[4]), int(fields[5].rsplit(":", 1)[1])


def plan_of(
    kills: int, rng: random.Random, doors: Sequence[str] = tuple(DOORS)
) -> dict[tuple[str, str], list[str]]:
    """Return the kinds of kills for each (door, engine), every kind as often as the next, in random order."""
    combinations = [(door, engine) for door in doors for engine in ENGINES]
    planned: dict[tuple[str, str], list[str]] = {combination: [] for combination in combinations}
    cases = [(combination, kind) for kind in KINDS for combination in combinations]
    rng.shuffle(cases)
    for number in range(kills):
        combination, kind = cases[number % len(cases)]
        planned[combination].append(kind)
    return planned


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="in all (default 100)")
    parser.add_argument("--door", choices=tuple(DOORS), help="only this one (default: both)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    doors = tuple(DOORS) if options.door is None else (options.door,)
    begun = time.perf_counter()
    total = Found()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        references: dict[str, dict[str, str]] = {}
        for (door, engine), kinds in plan_of(options.kills, rng, doors).items():
            command = (*DOORS[door], "--results-dir", "{results}", *SMALL, f"engine={engine}")
            own = folder / f"{door.replace(' ', '-')}-{engine}"
            own.mkdir()
            if engine not in references:
                references[engine] = undisturbed(command, own / "whole")
            found = storm(command, own, kinds, references[engine], rng)
            total.add(found)
            row = {"door": door, "engine": engine, "kills": dict(found.kills), "studies": found.studies}
            rows.append({**row, "records": found.records, "faults": found.faults})
            sys.stderr.write(f"{door}, {engine}: {found.kills.total()} kills, {found.faults} faults\n")
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.kill_storm", *(arguments or sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "kills": {kind: total.kills[kind] for kind in KINDS},
        "total": total.kills.total(),
        "studies_run_to_their_end": total.studies,
        "records_compared_at_the_ends": total.records,
        "sealed_records_compared_across_kills": total.sealed_before_kills,
        "faults": total.faults,
        "wrong": total.wrong,
        "combinations": rows,
        "minutes": round((time.perf_counter() - begun) / 60, 1),
        "provenance": provenance(),
    }
    sys.stdout.write(json.dumps(result, indent=None if options.json else 1) + "\n")
    return 1 if total.faults else 0


if __name__ == "__main__":
    sys.exit(main())
