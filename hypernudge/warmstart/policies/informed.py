"""Informed: choose what to start from past tasks, a probe of this one, and what the study has seen so far.

A linear model predicts a configuration's rank. Its prior was learned on other tasks; results of first rungs
update it (Bayesian linear regression). Thompson sampling (Thompson 1933) then picks which of a few draws of
the space to start. The probe, one short walk per study, places the prior on the learning-rate axis. Where the
space leaves nothing to gain, the configuration stays as sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hypernudge.errors import require, require_flag, require_names, require_whole
from hypernudge.random import Streams
from hypernudge.renamed import accepts
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.features import features, scored, steps_of
from hypernudge.warmstart.measurement.probe import MEDIAN_SCALE, Probe, Walked, shrunk_scale
from hypernudge.warmstart.measurement.ranks import (
    first_results,
    noise_within_milestones,
    scores_within_milestones,
    stated_error,
)
from hypernudge.warmstart.past import file as past_files
from hypernudge.warmstart.past.choice import choose
from hypernudge.warmstart.past.transfer import Transfer
from hypernudge.warmstart.requirements import needs_rate

if TYPE_CHECKING:
    from hypernudge.task import Task

NOISE = 0.2  # variance of a rank given the features
LEAST, REFRESH = 6, 3  # results before learning begins, and between updates
USEFUL = (-1.0, 0.5)  # decades above the probe where a rate trains well
REDRAW = (-1.0, 0.7)  # where candidates' rates are drawn
CANDIDATES, REDRAWN = 24, 17
GOOD_MASS = 0.6  # a space with this share of useful rates is left alone
USUAL_UNITS = 100  # ten times too many cost little, ten times too few let through decays that end a training
NARROW_WIDTH, NARROW_TRIALS = 2.5, 8  # a space narrower than so many decades: its first trials are left alone

INSTEAD = ", or give it a prior of past studies (`hypernudge prior build`), which needs no rate"


@accepts(include_own_family="own_family", exclude_families="without", max_units="horizon")
@dataclass(frozen=True)
class Informed:
    """Starts the draw of the space that a transferred, then updated, model prefers.

    Args:
        prior: `"shipped"`, `"none"`, `"xgboost"`, or a file written by `hypernudge prior build`. That of
            XGBoost, and files of past studies, serve any space whose hyper-parameters they know by name.
        include_own_family: Whether the prior may have seen tasks of this task's family. Not in a comparison.
        exclude_families: Further families to leave out of the prior.
        probe: Whether to walk the probe; without it, and for black-box tasks, a constant takes its place.
        max_units: Units of the longest training: what a weight decay does grows with it. If absent, the
            scheduler's; in other tools, whose schedulers do not say, 100, or the longest so far.

    Raises:
        InvalidArgumentError: If the prior cannot be read, nothing is left of it, or `max_units` is below 1;
            at the first trial, if a prior of past studies knows no hyper-parameter of the space.
    """

    name: ClassVar[str] = "informed"
    skip_model_based_picks: ClassVar[bool] = True

    prior: str = priors.SHIPPED
    include_own_family: bool = False
    exclude_families: tuple[str, ...] = ()
    probe: bool = True
    max_units: int | None = None

    def __post_init__(self) -> None:
        require_names("exclude_families", self.exclude_families)
        object.__setattr__(self, "exclude_families", tuple(self.exclude_families))  # YAML has lists
        for name in ("include_own_family", "probe"):
            require_flag(name, getattr(self, name))
        if self.max_units is not None:
            require_whole("max_units", self.max_units, remedy="leave it out")
        text = isinstance(self.prior, str)
        require(text, "prior", "must be 'shipped', 'none', 'xgboost' or a file", self.prior, "correct it")
        past = past_files.load(self.prior)
        if past is not None:
            past.without(self.exclude_families)
        elif self.prior != priors.NONE:
            priors.fitted(self.prior, self.exclude_families, "SGD")

    @property
    def measures(self) -> bool:
        """Whether it probes a loss: not with a prior of past studies."""
        return self.probe and past_files.load(self.prior) is None

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the chosen configuration, or `sampled` itself where a guard says so."""
        return self.nudge(task, sampled, len(history.trials), history, streams, None)

    def to_measure(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams
    ) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """Return what a worker measures at `sampled` before trial `number` starts; None for nothing."""
        if self._past(task.space, task) is not None or not self._walks(task):
            return None
        return Probe().to_walk(self.name, sampled, number, history, streams)

    def _walks(self, task: Task) -> bool:
        from hypernudge.task import GradientTask

        return self.probe and isinstance(task, GradientTask)

    def nudge(
        self,
        task: Task,
        sampled: Config,
        number: int,
        history: History,
        streams: Streams,
        measured: Walked | None,
    ) -> Nudge:
        """Return the nudge of trial `number`, given the walk of a worker; None where it has none to take."""
        past = self._past(task.space, task)
        if past is not None:
            return choose(past, task, sampled, history, streams, self._units(history, 1), self.name)
        needs_rate(task.space, self.name)
        rule = rates.rule_of(task)
        scale = rates.Scale(MEDIAN_SCALE.get(rule, MEDIAN_SCALE["SGD"]))
        if self._walks(task):
            scale = Probe()(task, self.name, sampled, history, streams, measured)
        if not math.isfinite(scale.value):
            return scale.unusable(self.name, sampled)
        c = shrunk_scale(scale.value, rule)
        z = rates.log_rate(task, sampled) - c
        guard = self._guard(task, c, number)
        if guard:
            choice = rates.Choice(sampled, z, guard, "guard")
        else:
            config, reason, learned = self._choose(task, sampled, history, streams, c)
            choice = rates.Choice(config, z, reason, "data" if learned else "prior")
        return rates.corrected(self.name, sampled, choice, scale.flops, scale.measurements)

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without `lr`, and a prior of which nothing is left for this task.

        A prior of past studies needs no `lr`, but a hyper-parameter that it knows.
        """
        if self._past(space, task) is None:
            needs_rate(space, self.name, instead=INSTEAD)
            self._prior(task)

    def _guard(self, task: Task, c: float, number: int) -> str:
        """Return why this trial is left alone, or nothing."""
        x = rates.log_rates(task)
        mass = float(((x - c > USEFUL[0]) & (x - c < USEFUL[1])).mean())
        if mass >= GOOD_MASS:
            return f"guard: {mass:.0%} of the space has a useful rate: left as sampled"
        low, high = np.quantile(x, [0.05, 0.95])
        if high - low < NARROW_WIDTH and number < NARROW_TRIALS:
            return f"guard: the space spans {high - low:.1f} decades: its first {NARROW_TRIALS} trials stay"
        return ""

    def _choose(
        self, task: Task, sampled: Config, history: History, streams: Streams, c: float
    ) -> tuple[Config, str, int]:
        """Return the chosen configuration, why, and how many results were learned from."""
        number = len(history.trials)
        rng = streams("informed", number)
        steps = self._steps(task, history)
        names = scored(task.space)
        drawn = [sampled, *(_redrawn(sampled, task.space.sample(rng), names) for _ in range(CANDIDATES - 1))]
        kept = CANDIDATES - REDRAWN
        candidates = drawn[:kept] + [
            rates.at_rate(task, draw, c + float(rng.uniform(*REDRAW))) for draw in drawn[kept:]
        ]
        phi = features(task, candidates, c, steps)
        mean, covariance, learned = self._posterior(task, history, c, steps)
        weights = mean + np.linalg.cholesky(covariance) @ rng.standard_normal(len(mean))
        best = int(np.argmax(phi @ weights))
        z = rates.log_rate(task, candidates[best]) - c
        source = f"data of {learned} trials" if learned else "prior"
        return candidates[best], f"{source}: best of {CANDIDATES} draws, at z = {z:.2f}", learned

    def _posterior(
        self, task: Task, history: History, c: float, steps: float
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return mean and covariance of the weights, and of how many results they know."""
        prior = self._prior(task)
        arrived = [r for r in first_results(history) if rates.has_rate(task, history.trials[r[0]].config)]
        used = arrived[: len(arrived) - len(arrived) % REFRESH]
        if len(used) < LEAST:
            return prior.mean, prior.covariance, 0
        phi = features(task, [history.trials[trial].config for trial, _, _ in used], c, steps)
        expected = phi @ prior.mean
        # Ranks are relative to what this study has tried; the prior says how good that was.
        spread = float(np.clip(expected.std() / 0.6, 0.5, 1.0)) if self.prior != priors.NONE else 1.0
        y = scores_within_milestones(used) * spread + expected.mean()
        precision = np.linalg.inv(prior.covariance)
        error = stated_error(task)
        if error:  # results count by what they are worth
            worth = np.sqrt(NOISE / (NOISE + noise_within_milestones(used, error)))
            phi, y = phi * worth[:, None], y * worth
        covariance = np.linalg.inv(precision + phi.T @ phi / NOISE)
        mean = covariance @ (precision @ prior.mean + phi.T @ y / NOISE)
        return mean, (covariance + covariance.T) / 2.0, len(used)

    def _prior(self, task: Task) -> priors.Prior:
        if self.prior == priors.NONE:
            return priors.flat()
        return priors.fitted(self.prior, self._excluded(task), rates.rule_of(task))

    def _past(self, space: SearchSpace, task: Task) -> Transfer | None:
        """Return what past studies say about a space; None if the prior is of the other kind."""
        if past_files.load(self.prior) is None:
            return None
        return past_files.transferred(self.prior, self._excluded(task), space)

    def _excluded(self, task: Task) -> tuple[str, ...]:
        own = () if self.include_own_family else (family_of(task),)
        return (*self.exclude_families, *own)

    def _steps(self, task: Task, history: History) -> float:
        return steps_of(task, self._units(history, USUAL_UNITS))

    def _units(self, history: History, usual: int) -> int:
        """Return the units of the longest training; where nobody says, usual ones or the longest so far."""
        return self.max_units or history.max_units or max([usual, *history.milestones()])


def _redrawn(sampled: Config, draw: Config, names: Sequence[str]) -> Config:
    """Return what is scored from `draw`; of everything else the scheduler may know more than a draw does."""
    return sampled.replace(**{name: draw[name] for name in names if name in sampled and name in draw})


def family_of(task: Task) -> str:
    """Return the family of a task: its own word for it, or its name. Tasks on one data set are one family."""
    return str(getattr(task, "family", task.name))
