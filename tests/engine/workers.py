"""What the tests of real workers share."""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path

import psutil
import pytest

from hypernudge import RandomSearch
from hypernudge.engine.workers import attempts, messages
from hypernudge.engine.workers.messages import Setup, Train
from hypernudge.engine.workers.worker import Worker
from hypernudge.results.files import temporary_of
from hypernudge.space import Config
from hypernudge.trial import Job
from tests.engine.real import Counted

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def random_search(trials=6, units=3):
    return RandomSearch(Counted.space, max_units=units, max_trials=trials)


def workers_of_this_process():
    return [psutil.Process(child.pid) for child in multiprocessing.active_children()]


def left_behind(folder):
    names = ("trial-", messages.TOKEN)
    return [p for p in folder.rglob("*") if temporary_of(p) or any(name in p.name for name in names)]


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def worker_on(folder, task, **options):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / messages.TOKEN).write_text("token")
    return Worker(Setup(lambda: task, 9, str(folder), "token", **options), "me")


def order_for(folder, trial=0, since=0, until=3, ticket=1, config=Config({"lr": 0.1, "shift": 0.5})):  # noqa: B008
    attempt, place = attempts.begin_attempt(folder, trial)
    return Train(ticket, Job(trial, config, since, until), 77, str(place), attempt)
