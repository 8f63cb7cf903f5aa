"""Ideas for `informed` where the batch size is tuned: a best rate that grows with it; a batch that is chosen.

Linear growth under SGD (Goyal et al. 2017, arXiv:1706.02677; Krizhevsky 2014, arXiv:1404.5997), growth with
the square root under AdamW (Malladi et al. 2022, arXiv:2205.10287).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from benchmarks.warm_starts.ideas import regress
from hypernudge.optimizers import Optimizer
from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.task import Task
from hypernudge.trial import History
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.candidates import REDRAW, redrawn_of
from hypernudge.warmstart.measurement.features import features_of, scored, values_of
from hypernudge.warmstart.measurement.posterior import NOISE, USUAL_SPREAD
from hypernudge.warmstart.measurement.prior import Prior
from hypernudge.warmstart.measurement.ranks import scores_within_milestones
from hypernudge.warmstart.policies.begun import Begun
from hypernudge.warmstart.policies.informed import Informed

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
LEVELS = (0.3, 0.1)  # prior deviations of what a doubling, and its square, add to a rank
CENTRES = {"SGD": 1.0, "AdamW": 0.5}
USUAL, DEVIATION = 0.75, 0.25
SIZE_NAME = "batch_size"


class Rescaled:
    """An update rule whose rates count as they would at a reference batch.

    Args:
        rule: The rule itself.
        exponent: Of the batch size.
        reference: Samples of the reference batch.
    """

    def __init__(self, rule: Optimizer, exponent: float, reference: int) -> None:
        self._rule, self._exponent, self._reference = rule, exponent, reference
        self.reads = (*getattr(rule, "reads", ()), SIZE_NAME)

    def effective_rate(self, hp: Mapping[str, Any]) -> Any:
        """Return the effective rate at the reference batch that is to this batch what its own rate is."""
        return self._rule.effective_rate(hp) * (self._reference / hp[SIZE_NAME]) ** self._exponent


class Seen:
    """A task as the model of ranks sees it: with another update rule."""

    def __init__(self, task: Task, exponent: float) -> None:
        self._task = task
        self.optimizer = Rescaled(rates.optimizer_of(task), exponent, getattr(task, "batch_size", 128))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


@dataclass(frozen=True)
class ScaledByBatch(Informed):
    """Sees rates at the task's usual batch, whatever the batch of a trial.

    Args:
        fixed: The exponent; learned where None, from a normal prior of deviation .25 around 1 under SGD, .5
            under AdamW.
    """

    name: ClassVar[str] = "informed"
    fixed: float | None = None

    def _of(self, task: Task, history: History, exponent: float) -> Begun:
        def begin() -> Begun:
            seen: Any = Seen(task, exponent)
            return Begun(self, seen, self._prior(task), self._named(task), rates.rule_of(task))

        return history.project((ScaledByBatch, id(self), id(task), exponent), begin)

    def _choose(
        self, begun: Begun, sampled: Config, x: float, history: History, streams: Streams, c: float
    ) -> tuple[Config, str, int, dict[str, float]]:
        if SIZE_NAME not in sampled:
            return super()._choose(begun, sampled, x, history, streams, c)
        exponent = self.exponent(begun.task, history, c)
        begun = self._of(begun.task, history, exponent)
        x = rates.log_rate(begun.task, sampled)
        config, reason, learned, noted = super()._choose(begun, sampled, x, history, streams, c)
        return config, reason, learned, {**noted, "batch_exponent": exponent}

    def _posterior(self, task: Task, history: History, c: float, steps: float) -> Any:
        if not isinstance(task, Seen):
            return super()._posterior(task, history, c, steps)
        begun = self._of(task._task, history, task.optimizer._exponent)
        count = len(begun.tried.results)
        count = count if count >= self.min_results else 0
        return begun.tried.posterior(begun.prior, count, c, steps, scaled=True)

    def exponent(self, task: Task, history: History, c: float) -> float:
        """Return the exponent that is most probable after the study's results."""
        if self.fixed is not None:
            return self.fixed
        centre, steps = CENTRES.get(rates.rule_of(task), USUAL), self._steps(task, history)
        found = {}
        for exponent in EXPONENTS:
            begun = self._of(task, history, exponent)
            found[exponent] = -0.5 * ((exponent - centre) / DEVIATION) ** 2
            if len(begun.tried.results) >= self.min_results:
                found[exponent] += self._evidence(begun, history, c, steps)
        return max(found, key=lambda exponent: found[exponent])

    def _evidence(self, begun: Begun, history: History, c: float, steps: float) -> float:
        del history
        return Ranks(begun, begun.prior, begun.tried.learned(len(begun.tried.results), c, steps)).evidence()


class Ranks:
    """A study's ranks and what a prior expects of them.

    Args:
        begun: The study.
        prior: Of as many weights as there are features.
        phi: Features of the trials with results, `(n, features)`.
    """

    def __init__(self, begun: Begun, prior: Prior, phi: np.ndarray) -> None:
        self.prior, self.phi = prior, phi
        self.expected = phi @ prior.mean
        self.spread = min(max(float(self.expected.std()) / USUAL_SPREAD, 0.5), 1.0)
        self.y = scores_within_milestones(begun.tried.results) * self.spread + self.expected.mean()

    def evidence(self) -> float:
        """Return the logarithm of their density, up to a constant."""
        count = len(self.y)
        root = np.linalg.cholesky(self.phi @ self.prior.covariance @ self.phi.T + NOISE * np.eye(count))
        apart = np.linalg.solve(root, self.y - self.expected)
        return float(-0.5 * apart @ apart - np.log(np.diag(root)).sum() + count * np.log(self.spread))


@dataclass(frozen=True)
class ChosenBatch(ScaledByBatch):
    """Chooses the batch with the rest: each doubling, and its square, add to a rank what the study learns.

    Nothing is expected of them before, so the first results decide.
    """

    def _choose(
        self, begun: Begun, sampled: Config, x: float, history: History, streams: Streams, c: float
    ) -> tuple[Config, str, int, dict[str, float]]:
        if SIZE_NAME not in sampled:
            return super()._choose(begun, sampled, x, history, streams, c)
        exponent, number = self.exponent(begun.task, history, c), len(history.trials)
        steps, begun = self._steps(begun.task, history), self._of(begun.task, history, exponent)
        rng = streams("informed", number)
        values, log_rates, phi = self._drawn(begun, sampled, rng, c, steps)
        prior, learned = extended(begun.prior), len(begun.tried.results)
        mean, covariance = prior.mean, prior.covariance
        if learned >= self.min_results:
            ranks = Ranks(begun, prior, self._tried(begun, history, c, steps))
            known = regress(prior, ranks.phi, ranks.y, np.full(learned, NOISE))
            mean, covariance = known.mean, known.covariance
        if number >= self.greedy_trials:
            mean = mean + self.spread * np.linalg.cholesky(covariance) @ rng.standard_normal(len(mean))
        best = int(np.argmax(phi @ mean))
        config = (
            sampled.replace(**{name: column[best] for name, column in values.items()}) if best else sampled
        )
        reason = f"data of {learned} trials: at z = {log_rates[best] - c:.2f}"
        return config, reason, learned, {"batch_exponent": exponent}

    def _drawn(
        self, begun: Begun, sampled: Config, rng: np.random.Generator, c: float, steps: float
    ) -> tuple[dict[str, list[Any]], np.ndarray, np.ndarray]:
        """Return values of the candidates by name, their rates, and their features, `(n, SIZE + 2)`."""
        task, count = begun.task, self.candidates
        names = [name for name in (*scored(task.space), SIZE_NAME) if name in sampled]
        drawn = task.space.columns(task.space.sample_units(rng, count - 1), names)
        columns = {n: values_of([sampled[n], *drawn[n].values]) for n in names}
        log_rates = np.array(rates.log_rates_of(task, columns, count))
        redrawn = c + rng.uniform(*REDRAW, redrawn_of(count))
        last = {name: column[-len(redrawn) :] for name, column in columns.items()}
        found, log_rates[-len(redrawn) :] = rates.at_log_rates(task, last, redrawn)
        columns["lr"][-len(redrawn) :] = found
        values = {name: column.tolist() for name, column in columns.items()}
        values[SIZE_NAME] = [int(size) for size in values[SIZE_NAME]]
        phi = features_of(log_rates, columns, c, steps)
        return values, log_rates, levels(task, phi, columns[SIZE_NAME])

    def _tried(self, begun: Begun, history: History, c: float, steps: float) -> np.ndarray:
        results = begun.tried.results
        sizes = [history.trials[number].config[SIZE_NAME] for number, _, _ in results]
        return levels(begun.task, begun.tried.learned(len(results), c, steps), np.array(sizes, dtype=float))

    def _evidence(self, begun: Begun, history: History, c: float, steps: float) -> float:
        return Ranks(begun, extended(begun.prior), self._tried(begun, history, c, steps)).evidence()


def levels(task: Any, phi: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return features `(n, SIZE)` with the doublings of batches `(n,)` and their squares beside them."""
    doublings = np.log2(sizes / getattr(task, "batch_size", 128))
    return np.column_stack([phi, doublings, doublings**2])


def extended(prior: Prior) -> Prior:
    """Return a prior that also knows the deviations of `LEVELS`, around nothing."""
    size = len(prior.mean)
    covariance = np.diag([*np.zeros(size), *np.square(LEVELS)])
    covariance[:size, :size] = prior.covariance
    return Prior(np.append(prior.mean, np.zeros(len(LEVELS))), covariance, prior.tasks)
