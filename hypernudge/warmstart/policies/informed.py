"""Informed: choose what to start from past tasks, a probe of this one, and what the study has seen so far.

A linear model predicts a configuration's rank. Its prior was learned on other tasks; results of first rungs
update it (Bayesian linear regression). Which of some hundred draws of the space to start is then decided by
its mean, later by Thompson sampling (Thompson 1933) with a reduced spread (Agrawal and Goyal 2013). The
probe, one short walk per study, places the prior on the learning-rate axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hypernudge.errors import require, require_between, require_flag, require_names, require_whole
from hypernudge.random import Streams
from hypernudge.renamed import accepts
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History, Nudge
from hypernudge.warmstart import prior_files
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.features import features, steps_of
from hypernudge.warmstart.measurement.posterior import RANK_DEVIATION, RANK_MEAN, Belief, Posterior
from hypernudge.warmstart.measurement.probe import MEDIAN_SCALE, PROBE, Probe, shrunk_scale
from hypernudge.warmstart.past import file as past_files
from hypernudge.warmstart.past.choice import Options, choose
from hypernudge.warmstart.past.transfer import Transfer
from hypernudge.warmstart.policies.begun import Begun
from hypernudge.warmstart.requirements import needs_rate

if TYPE_CHECKING:
    from hypernudge.task import Task
    from hypernudge.warmstart.measurement.walk import Walked

_PROBE = Probe()
MAX_CANDIDATES, MAX_SPREAD = 100_000, 100.0
USEFUL = (-1.0, 0.5)  # decades above the probe where a rate trains well
GOOD_MASS = 0.6  # with guards, a space with this share of useful rates is left alone
USUAL_UNITS = 100  # ten times too many cost little, ten times too few let through decays that end a training
NARROW_WIDTH, NARROW_TRIALS = 2.5, 8  # the same of a space of fewer decades: its first trials are left alone

FIRST_EDITION: dict[str, Any] = {
    "prior": priors.TABLES,
    "candidates": 24,
    "greedy_trials": 0,
    "spread": 1.0,
    "min_results": 6,
    "refresh": 3,
    "guards": True,
    "note_belief": False,
}
"""Options of what recorded studies before the second edition ran with; in YAML `informed_first`."""

INSTEAD = ", or give it a prior of past studies (`hypernudge prior build`), which needs no rate"


@accepts(include_own_family="own_family", exclude_families="without", max_units="horizon")
@dataclass(frozen=True)
class Informed:
    """Starts the draw of the space that a transferred, then updated, model prefers.

    Args:
        prior: `"shipped"` (`"near"`, or `"language"` for a task that says by `shipped_prior` that it fits, as
            language models by name do), `"near"` (the third edition: tables, and more of their
            configurations near the probed rate), `"tables"` (the default until then), `"language"` (of
            language models under AdamW; under another rule `"tables"`), `"none"`, `"xgboost"`, or a file
            written by `hypernudge prior build`. That of XGBoost, and files of past studies, serve any space
            whose hyper-parameters they know by name.
        include_own_family: Whether the prior may have seen tasks of this task's family. Not in a comparison.
        exclude_families: Further families to leave out of the prior.
        probe: Whether to walk the probe; without it, and for black-box tasks, a constant takes its place.
        max_units: Units of the longest training: what a weight decay does grows with it. If absent, the
            scheduler's; in other tools, whose schedulers do not say, 100, or the longest so far.
        candidates: Among how many draws of the space a start is chosen, what was sampled among them.
        greedy_trials: How many first trials are chosen by the posterior mean alone.
        spread: What the standard deviation of Thompson's draws is multiplied by: 0 never explores, 1 is
            Thompson's rule.
        min_results: Results before learning begins.
        refresh: Results between updates of what was learned.
        guards: Whether a space that leaves little to gain stays as sampled: one of which most rates are
            useful, and the first trials of one that spans few decades.
        note_belief: Whether a nudge notes how its start was believed to rank, for whoever reads the history.
        cost_weight: With a prior of past studies, and a task that states its cost by a formula (boosted
            trees): what is expected of a start is divided by its cost to this power. 0 ranks by score alone,
            1 believes the stated cost entirely.

    All but the first five are of the second edition. The first, which recorded studies before it ran with, is
    `Informed(**FIRST_EDITION)` of this module, in YAML `informed_first`: trial for trial what it was. A prior
    of past studies reads `candidates`, `greedy_trials`, `spread`, `min_results` and `cost_weight`, leaves
    half of the first trials as sampled whatever `guards` says, learns from each result, and notes how far the
    past holds; its first edition is `Informed(prior=..., min_results=4, cost_weight=0.0)`.

    Raises:
        InvalidArgumentError: If the prior cannot be read, nothing is left of it, or an option breaks its
            rule; at the first trial, if a prior of past studies knows no hyper-parameter of the space.
    """

    name: ClassVar[str] = "informed"
    skip_model_based_picks: ClassVar[bool] = True

    prior: str = priors.SHIPPED
    include_own_family: bool = False
    exclude_families: tuple[str, ...] = ()
    probe: bool = True
    max_units: int | None = None
    candidates: int = 256
    greedy_trials: int = 4
    spread: float = 0.25
    min_results: int = 2
    refresh: int = 1
    guards: bool = False
    note_belief: bool = True
    cost_weight: float = 0.1

    def __post_init__(self) -> None:
        require_names("exclude_families", self.exclude_families)
        object.__setattr__(self, "exclude_families", tuple(self.exclude_families))  # YAML has lists
        for name in ("include_own_family", "probe", "guards", "note_belief"):
            require_flag(name, getattr(self, name))
        if self.max_units is not None:
            require_whole("max_units", self.max_units, remedy="leave it out")
        require_whole("candidates", self.candidates, 2, MAX_CANDIDATES, "256 is usual")
        require_whole("greedy_trials", self.greedy_trials, 0, remedy="4 is usual, 0 for none")
        require_between("spread", self.spread, 0.0, MAX_SPREAD, ends=True, remedy="0.25 is usual")
        require_whole("min_results", self.min_results, 1, remedy="2 is usual")
        require_whole("refresh", self.refresh, 1, remedy="1 is usual")
        require_between("cost_weight", self.cost_weight, 0.0, 1.0, ends=True, remedy="0.1 is usual")
        text = isinstance(self.prior, str)
        require(text, "prior", f"must be {prior_files.names()} or a file", self.prior, "correct it")
        past = past_files.load(self.prior, self._version)
        if past is not None:
            past.without(self.exclude_families)
        elif self.prior != priors.NONE:
            priors.load(self.prior, self._version).without(self.exclude_families)  # fitted by the first study

    @cached_property
    def _version(self) -> prior_files.Version:
        """The file as this policy read it first: a study goes by one prior from first trial to last."""
        return prior_files.version_of(self.prior)

    @cached_property
    def _is_of_past(self) -> bool:
        return past_files.load(self.prior, self._version) is not None

    @property
    def measures(self) -> bool:
        """Whether it probes a loss: not with a prior of past studies."""
        return self.probe and not self._is_of_past

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the chosen configuration, or `sampled` itself where a guard says so."""
        return self.nudge(task, sampled, len(history.trials), history, streams, None)

    def to_measure(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams
    ) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """Return what a worker measures at `sampled` before trial `number` starts; None for nothing."""
        if self._past(task.space, task) is not None or not self._walks(task):
            return None
        return _PROBE.to_walk(self.name, sampled, number, history, streams)

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
        past = self._past(task.space, task) if self._is_of_past else None
        if past is not None:
            longest, options = self._units(history, 1), self._options()
            return choose(past, task, sampled, history, streams, longest, self.name, options)
        begun = self._begun(task, history)
        if self.probe and begun.scale is None:
            begun.scale = _PROBE.known(history)
        scale = begun.scale
        if scale is None:
            walks = self._walks(task)
            scale = (
                _PROBE(task, self.name, sampled, history, streams, measured)
                if walks
                else rates.Scale(self._usual_scale(task))
            )
        if not math.isfinite(scale.value):
            return scale.unusable(self.name, sampled)
        c = shrunk_scale(scale.value, begun.rule)
        x = rates.log_rate(task, sampled)
        z = x - c
        guard = self._guard(task, c, number) if self.guards else ""
        noted: dict[str, float] = {}
        if guard:
            choice = rates.Choice(sampled, z, guard, "guard")
        else:
            config, reason, learned, noted = self._choose(begun, sampled, x, history, streams, c)
            choice = rates.Choice(config, z, reason, "data" if learned else "prior")
        return rates.corrected(self.name, sampled, choice, scale.flops, {**scale.measurements, **noted})

    def _options(self) -> Options:
        """Return what a choice by past studies reads."""
        return Options(
            self.candidates, self.greedy_trials, self.spread, self.min_results, float(self.cost_weight)
        )

    def belief(self, task: Task, history: History, configs: Sequence[Config]) -> Belief | None:
        """Return how configurations would rank among draws of the space, by what is known after `history`.

        Rates are seen from the probe; before it was walked, from where it usually lies.

        Args:
            task: What is tuned.
            history: The trials so far.
            configs: Each with a learning rate.

        Returns:
            Means and deviations, `(len(configs),)`; None with a prior of past studies, which ranks otherwise.
        """
        if self._past(task.space, task) is not None:
            return None
        walked = [t.nudge.measurements[PROBE] for t in history.trials if PROBE in t.nudge.measurements]
        c = shrunk_scale(walked[0] if walked else self._usual_scale(task), rates.rule_of(task))
        steps = self._steps(task, history)
        return self._posterior(task, history, c, steps).belief(features(task, configs, c, steps))

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

    def _usual_scale(self, task: Task) -> float:
        return MEDIAN_SCALE.get(rates.rule_of(task), MEDIAN_SCALE["SGD"])

    def _choose(
        self, begun: Begun, sampled: Config, x: float, history: History, streams: Streams, c: float
    ) -> tuple[Config, str, int, dict[str, float]]:
        """Return the chosen configuration, why, of how many results, and what to note.

        `x` is `log10` of the effective rate of what was sampled.
        """
        task, number = begun.task, len(history.trials)
        steps = self._steps(task, history)
        offer = begun.ahead(streams, self.candidates).offer(sampled, number, c, steps, x)
        known = self._posterior(task, history, c, steps)
        weights = known.mean
        if self.spread and number >= self.greedy_trials:
            weights = weights + self.spread * (known.root @ offer.noise)
        best = offer.best(weights)
        config, learned = offer.config(best), known.results
        z = rates.log_rate(task, config) - c
        source = f"data of {learned} trials" if learned else "prior"
        if begun.named != self.prior:  # a prior that the user named needs no word
            source += f" ({begun.named})"
        noted: dict[str, float] = {}
        if self.note_belief:
            noted = dict(zip((RANK_MEAN, RANK_DEVIATION), known.believed(offer.features(best)), strict=True))
        return config, f"{source}: best of {self.candidates} draws, at z = {z:.2f}", learned, noted

    def _posterior(self, task: Task, history: History, c: float, steps: float) -> Posterior:
        """Return what is known of the weights."""
        begun = self._begun(task, history)
        count = len(begun.tried.results)
        count -= count % self.refresh
        count = count if count >= self.min_results else 0
        return begun.tried.posterior(begun.prior, count, c, steps, scaled=self.prior != priors.NONE)

    def _begun(self, task: Task, history: History) -> Begun:
        """Return what the starts of a study have in common, remembered with its history.

        Raises:
            InvalidArgumentError: The space has no rate, or no task of the prior is left.
        """

        def begin() -> Begun:
            needs_rate(task.space, self.name)
            return Begun(self, task, self._prior(task), self._named(task), rates.rule_of(task))

        return history.project((Begun, id(self), id(task), task.space), begin)  # it holds both with ids

    def _prior(self, task: Task) -> priors.Prior:
        if self.prior == priors.NONE:
            return priors.flat()
        return priors.fitted(self._named(task), self._excluded(task), rates.rule_of(task), self._version)

    def _named(self, task: Task) -> str:
        """Return which prior speaks: instead of the default, the shipped one that the task says fits it."""
        asked = getattr(task, "shipped_prior", None) if self.prior == priors.SHIPPED else None
        if asked is None:
            return self.prior
        return priors.fitting(asked, self._excluded(task), rates.rule_of(task))

    def learned_from(self, task: Task) -> priors.PriorFile | past_files.PastFile | None:
        """Return what a prior holds whose name does not say it: a user's file, or the default of now.

        A kept study goes on with the same only. None for the other names, which mean one prior for good.
        """
        if self.prior != priors.SHIPPED and prior_files.is_named(self.prior):
            return None
        return past_files.load(self.prior, self._version) or priors.load(self._named(task), self._version)

    def _past(self, space: SearchSpace, task: Task) -> Transfer | None:
        """Return what past studies say about a space; None if the prior is of the other kind."""
        if not self._is_of_past:
            return None
        return past_files.transferred(self.prior, self._excluded(task), space, self._version)

    def _excluded(self, task: Task) -> tuple[str, ...]:
        own = () if self.include_own_family else (family_of(task),)
        return (*self.exclude_families, *own)

    def _steps(self, task: Task, history: History) -> float:
        return steps_of(task, self._units(history, USUAL_UNITS))

    def _units(self, history: History, usual: int) -> int:
        """Return the units of the longest training; where nobody says, usual ones or the longest so far."""
        return self.max_units or history.max_units or max([usual, *history.milestones()])


def family_of(task: Task) -> str:
    """Return the family of a task: its own word for it, or its name. Tasks on one data set are one family."""
    return str(getattr(task, "family", task.name))
