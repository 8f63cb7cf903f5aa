"""Which jobs will probably come: told to an engine that trains ahead of demand."""

from __future__ import annotations

from collections.abc import Callable

from hypernudge.engine.base import SpeculativeEngine
from hypernudge.random import Streams
from hypernudge.schedulers.base import Resume, Scheduler, SupportsSpeculation
from hypernudge.trial import History, Job
from hypernudge.warmstart.runner import WarmStartRunner


def speculation(
    engine: SpeculativeEngine | None,
    scheduler: Scheduler,
    nudge: WarmStartRunner,
    streams: Streams,
    sign: int = 1,
) -> Callable[[History], None]:
    """Return what tells the engine which jobs will probably come; nothing where it or the scheduler cannot.

    New trials are among them as far as it is known what they will be nudged to.

    Args:
        engine: What trains ahead; None if it cannot.
        scheduler: What decides.
        nudge: Of the study's warm start.
        streams: Of the study.
        sign: What the engine's scores are multiplied by so that larger is better.
    """
    if engine is None or not isinstance(scheduler, SupportsSpeculation):
        return lambda history: None

    def speculate(history: History) -> None:
        jobs: list[Job] = []
        number, capacity = len(history.trials), engine.speculation_capacity
        if not capacity:
            return
        scores = engine.speculative_scores
        if sign != 1:
            scores = {trial: [sign * score for score in column] for trial, column in scores.items()}
        for decision in scheduler.propose_speculative(history, streams, capacity, scores):
            if isinstance(decision, Resume):
                trial = history.trials[decision.trial]
                jobs.append(Job(trial.number, trial.config, trial.until, decision.until))
                continue
            config = nudge.expected(decision.config, number, history)
            if config is not None:
                jobs.append(Job(number, config, 0, decision.until))
            number += 1
        engine.speculate(jobs)

    return speculate
