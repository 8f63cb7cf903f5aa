"""DyHPO: one more unit of training for whoever promises most, judged by a deep-kernel Gaussian process.

Wistuba, Kadra, Grabocka: Supervising the Multi-Fidelity Race of Hyperparameter Configurations, NeurIPS 2022,
Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypernudge.errors import require_whole
from hypernudge.random import Streams
from hypernudge.schedulers.base import (
    MAX_CANDIDATES,
    Decision,
    Resume,
    SamplerSpec,
    Start,
    check_sampling,
    start_or_end,
)
from hypernudge.space import SearchSpace
from hypernudge.surrogates.curve_model import CurveModel, Fitting, fitting_from
from hypernudge.surrogates.gp import expected_improvement
from hypernudge.trial import History


@dataclass(frozen=True)
class DyHPO:
    """Gives `step` units to the trial, running so far or new, of the largest expected improvement.

    The improvement is over the best score at the same number of units (over the best of all where there is
    none). Trials that diverged or failed are left out. The network is trained from scratch once there are
    two observations (`fitting.first`), and refined whenever their number has grown by `fitting.growth`: the
    paper's code does so at every step.

    Args:
        space: Where configurations are drawn.
        max_units: Units (epochs) after which a trial is finished.
        step: Units that are decided on at a time.
        max_trials: Stop starting trials after this many; None leaves it to the study's budget.
        sampler: Proposes the first configurations: a sampler, its name, or a mapping with `name` and options.
        initial: How many configurations are started before the model decides; the paper's code starts one.
        candidates: New configurations that are compared with the unfinished ones, of which at most as many
            take part: the best.
        fitting: Options of the surrogate, see `Fitting`.

    Raises:
        InvalidArgumentError: For a count below 1, `step` above `max_units`, or an unknown sampler.
    """

    space: SearchSpace
    max_units: int = 27
    step: int = 1
    max_trials: int | None = None
    sampler: SamplerSpec = "uniform"
    initial: int = 2
    candidates: int = 256
    fitting: Fitting | Mapping[str, Any] = field(default_factory=Fitting)

    def __post_init__(self) -> None:
        check_sampling(self)
        if not isinstance(self.fitting, Fitting):
            object.__setattr__(self, "fitting", fitting_from(self.fitting))
        require_whole("step", self.step, 1, self.max_units, "1 is the paper's")
        require_whole("initial", self.initial)
        require_whole("candidates", self.candidates, 1, MAX_CANDIDATES)

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        count = len(history.trials)
        may_start = self.max_trials is None or count < self.max_trials
        if may_start and count < self.initial:
            return start_or_end(self, self.step, history, streams)
        assert isinstance(self.fitting, Fitting)  # made so at construction
        fitting = self.fitting
        key = ("dyhpo", self.space, self.max_units, fitting, streams.seed)
        model = history.project(key, lambda: CurveModel(self.space, self.max_units, fitting, streams.seed))
        unfinished = model.unfinished(history, self.candidates)
        if not model.ready:
            if may_start or not unfinished:
                return start_or_end(self, self.step, history, streams)
            return Resume(unfinished[0], self._next(history, unfinished[0]))
        fresh = np.empty((0, len(self.space)))
        if may_start:
            fresh = self.space.draw(streams("dyhpo", len(history.events)), self.candidates)
        elif not unfinished:
            return start_or_end(self, self.step, history, streams)
        mean, deviation, budgets = model.predict(unfinished, fresh, self.step)
        gain = expected_improvement(mean, deviation, model.best_at(budgets))
        best = int(np.argmax(gain))
        if best < len(unfinished):
            return Resume(unfinished[best], self._next(history, unfinished[best]))
        return Start(self.space.decode(fresh[best - len(unfinished)]), self.step, model_based_pick=True)

    def _next(self, history: History, trial: int) -> int:
        return min(history.trials[trial].until + self.step, self.max_units)
