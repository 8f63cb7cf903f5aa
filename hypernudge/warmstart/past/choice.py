"""What to start, by past studies and this one's results; left as sampled where the past does not hold.

Two explanations of the study's ranks compete: it is like the past ones, or it is like none. Each trial is
chosen by the past with the probability of the first, at most one half before there are results, and else
stays as it was sampled. So a past that misleads is found out by the trials that were left alone, and then no
longer followed.

Where a task states what a unit of a configuration costs, starts are compared by what is expected of them
per cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import Event, History, Nudge, NudgeKind, Started
from hypernudge.warmstart.measurement.ranks import stated_error
from hypernudge.warmstart.past.belief import belief, results_of
from hypernudge.warmstart.past.cost import TARGET, log_cost_weights, log_expected_improvement
from hypernudge.warmstart.past.transfer import EARLY, NOISE, Transfer

if TYPE_CHECKING:
    from hypernudge.task import Task

FLAT = 0.05  # standard deviation of foretold ranks over the space below which the past is silent
TRANSFER = "past_probability"
"""Name of the measurement: with what probability the study is like the past ones."""


@dataclass(frozen=True)
class Options:
    """How boldly to choose; `Informed` has the same names.

    Attributes:
        candidates: Draws that are compared.
        greedy_trials: First trials that are chosen without exploration.
        spread: Of Thompson's draws: a study of some tens of trials cannot repay more.
        min_results: Results at a milestone below which ranks there say nothing.
        cost_weight: Exponent of a configuration's cost; zero ranks by score alone.
    """

    candidates: int = 256
    greedy_trials: int = 4
    spread: float = 0.25
    min_results: int = 2
    cost_weight: float = 0.1


def choose(
    past: Transfer,
    task: Task,
    sampled: Config,
    history: History,
    streams: Streams,
    longest: float,
    policy: str,
    options: Options,
) -> Nudge:
    """Return what to start in the place of `sampled`.

    Args:
        past: What past studies say about the task's space.
        task: What is tuned.
        sampled: What the scheduler sampled.
        history: The trials before.
        streams: Of the study.
        longest: Units of the longest training.
        policy: The policy's name.
        options: How boldly.
    """
    if past.probability <= 0.0:
        return Nudge(sampled, policy, reason=f"guard: {past.why}: left as sampled", kind="guard")
    space: SearchSpace = task.space
    number = len(history.trials)
    rng = streams("informed", number)
    units = drawn(past, space, sampled, rng, options.candidates)
    features = past.features.of_units(units)
    foretold = features @ past.chosen_by
    if foretold.std() < FLAT:
        reason = "guard: the past tells no part of this space from another: left as sampled"
        return Nudge(sampled, policy, reason=reason, kind="guard")
    tried = history.project((_Tried, past), lambda: _Tried(space, past))
    usable = np.array(tried.usable, dtype=bool)
    results = results_of(history, usable, stated_error(task), options.min_results)
    now = belief(past, tried.features, results, longest)
    measurements = {TRANSFER: now.probability}
    held, draw = float(rng.random()), rng.standard_normal(len(now.deviation))
    if held >= now.followed:
        reason = f"the past holds with probability {now.probability:.2f}: left as sampled"
        return Nudge(sampled, policy, reason=reason, kind="passthrough", measurements=measurements)
    deviation = now.deviation
    if options.spread and number >= options.greedy_trials:
        deviation = deviation + options.spread * (_root(now.covariance) @ draw)
    costs = tried.log_costs(task) if options.cost_weight else None
    value = worth(past, features, deviation, now.covariance, costs, options.cost_weight)
    config = _best(space, sampled, units, value, history)
    source = f"data of {now.results} trials" if now.results else "prior"
    reason = f"{source} and {len(past.agreement)} past tasks: best of {len(units)} draws"
    reason += " per cost" if costs is not None else ""
    kind: NudgeKind = "data" if now.results else "prior"
    changed = config != sampled
    return Nudge(config, policy, changed=changed, reason=reason, kind=kind, measurements=measurements)


def worth(
    past: Transfer,
    features: np.ndarray,
    deviation: np.ndarray,
    covariance: np.ndarray,
    costs: np.ndarray | None,
    weight: float,
) -> np.ndarray:
    """Return what starts are compared by, `(n,)`: the larger the better.

    Args:
        past: What past studies say.
        features: Of the starts, `(n, size)`.
        deviation: By which the study's weights deviate from those of the past, `(size,)`.
        covariance: Of that, `(size, size)`.
        costs: What foretells the logarithm of a cost, see `log_cost_weights`; None ranks by score alone.
        weight: Exponent of the cost.
    """
    if costs is None:
        return np.asarray(features @ (past.chosen_by + deviation))
    ahead = features @ (past.mean_of(EARLY) + deviation) - TARGET
    variance = NOISE + np.einsum("ij,jk,ik->i", features, covariance, features)
    expected = log_expected_improvement(ahead, np.sqrt(variance))
    return np.asarray(expected - weight * (features @ costs))


def drawn(
    past: Transfer, space: SearchSpace, sampled: Config, rng: np.random.Generator, count: int
) -> np.ndarray:
    """Return candidates in the unit cube, `(count, len(space))`; the first is the sampled one.

    Hyper-parameters that the past does not know stay as sampled: the scheduler's own model may have learned
    about them.
    """
    own = space.encode(sampled)
    units = np.concatenate([own[None], space.draw(rng, count - 1)])
    stays = [index for index, name in enumerate(space.names) if name not in past.features.names]
    if stays:
        units[1:, stays] = own[stays]
        units[1:] = space.snap(units[1:])
    return units


def _best(
    space: SearchSpace, sampled: Config, units: np.ndarray, foretold: np.ndarray, history: History
) -> Config:
    """Return the candidate with the best foretold rank that no trial has had; spaces may be small."""
    known = {trial.config for trial in history.trials}
    for index in np.argsort(-foretold, kind="stable"):
        config = sampled if index == 0 else space.decode(units[index])
        if config not in known:
            return config
    return sampled


class _Tried:
    """What the past sees of a study's trials, each looked at once.

    Args:
        space: Of the study.
        past: What past studies say about it.
    """

    def __init__(self, space: SearchSpace, past: Transfer) -> None:
        self._space, self._past = space, past
        self._rows: list[np.ndarray] = []
        self.usable: list[bool] = []  # whether each lies in the space, as far as the past knows it
        self._costs: tuple[np.ndarray | None] | None = None

    @property
    def features(self) -> np.ndarray:
        """Features of the trials, `(trials, size)`."""
        return np.array(self._rows).reshape(len(self._rows), len(self._past.own))

    def log_costs(self, task: Task) -> np.ndarray | None:
        """Return what foretells a configuration's cost, see `log_cost_weights`; found once in a study."""
        if self._costs is None:
            self._costs = (log_cost_weights(task, self._past.features),)
        return self._costs[0]

    def apply(self, event: Event) -> None:
        """Look at a trial that begins; those of other tools may lie outside the space."""
        if not isinstance(event, Started):
            return
        config, names = event.nudge.config, self._past.features.names
        self._rows.append(self._past.features.of_configs([config])[0])
        self.usable.append(all(n not in config or self._space[n].contains(config[n]) for n in names))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a square root of a covariance that may be singular to rounding."""
    jitter = 1e-8 * max(float(np.trace(covariance)), 1e-12)
    return np.linalg.cholesky(covariance + jitter * np.eye(len(covariance)))
