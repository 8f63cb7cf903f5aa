"""Decision for decision what other libraries decide, on recorded traces (see `traces/record.py`)."""

import gzip
import json
import math
from dataclasses import dataclass

import pytest

from hypernudge.random import Streams
from hypernudge.registry import resolve
from hypernudge.schedulers.base import Resume
from hypernudge.space import Config, Real, SearchSpace
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult
from tests.schedulers.traces.driver import (
    BLOCK,
    DATA,
    ETA,
    FILES,
    FILES_WITHOUT_NAN,
    FOLDER,
    MAX_UNITS,
    SEEDS,
    WORKERS,
    checks,
    curves,
    digest,
    drive,
    text,
)

SPACE = SearchSpace([Real("x", 0.0, 1.0)])
CONFIG = Config({"x": 0.5})


@dataclass(frozen=True)
class Same:
    """Rows are chosen by the driver; what a scheduler samples plays no part."""

    def __call__(self, space, history, streams):
        return CONFIG


class Ours:
    def __init__(self, name, **options):
        self.scheduler = resolve("scheduler", name)(
            SPACE, max_units=MAX_UNITS, eta=ETA, sampler=Same(), **options
        )
        self.history, self.streams, self.jobs = History(), Streams(0), {}

    def decide(self, number):
        decision = self.scheduler(self.history, self.streams)
        if isinstance(decision, Resume):
            trial = decision.trial
            job = Job(trial, CONFIG, self.history.trials[trial].until, decision.until)
        else:
            trial, job = number, Job(number, CONFIG, 0, decision.until)
            self.history.append(Started(number, CONFIG, Nudge(CONFIG, "none"), 0.0))
        self.history.append(job)
        self.jobs[trial] = job
        return trial, decision.until

    def report(self, trial, since, until, values):
        units = tuple(UnitResult(unit, 0.0, -loss, -loss) for unit, loss in enumerate(values, since + 1))
        outcome = "ok" if math.isfinite(values[-1]) else "diverged"
        self.history.append(Report(self.jobs.pop(trial), outcome, 0.0, 0.0, units, 0.0))


TRACES = {
    "asha": lambda: Ours("asha", rule="quantile"),
    "asha_stopping_quantile": lambda: Ours("asha_stopping", rule="quantile"),
    "asha_stopping_rank": lambda: Ours("asha_stopping", rule="rank"),
    "asha_stopping_earlier": lambda: Ours("asha_stopping", rule="earlier"),
    "pasha": lambda: Ours("pasha", rule="quantile"),
    "successive_halving": lambda: Ours("successive_halving"),
    "hyperband": lambda: Ours("hyperband"),
}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the learning curves are not at {DATA}")
@pytest.mark.parametrize("name", TRACES)
def test_decides_as_the_reference_did(name):
    recorded = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    files = FILES_WITHOUT_NAN if name == "pasha" else FILES
    keys = {f"{file}/{workers}/{seed}" for file in files for workers in WORKERS for seed in SEEDS}
    assert set(recorded["runs"]) == keys and len(keys) == 240
    differing = []
    for file in files:
        losses = curves(file, finite_only=name == "pasha")
        for workers in WORKERS:
            for seed in SEEDS:
                trace, key = drive(TRACES[name](), losses, seed, workers), f"{file}/{workers}/{seed}"
                if key in recorded["full"]:
                    assert text(trace) == recorded["full"][key]
                ours, theirs = digest(trace) + checks(trace), recorded["runs"][key]
                if ours != theirs:
                    blocks = [i for i in range(16, len(ours), 4) if ours[i : i + 4] != theirs[i : i + 4]]
                    differing.append(f"{key}: from decision {(blocks[0] - 16) // 4 * BLOCK} on")
    assert not differing
