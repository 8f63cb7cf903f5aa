"""Milliseconds per decision of other libraries, each in its own environment.

    PYTHON -m benchmarks.schedulers.other_libraries syne 1000  # 0.14.2, see tests/schedulers/traces/record.py
    PYTHON -m benchmarks.schedulers.other_libraries syne016 1000
    PYTHON -m benchmarks.schedulers.other_libraries ray 1000
    PYTHON -m benchmarks.schedulers.other_libraries optuna 1000

Prints one line of JSON: names and milliseconds from that number of trials on, reports included; null for what
took longer than `LIMIT` seconds to get there.
"""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LIMIT, MEASURED, WORKERS = 30.0, 100, 4
TRACES = Path(__file__).resolve().parents[2] / "tests" / "schedulers" / "traces"
NAMES = {
    "syne": ("asha", "pasha", "hyperband", "asha_stopping_quantile"),
    "syne016": ("asha_stopping_rank",),
    "ray": ("asha_stopping_earlier",),
}


class Enough(Exception):  # noqa: N818 - it ends a simulation, and is no error
    """The measurement is complete, or takes too long."""


class Stopwatch:
    """A scheduler whose decisions and reports are timed once there are `trials` trials."""

    def __init__(self, scheduler: Any, trials: int) -> None:
        self.scheduler, self.trials = scheduler, trials
        self.begun, self.seconds, self.decisions, self.measuring = time.perf_counter(), 0.0, 0, False

    def decide(self, number: int) -> Any:
        self.measuring = self.measuring or number >= self.trials
        if self.decisions == MEASURED or time.perf_counter() - self.begun > LIMIT:
            raise Enough
        decision = self._timed(self.scheduler.decide, number)
        self.decisions += self.measuring
        return decision

    def report(self, *result: Any) -> None:
        self._timed(self.scheduler.report, *result)

    def _timed(self, work: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.perf_counter()
        result = work(*arguments)
        if self.measuring:
            self.seconds += time.perf_counter() - begun
        return result

    @property
    def milliseconds(self) -> float | None:
        return 1e3 * self.seconds / self.decisions if self.decisions == MEASURED else None


def measure(make: Callable[[], Any], trials: int) -> float | None:
    """Return milliseconds per decision of `make()` on random curves that fall, after `trials` trials."""
    from driver import MAX_UNITS, drive

    rng = np.random.Generator(np.random.Philox(key=0))
    losses = np.sort(rng.random((2 * trials + 1000, MAX_UNITS)), axis=1)[:, ::-1] + rng.random(
        (2 * trials + 1000, 1)
    )
    watch = Stopwatch(make(), trials)
    with contextlib.suppress(Enough):
        drive(watch, losses, 0, WORKERS, decisions=10**9)
    return watch.milliseconds


def optuna_tpe(trials: int) -> float:
    """Return milliseconds per suggestion of Optuna's TPE in eight dimensions."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    space: dict[str, Any] = {f"x{i}": optuna.distributions.FloatDistribution(0.0, 1.0) for i in range(8)}
    rng = np.random.default_rng(0)
    for point in rng.random((trials, 8)):
        params = {f"x{i}": value for i, value in enumerate(point)}
        study.add_trial(optuna.create_trial(params=params, distributions=space, value=float(point.sum())))
    begun, count = time.perf_counter(), 0
    while count < 10 and time.perf_counter() - begun < LIMIT:
        trial = study.ask(space)
        study.tell(trial, sum(trial.params.values()))
        count += 1
    return 1e3 * (time.perf_counter() - begun) / count


def main(library: str, trials: int) -> None:
    logging.disable(logging.CRITICAL)
    if library == "optuna":
        found: dict[str, float | None] = {"tpe": optuna_tpe(trials)}
    else:
        sys.path.insert(0, str(TRACES))
        import record

        record.POINTS = 2 * trials + 1000
        found = {name: measure(record.REFERENCES[name][1], trials) for name in NAMES[library]}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
