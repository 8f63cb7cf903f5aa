"""The one-epoch baseline: everybody gets a first unit of training, the best few go to the end.

Egele, Guyon, Yan, Gouneau, Balaprakash: Is One Epoch All You Need For Multi-Fidelity Hyperparameter
Optimization? ESANN 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypernudge.errors import require_whole
from hypernudge.random import Streams
from hypernudge.schedulers.base import Decision, Resume, SamplerSpec, Wait, check_sampling, start_or_end
from hypernudge.space import SearchSpace
from hypernudge.trial import History


@dataclass(frozen=True)
class OneEpoch:
    """Trains `max_trials` trials for `min_units`, then the `keep` best of them to the end, best first.

    Args:
        space: Where configurations are drawn.
        max_units: Training units (epochs) of the trials that are kept.
        min_units: Training units everybody gets.
        max_trials: How many trials there are.
        keep: How many of them go on.
        sampler: Proposes configurations: a sampler, its name, or a mapping with `name` and options.

    Raises:
        InvalidArgumentError: For `min_units` outside `[1, max_units]`, `max_trials < 1`, `keep` outside
            `[1, max_trials]`, or an unknown sampler.
    """

    space: SearchSpace
    max_units: int = 27
    min_units: int = 1
    max_trials: int = 81
    keep: int = 3
    sampler: SamplerSpec = "uniform"

    def __post_init__(self) -> None:
        check_sampling(self)
        require_whole("max_trials", self.max_trials)  # here it may not be absent
        require_whole("min_units", self.min_units, 1, self.max_units)
        require_whole("keep", self.keep, 1, self.max_trials)

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker; between the two phases workers wait."""
        if len(history.trials) == self.max_trials:
            ranked = history.ranked(self.min_units)
            if len(ranked) < self.max_trials and history.n_running:
                return Wait()
            for _, _, number in ranked[: self.keep]:
                trial = history.trials[number]
                if trial.status == "paused" and trial.until == self.min_units < self.max_units:
                    return Resume(number, self.max_units)
        return start_or_end(self, self.min_units, history, streams)
