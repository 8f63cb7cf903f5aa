"""ASHA, the asynchronous successive halving algorithm, in its promotion form.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020, Algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypernudge.errors import require
from hypernudge.random import Streams
from hypernudge.schedulers.base import Decision, Done, Resume, Sampler, Start, Uniform, Wait, geometric_rungs
from hypernudge.space import SearchSpace
from hypernudge.trial import History


@dataclass(frozen=True)
class ASHA:
    """Promotes a trial as soon as it is in the top `1/eta` of its rung; starts a new one otherwise.

    Args:
        space: Where new configurations are drawn.
        max_units: Training units (epochs) of the last rung.
        min_units: Training units of the first rung.
        eta: Reduction factor: one in `eta` goes on.
        max_trials: Stop starting trials after this many; None leaves it to the study's budget.
        sampler: Proposes new configurations.

    Raises:
        InvalidArgumentError: For `eta < 2`, `min_units` outside `[1, max_units]`, `max_trials < 1`.
    """

    space: SearchSpace
    max_units: int = 27
    min_units: int = 1
    eta: int = 3
    max_trials: int | None = None
    sampler: Sampler = field(default_factory=Uniform)
    rungs: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        rungs = geometric_rungs(self.min_units, self.max_units, self.eta)
        object.__setattr__(self, "rungs", rungs)
        enough = self.max_trials is None or self.max_trials >= 1
        require(enough, "max_trials", "must be at least 1, or absent", self.max_trials, "raise it")

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker: the highest promotion there is, else a new trial."""
        promotion = self._promotion(history)
        if promotion is not None:
            return promotion
        if self.max_trials is None or len(history.trials) < self.max_trials:
            return Start(self.sampler(self.space, history, streams), self.rungs[0])
        return Wait() if history.n_running else Done()

    def foresee(self, history: History, streams: Streams, count: int) -> list[Start | Resume]:
        """Return up to `count` likely decisions: who leads its rung, then the next trials if known."""
        likely: list[Start | Resume] = []
        for rung, above in zip(self.rungs[-2::-1], self.rungs[:0:-1], strict=True):
            ranked = history.ranked(rung)
            for _, _, number in ranked[: len(ranked) // self.eta + 1]:
                trial = history.trials[number]
                if trial.status == "paused" and trial.until == rung:
                    likely.append(Resume(number, above))
        room = count - len(likely)
        if self.max_trials is not None:
            room = min(room, self.max_trials - len(history.trials))
        if isinstance(self.sampler, Uniform):
            likely += [
                Start(config, self.rungs[0])
                for config in self.sampler.ahead(self.space, history, streams, room)
            ]
        return likely[:count]

    def _promotion(self, history: History) -> Resume | None:
        for rung, above in zip(self.rungs[-2::-1], self.rungs[:0:-1], strict=True):
            ranked = history.ranked(rung)
            for _, _, number in ranked[: len(ranked) // self.eta]:
                trial = history.trials[number]
                # Promoted trials have a later `until`; diverged and failed ones are not paused.
                if trial.status == "paused" and trial.until == rung:
                    return Resume(number, above)
        return None
