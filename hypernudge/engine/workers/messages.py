"""What a driver and its workers tell each other. They are of one program: these objects may be pickled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypernudge.results.resources import Resources
from hypernudge.trial import Job, Outcome

PATIENCE = 20.0  # seconds
TOKEN = ".workers.lock"
"""A file in the folder of trials, locked by the driver; what is in it shows a worker that it is this one."""


@dataclass(frozen=True)
class Setup:
    """What a worker is built from.

    Attributes:
        build: Returns the task.
        max_units: Units of the study's longest training.
        score_test: Whether the test part is scored with every unit.
        keep_weights: Whether weights are kept of units that may be the best.
        keep_test: Whether those are scored on the test part.
        sign: What scores are multiplied by so that larger is better.
        gpus: GPUs of a worker, or its share of one.
        folder: The folder of trials.
        token: What stands in its `TOKEN`.
        threads: Threads of PyTorch; those that it has where None.
        patience: Seconds for which a file that cannot be written is tried again, while the state waits in
            memory.
    """

    build: Callable[[], Any]
    max_units: int
    folder: str
    token: str
    score_test: bool = True
    keep_weights: bool = False
    keep_test: bool = False
    sign: int = 1
    gpus: float = 0.0
    threads: int | None = None
    patience: float = field(default_factory=lambda: PATIENCE)


@dataclass(frozen=True)
class Train:
    """An order to train a trial to a milestone.

    Attributes:
        ticket: Number of the order, which no other order of the study's life has.
        job: What to train.
        seed: Of the trial.
        folder: Of this attempt at the job.
        attempt: Its number.
        best: Score of the study's best unit so far, larger being better.
    """

    ticket: int
    job: Job
    seed: int
    folder: str
    attempt: int
    best: float = -math.inf


@dataclass(frozen=True)
class Measure:
    """An order to call `function(task, *arguments)`."""

    ticket: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


Order = Train | Measure


@dataclass(frozen=True)
class Row:
    """A unit that was trained.

    Attributes:
        unit: Its number.
        seconds: From when the attempt that trained it had begun to when it was scored.
        attempt: Number of that attempt.
        validation: Its score; NaN for one that diverged.
        test: That on the test part; NaN where it was not asked for.
    """

    unit: int
    seconds: float
    attempt: int
    validation: float
    test: float = math.nan


@dataclass(frozen=True)
class Candidate:
    """A unit that may be the study's best: its test score, and the file with its weights."""

    unit: int
    score: float
    test: float = math.nan
    path: str | None = None


@dataclass(frozen=True)
class Ready:
    """A worker has built its task.

    Attributes:
        process: Its number.
        place: What its pool calls the node that it is on.
    """

    process: int
    place: str = ""


@dataclass(frozen=True)
class Beat:
    """A worker is alive; what it has trained of its order so far.

    Attributes:
        ticket: Of the order, 0 for none.
        rows: Its units so far.
        unit_flops: Declared cost of one.
        waiting: Why it cannot write, where it cannot.
    """

    ticket: int = 0
    rows: tuple[Row, ...] = ()
    unit_flops: float = 0.0
    waiting: str = ""


@dataclass(frozen=True)
class Finished:
    """An order to train was carried out."""

    ticket: int
    outcome: Outcome
    rows: tuple[Row, ...]
    unit_flops: float
    resources: Resources
    error: str | None = None
    best: Candidate | None = None


@dataclass(frozen=True)
class Measured:
    """An order to measure was carried out; `error` is what it raised."""

    ticket: int
    value: Any
    error: Exception | None
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class Unusable:
    """A worker cannot go on, and no other one could.

    Attributes:
        error: What its user should read.
        traceback: Where it came from.
    """

    error: Exception
    traceback: str = ""


@dataclass(frozen=True)
class Died:
    """A worker has ended, whatever it was at."""

    reason: str


Message = Ready | Beat | Finished | Measured | Unusable | Died
