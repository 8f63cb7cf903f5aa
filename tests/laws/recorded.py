"""Laws of a study that was run for real: what its history must obey, whatever the workers did meanwhile."""

from __future__ import annotations

import math

from hypernudge.random import Streams
from hypernudge.schedulers.base import Resume, Start
from hypernudge.trial import History, Job, Report, Started


def check_recorded(history, make, seed, workers):
    """Hold every law for a recorded history.

    Every decision is that of the scheduler, made anew, for what was known then; at most `workers` trials run;
    only what is paused goes on, and nothing that was lost; no unit is trained twice, and none is left out.

    Args:
        history: Of the study.
        make: Makes its scheduler.
        seed: Of the study.
        workers: How many it had.
    """
    known, streams, scheduler = History(history.max_units), Streams(seed), make()
    units: dict[int, list[int]] = {}
    last = 0.0
    events = history.events
    assert events
    for place, event in enumerate(events):
        if isinstance(event, Started):
            decision = scheduler(known, streams)
            assert isinstance(decision, Start), place
            assert decision.config == event.sampled, place
            following = events[place + 1]
            assert (following.trial, following.since, following.until) == (event.trial, 0, decision.until)
        elif isinstance(event, Job) and event.since:
            assert scheduler(known, streams) == Resume(event.trial, event.until), place
            trial = known.trials[event.trial]
            assert trial.status == "paused"
            assert all(math.isfinite(score) for score in trial.milestones.values())
        elif isinstance(event, Report):
            trained = [unit.unit for unit in event.units]
            assert trained == list(range(event.job.since + 1, event.job.since + 1 + len(trained)))
            if event.outcome == "ok":
                assert trained[-1] == event.job.until
            units.setdefault(event.job.trial, []).extend(trained)
            times = [event.started, *(unit.time for unit in event.units), event.finished]
            assert times == sorted(times)
            assert event.finished >= last
            last = event.finished
        known.append(event)  # refuses what contradicts the history
        assert known.n_running <= workers
    assert all(trained == list(range(1, len(trained) + 1)) for trained in units.values())
    assert not known.n_running
    rebuilt = make()(History.replay(events, history.max_units), Streams(seed))
    assert rebuilt == scheduler(known, streams)


def by_trial(study):
    """Return what became of each trial, without times: equal however the work was spread and interrupted."""
    return {
        trial.number: (
            trial.config,
            trial.status,
            [(unit.unit, repr(unit.validation), repr(unit.test)) for unit in trial.units],
        )
        for trial in study.trials
    }
