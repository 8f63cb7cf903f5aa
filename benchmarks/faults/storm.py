"""One study, killed at random moments until it ends: what was lost, done twice, or left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults.driver import HEARTBEAT, UNITS
from benchmarks.faults.task import BEGUN, Paced, read_units
from hypernudge.random import Streams
from hypernudge.results.files import temporary_of
from hypernudge.schedulers.random import RandomSearch
from hypernudge.study.study import Study
from hypernudge.tuner import tune

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0  # seconds for what must happen soon, on a busy machine
WRONG = ("lost", "recomputed_finished", "differing", "left")
KINDS = ("worker", "driver", "interrupt", "frozen", "disk")
"""SIGKILL to a worker or the driver, SIGINT to it, SIGSTOP past the heartbeat, a disk that refuses."""


@dataclass
class Found:
    """What a storm did, and what went wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    trials: int = 0
    units: int = 0
    trained_again: int = 0
    seconds: float = 0.0
    wrong: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in WRONG})

    def add(self, other: Found) -> None:
        """Count another storm in."""
        self.kills += other.kills
        self.studies += other.studies
        self.trials += other.trials
        self.units += other.units
        self.trained_again += other.trained_again
        self.seconds += other.seconds
        for name, entries in other.wrong.items():
            self.wrong[name] += entries

    @property
    def counts(self) -> dict[str, int]:
        """How much went wrong, by kind."""
        return {name: len(entries) for name, entries in self.wrong.items()}


class Watched:
    """The folder of a study: which units were reported, and what was trained afterwards."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self._streams = folder, Streams(seed)
        self.reports: list[str] = []
        # (seed, unit) -> units that had begun when its report was seen
        self._known: dict[tuple[int, int], int] = {}

    @property
    def file(self) -> Path:
        """The study's events."""
        return self.folder / "kept" / "study.jsonl"

    def look(self) -> int:
        """Take in new reports; return how many there are."""
        found = self._lines()
        new = [line for line in found if line not in set(self.reports)]
        if new:
            begun = len(read_units(self.folder, BEGUN))  # what comes after these lines comes after the report
            for line in new:
                report = json.loads(line)
                seed = self._streams.trial_seed(report["trial"])
                for unit, *_ in report["units"]:
                    self._known.setdefault((seed, unit), begun)
            self.reports += new
        return len(found)

    def lost(self) -> list[str]:
        """Return the reports that were seen and are no longer there."""
        return sorted(set(self.reports) - set(self._lines()))

    def recomputed(self) -> list[str]:
        """Return the units whose training began after their report was on disk."""
        return [
            f"{self.folder.name}: unit {unit} of the trial with seed {seed}"
            for place, (seed, unit, _) in enumerate(read_units(self.folder, BEGUN))
            if self._known.get((seed, unit), place + 1) <= place
        ]

    def _lines(self) -> list[str]:
        try:
            text = self.file.read_text("utf-8")
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [line for line in whole if '"event":"report"' in line.replace(" ", "")]


class Driver:
    """The command that drives a study."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.folder, self._arguments = folder, tuple(arguments)
        self.process: subprocess.Popen[bytes] = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "said.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.faults.driver", str(self.folder), *self._arguments],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the storm
            )

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def go_on(self) -> None:
        """Start it again if it has ended before the study has."""
        if not self.runs and self.process.returncode != 0:
            self.process = self._start()

    def said(self) -> str:
        """Return the end of what it has said."""
        return (self.folder / "said.txt").read_text(errors="replace")[-3000:]

    def workers(self) -> list[int]:
        """Return the processes that trained last, and live."""
        found: list[int] = []
        for *_, process in reversed(read_units(self.folder)[-50:]):
            if process not in found and _trains(process, self.process.pid):
                found.append(process)
        return found

    def send(self, number: int) -> None:
        """Send the driver a signal, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(PATIENCE)


def _trains(process: int, driver: int) -> bool:
    """Whether a process is a worker: a child of its driver, or an actor of Ray."""
    try:
        found = psutil.Process(process)
        return found.ppid() == driver or any(word.startswith("ray::") for word in found.cmdline())
    except psutil.Error:
        return False


def storm(
    folder: Path,
    arguments: Sequence[str],
    kinds: Sequence[str],
    rng: random.Random,
    *,
    seed: int = 0,
    trials: int = 40,
    others: dict[str, Callable[[], None]] | None = None,
) -> tuple[Found, int]:
    """Shake a study once for each of `kinds`, until it ends; return what came of it, and how many were tried.

    Args:
        folder: A new one.
        arguments: Of the driver, beside the folder, `--seed` and `--trials`.
        kinds: Of `KINDS`, or names of `others`.
        rng: Draws the moments.
        seed: Of the study.
        trials: Of the study.
        others: What else can happen.
    """
    folder.mkdir()
    found, watched, tried = Found(studies=1), Watched(folder, seed), 0
    driver = Driver(folder, [*arguments, "--seed", str(seed), "--trials", str(trials)])
    try:
        for kind in kinds:
            if not _moment(driver, watched, rng):
                break
            tried += 1
            if kind in (others or {}):
                assert others is not None
                others[kind]()
                found.kills[kind] += 1
            elif _disturb(driver, kind, rng):
                found.kills[kind] += 1
            watched.look()
            driver.go_on()
        _finish(driver, watched)
    finally:
        if driver.runs:
            driver.send(signal.SIGKILL)
    study = Study.open(folder / "kept")
    found.trials, found.units = len(study.trials), sum(len(trial.units) for trial in study.trials)
    found.trained_again = len(read_units(folder)) - found.units
    found.wrong["lost"] += watched.lost()
    found.wrong["recomputed_finished"] += watched.recomputed()
    found.wrong["differing"] += _differing(study, seed, trials)
    found.wrong["left"] += _left(folder)
    return found, tried


def _moment(driver: Driver, watched: Watched, rng: random.Random) -> bool:
    """Wait for a random moment while trials are trained; False if the study has ended."""
    goal = watched.look() + rng.choice((0, 0, 1, 2, 3))
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        driver.go_on()
        if driver.process.poll() == 0:
            return False
        if watched.look() >= goal and driver.workers():
            time.sleep(rng.choice((0.0, rng.uniform(0, 0.1), rng.uniform(0, 0.5))))
            return driver.runs
        time.sleep(0.01)
    raise TimeoutError(f"nothing is trained: {driver.said()}")


def _disturb(driver: Driver, kind: str, rng: random.Random) -> bool:
    """Do what a kind says; False if there was nothing to do it to."""
    if kind == "driver":
        driver.send(signal.SIGKILL)
        return True
    if kind == "interrupt":
        driver.send(signal.SIGINT)
        return driver.process.returncode != 0  # else it came to its end first
    workers = driver.workers()
    if kind == "disk":
        with _refusing([driver.process.pid, *workers]):
            time.sleep(rng.uniform(0.2, 1.5))
        return True
    if not workers:
        return False
    victim = rng.choice(workers)
    with contextlib.suppress(ProcessLookupError):
        if kind == "worker":
            os.kill(victim, signal.SIGKILL)
            return True
        os.kill(victim, signal.SIGSTOP)
        time.sleep(HEARTBEAT * rng.uniform(0.5, 2.5))
        with contextlib.suppress(ProcessLookupError):  # it was given up meanwhile
            os.kill(victim, signal.SIGCONT)
        return True
    return False


@contextlib.contextmanager
def _refusing(processes: Sequence[int]) -> Iterator[None]:
    """Have the system refuse all that processes write to files, as a full disk does."""
    before = {}
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            before[process] = resource.prlimit(process, resource.RLIMIT_FSIZE)
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, before[process][1]))
    try:
        yield
    finally:
        for process, limits in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process, resource.RLIMIT_FSIZE, limits)


def _finish(driver: Driver, watched: Watched) -> None:
    until = time.monotonic() + PATIENCE
    while driver.process.poll() != 0:
        if time.monotonic() > until:
            raise TimeoutError(f"the study does not come to its end: {driver.said()}")
        driver.go_on()
        watched.look()
        time.sleep(0.01)
    watched.look()


def _differing(study: Study, seed: int, trials: int) -> list[str]:
    """Return the trials that are not those of a study that nobody disturbs."""
    whole = tune(_Quiet(Path()), RandomSearch(Paced.space, max_units=UNITS, max_trials=trials), seed=seed)
    wrong = []
    for there, here in zip(study.trials, whole.trials, strict=False):
        ours = [(unit.unit, unit.validation, unit.test) for unit in there.units]
        theirs = [(unit.unit, unit.validation, unit.test) for unit in here.units[: len(ours)]]
        if (there.config, ours, there.status) != (here.config, theirs, "paused") or not ours:
            wrong.append(f"trial {there.number}: {there.status}, {len(ours)} units")
    if len(study.trials) != trials or study.ended != "scheduler":
        wrong.append(f"{len(study.trials)} trials, ended: {study.ended}")
    return wrong


class _Quiet(Paced):
    def _say(self, name: str, line: str) -> None:
        pass


def _left(folder: Path) -> list[str]:
    """Return processes, locks and temporary files of a study that has ended."""
    processes = {process for *_, process in read_units(folder)}
    until = time.monotonic() + 60
    while (alive := [p for p in processes if _is_of(p, folder)]) and time.monotonic() < until:
        time.sleep(0.05)
    files = [
        path.relative_to(folder).as_posix()
        for path in (folder / "kept").rglob("*")
        if temporary_of(path) or path.name.endswith(".lock") or "trials" in path.parts
    ]
    return [*map(_shown, alive), *files]


def _shown(process: int) -> str:
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(process)
        since = time.time() - found.create_time()
        return f"process {process}, {found.status()}, {since:.0f} s old: {' '.join(found.cmdline())[:200]}"
    return f"process {process}"


def _is_of(process: int, folder: Path) -> bool:
    """Whether a process is still a worker of the study: others may have its number by now."""
    try:
        words = psutil.Process(process).cmdline()
    except psutil.Error:
        return False
    return str(folder) in words or any(word.startswith("ray::_Actor") for word in words)
