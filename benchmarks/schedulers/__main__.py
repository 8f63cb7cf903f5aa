"""Milliseconds per decision, after 100, 1,000 and 10,000 trials, beside other libraries.

    python -m benchmarks.schedulers [--json] [--names asha ...] [--trials 100 ...] [--peer syne=PYTHON]

Trials follow random curves that rise on four simulated workers; one thread. A decision is one call of the
scheduler, with what it takes to bring its view of the history up to date; the history's own bookkeeping is
included. Models meet a history in which each trial is an observation at the first milestone (DyHPO: units
are), and are timed after they have caught up with it; refits of DyHPO's network, which take place ever more
seldom, are spread over the decisions between two of them. `--peer NAME=PYTHON` times another library with
an interpreter that has it (see `benchmarks.schedulers.other_libraries`); Optuna is timed where it is
installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from hypernudge.random import Streams
from hypernudge.registry import resolve
from hypernudge.schedulers.base import Decision, Resume, Scheduler, Start
from hypernudge.space import Real, SearchSpace
from hypernudge.surrogates.curve_model import CurveModel
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult

SPACE = SearchSpace([Real(f"x{i}", 0.0, 1.0) for i in range(8)])
MAX_UNITS, WORKERS = 27, 4
HISTORY_ONLY = ("random", "successive_halving", "hyperband", "asha", "asha_stopping", "pasha")
BY_MODEL = ("bohb", "dyhpo", "boil", "random+gp")
TRIALS = (100, 1000, 10_000)


class Study:
    """A history that grows by simulated trials."""

    def __init__(self) -> None:
        self.history, self.streams = History(), Streams(0)
        self.running: list[Job] = []
        self._rng = np.random.default_rng(0)
        self._heights: list[float] = []

    def apply(self, decision: Decision) -> None:
        """Enter a decision; when all workers are busy, a random one of them reports."""
        if isinstance(decision, Start):
            number = len(self.history.trials)
            self.history.append(Started(number, decision.config, Nudge(decision.config, "none"), 0.0))
            job = Job(number, decision.config, 0, decision.until)
            self._heights.append(self._rng.random())
        elif isinstance(decision, Resume):
            trial = self.history.trials[decision.trial]
            job = Job(trial.number, trial.config, trial.until, decision.until)
        else:
            raise ValueError(f"decision: must start or resume, but got {decision}")
        self.history.append(job)
        self.running.append(job)
        if len(self.running) == WORKERS:
            self.report(self.running.pop(int(self._rng.integers(WORKERS))))

    def report(self, job: Job) -> None:
        """Complete a job."""
        noise = 0.02 * self._rng.normal(size=job.until - job.since)
        units = tuple(
            UnitResult(unit, 0.0, score, score)
            for unit, wobble in enumerate(noise, job.since + 1)
            for score in [self._heights[job.trial] * (1 - 0.5**unit) + float(wobble)]
        )
        self.history.append(Report(job, "ok", 0.0, float(len(units)), units, 1.0))

    def grow(self, scheduler: Scheduler, trials: int) -> None:
        """Follow a scheduler until there are so many trials."""
        while len(self.history.trials) < trials:
            self.apply(scheduler(self.history, self.streams))


def history_only(name: str, trials: int) -> float:
    """Return milliseconds per decision of a scheduler that follows its own decisions."""
    scheduler, study = resolve("scheduler", name)(SPACE, max_units=MAX_UNITS), Study()
    study.grow(scheduler, trials)
    return timed(study, scheduler, 300)


def by_model(name: str, trials: int) -> float:
    """Return milliseconds per decision of a model on `trials` observations that were chosen at random."""
    study = Study()
    if name == "bohb":
        study.grow(resolve("scheduler", "hyperband")(SPACE, max_units=MAX_UNITS), trials)
        options: dict[str, Any] = {"random_fraction": 0.0}
    else:
        lengths = (3, 9, 27) if name == "boil" else (1,)
        rng = np.random.default_rng(1)
        for number in range(trials):
            until = int(rng.choice(lengths))
            study.apply(Start(SPACE.sample(study.streams("config", number)), until))
        options = {}
    name, _, sampler = name.partition("+")
    if sampler:
        options = {"sampler": sampler}
    scheduler = resolve("scheduler", name)(SPACE, max_units=MAX_UNITS, **options)
    scheduler(study.history, study.streams)
    milliseconds = timed(study, scheduler, 40)
    return milliseconds + refits(study, scheduler) if name == "dyhpo" else milliseconds


def refits(study: Study, scheduler: Any) -> float:
    """Return milliseconds per observation that refitting DyHPO's network costs at this size."""
    fitting, seed = scheduler.fitting, study.streams.seed
    key = ("dyhpo", SPACE, MAX_UNITS, fitting, seed)
    model = study.history.project(key, lambda: CurveModel(SPACE, MAX_UNITS, fitting, seed))
    begun = time.perf_counter()
    model._fit()
    return 1e3 * (time.perf_counter() - begun) / (float(fitting.growth - 1) * model._size)


def timed(study: Study, scheduler: Scheduler, decisions: int) -> float:
    """Return milliseconds per decision, and per entry of it into the history."""
    begun = time.perf_counter()
    for _ in range(decisions):
        study.apply(scheduler(study.history, study.streams))
    return 1e3 * (time.perf_counter() - begun) / decisions


def peers(specifications: list[str], trials: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """Time other libraries with their own interpreters."""
    found: dict[str, dict[str, Any]] = {}
    for specification in specifications:
        library, _, python = specification.partition("=")
        for count in trials:
            command = [python, "-m", "benchmarks.schedulers.other_libraries", library, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, value in json.loads(done.stdout.splitlines()[-1]).items():
                found.setdefault(f"{library} {name}", {})[str(count)] = value
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument(
        "--names", nargs="+", choices=[*HISTORY_ONLY, *BY_MODEL], default=[*HISTORY_ONLY, *BY_MODEL]
    )
    parser.add_argument("--trials", nargs="+", type=int, default=list(TRIALS))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    options = parser.parse_args(arguments)
    sizes = tuple(options.trials)
    decision_ms: dict[str, dict[str, float]] = {}
    for name in options.names:
        work: Callable[[str, int], float] = history_only if name in HISTORY_ONLY else by_model
        with threadpool_limits(1):  # for matrices this small others only wait, and longer on a busy machine
            decision_ms[name] = {str(trials): round(work(name, trials), 4) for trials in sizes}
        print(f"{name:20}", *(f"{value:10.3f}" for value in decision_ms[name].values()), flush=True)
    if importlib.util.find_spec("optuna") is not None:
        options.peer.append(f"optuna={sys.executable}")
    others = peers(options.peer, tuple(size for size in sizes if size <= 1000))
    for name, row in others.items():
        print(f"{name:20}", *(f"{value:10.3f}" if value else "   too slow" for value in row.values()))
    if options.json:
        print(json.dumps({"peers_ms": others, "decision_ms": decision_ms}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
