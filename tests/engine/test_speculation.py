"""What is trained ahead of demand: it saves rounds of training and changes no decision."""

from __future__ import annotations

import pytest

from hypernudge import ASHA, tune
from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.serial import SerialEngine
from hypernudge.random import Streams
from hypernudge.schedulers.base import Resume, Start
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult
from tests.engine.tasks import Quadratic, digits

STREAMS = Streams(5)
SCORES = [0.1, 0.5, 0.3, 0.2, 0.6, 0.4]


def history_of(asha, reported):
    """Trials that reached the first rung, one after the other."""
    history = History(asha.max_units)
    for number, score in enumerate(SCORES[:reported]):
        config = asha.space.sample(STREAMS("config", number))
        history.append(Started(number, config, Nudge(config, policy="none"), float(number)))
        job = Job(number, config, 0, 1)
        history.append(job)
        unit = UnitResult(1, number + 1.0, score, score)
        history.append(Report(job, "ok", float(number), number + 1.0, (unit,), 1.0))
    return history


def test_scores_that_are_known_ahead_count_among_the_leaders():
    asha = ASHA(Quadratic().space, max_units=9, eta=3, max_trials=8)
    history = history_of(asha, 3)
    blind = asha.propose_speculative(history, STREAMS, 20, {})
    assert blind[:2] == [Resume(1, 3), Resume(2, 3)]
    assert all(isinstance(decision, Start) and decision.until == 1 for decision in blind[2:])
    # Six scores, of which the best two and the next lead: trials 4 (to come), 1 and 5 (to come).
    seeing = asha.propose_speculative(
        history, STREAMS, 20, {number: SCORES[number : number + 1] for number in (3, 4, 5)}
    )
    assert seeing[0] == Resume(1, 3) and Resume(2, 3) not in seeing
    assert [decision.until for decision in seeing[1:]] == [1, 3, 3, 1, 1]
    assert [decision.config for decision in seeing[1:]] == [decision.config for decision in blind[2:]]


def test_what_is_reported_counts_once():
    asha = ASHA(Quadratic().space, max_units=9, eta=3, max_trials=8)
    history = history_of(asha, 6)
    known = {number: SCORES[number : number + 1] for number in range(6)}
    assert asha.propose_speculative(history, STREAMS, 20, known) == asha.propose_speculative(
        history, STREAMS, 20, {}
    )


class Blind(ASHA):
    """Sees nothing but the history."""

    def propose_speculative(self, history, streams, count, scores):
        return super().propose_speculative(history, streams, count, {})


@pytest.mark.parametrize("make", [Quadratic, lambda: digits("mlp")], ids=["quadratic", "digits"])
@pytest.mark.parametrize("workers", [1, 4])
def test_it_saves_rounds_and_changes_no_decision(make, workers, monkeypatch):
    task, seed_of = make(), Streams(0).trial_seed
    arguments = {"max_units": 27, "eta": 3, "max_trials": 40}
    studies, rounds = [], []
    for scheduler in (Blind(task.space, **arguments), ASHA(task.space, **arguments)):
        engine = PopulationEngine(task, seed_of, workers)
        steps, step = [0], engine.population.step
        monkeypatch.setattr(
            engine.population, "step", lambda steps=steps, step=step: (steps.append(0), step())[1]
        )
        studies.append(tune(task, scheduler, seed=0, engine=engine))
        rounds.append(len(steps) - 1)
    studies.append(
        tune(task, ASHA(task.space, **arguments), seed=0, engine=SerialEngine(task, seed_of, workers))
    )
    decisions = [
        [(e.trial, e.since, e.until) for e in study.history.events if isinstance(e, Job)] for study in studies
    ]
    assert decisions[0] == decisions[1] == decisions[2]
    # A chain of 27 units cannot be shortened.
    assert 27 <= rounds[1] < 0.8 * rounds[0]
    assert not PopulationEngine(task, seed_of).speculative_scores
