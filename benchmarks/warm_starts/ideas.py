"""Ideas for `informed` that were tried and did not make it into the library: each changes one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hypernudge.task import Task
from hypernudge.trial import Event, History, Report
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement.posterior import NOISE, Posterior, Tried
from hypernudge.warmstart.measurement.ranks import normal_scores
from hypernudge.warmstart.policies.informed import Informed

RUNGS = (1, 3, 9, 27)


class Curves:
    """Scores of all trials at all units that they have had."""

    def __init__(self) -> None:
        self.at: dict[int, dict[int, float]] = {}  # unit -> trial -> score

    def apply(self, event: Event) -> None:
        """Take in the next event."""
        if isinstance(event, Report) and event.outcome != "truncated":
            for unit in event.units:
                score = unit.validation if np.isfinite(unit.validation) else -np.inf
                self.at.setdefault(unit.unit, {})[event.job.trial] = score
            if event.outcome != "ok":
                self.at.setdefault(event.job.until, {})[event.job.trial] = -np.inf


def regress(prior: priors.Prior, phi: np.ndarray, y: np.ndarray, noise: np.ndarray) -> Posterior:
    """Return the posterior of weights given values `y`, `(n,)`, of variance `noise`, `(n,)`."""
    weighted = phi / noise[:, None]
    covariance = np.linalg.inv(prior.precision + phi.T @ weighted)
    mean = covariance @ (prior.precision @ prior.mean + weighted.T @ y)
    return Posterior(mean, (covariance + covariance.T) / 2.0, len(y))


@dataclass(frozen=True)
class EveryUnit(Informed):
    """Learns from ranks at many units: each among the trials that got there, and as good as those are.

    Args:
        units: Where ranks are taken; all units if empty.
    """

    name: ClassVar[str] = "informed"
    units: tuple[int, ...] = RUNGS

    def _posterior(self, task: Task, history: History, c: float, steps: float) -> Posterior:
        prior, tried = self._prior(task), Tried.of(task, history)
        if len(tried.results) < self.min_results:
            return Posterior(prior.mean, prior.covariance, 0)
        curves = history.project(Curves, Curves)
        usable = {trial for trial, _, _ in tried.results}
        known = super()._posterior(task, history, c, steps)  # says how good those are that got further
        rows: list[int] = []
        y: list[float] = []
        for unit, scores in sorted(curves.at.items()):
            peers = [trial for trial in scores if trial in usable]
            if len(peers) < 2 or (self.units and unit not in self.units):
                continue
            expected = tried.features(peers, c, steps) @ known.mean
            spread = float(np.clip(expected.std() / 0.6, 0.5, 1.0))
            ranks = normal_scores(np.array([scores[trial] for trial in peers]))
            rows += peers
            y += list(ranks * spread + expected.mean())
        if not rows:
            return known
        counts = np.bincount(rows)
        return regress(prior, tried.features(rows, c, steps), np.array(y), NOISE * counts[rows])


@dataclass(frozen=True)
class Spread(Informed):
    """Takes what still runs for a result already: a constant liar (Ginsbourger, Le Riche, Carraro 2010).

    Args:
        lie: What is added to the rank that is expected of it, 0 for a kriging believer.
    """

    name: ClassVar[str] = "informed"
    lie: float = -1.0

    def _posterior(self, task: Task, history: History, c: float, steps: float) -> Posterior:
        known = super()._posterior(task, history, c, steps)
        tried = Tried.of(task, history)
        seen = {trial for trial, _, _ in tried.results}
        pending = [t.number for t in history.trials if t.status == "running" and t.number not in seen]
        if not pending:
            return known
        phi = tried.features(pending, c, steps)
        base = priors.Prior(known.mean, known.covariance)
        noise = np.full(len(pending), NOISE)
        found = regress(base, phi, phi @ known.mean + self.lie, noise)
        return Posterior(found.mean, found.covariance, known.results)


@dataclass(frozen=True)
class Fading(Informed):
    """Explores less the later it is: the spread falls to zero over so many trials."""

    name: ClassVar[str] = "informed"
    over: int = 30

    def _posterior(self, task: Task, history: History, c: float, steps: float) -> Posterior:
        known = super()._posterior(task, history, c, steps)
        left = max(1.0 - len(history.trials) / self.over, 0.0)
        return Posterior(
            known.mean, known.covariance * left**2 + 1e-12 * np.eye(len(known.mean)), known.results
        )
