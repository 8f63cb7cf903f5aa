"""Learning rates that look like those of the good trials so far: the control that needs no gradient.

The ratio of two kernel densities, as in the tree-structured Parzen estimator (Bergstra et al. 2011), on one
coordinate only: the decades of the effective learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hypernudge.errors import require_between, require_whole
from hypernudge.random import Streams
from hypernudge.renamed import accepts
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.requirements import needs_rate

if TYPE_CHECKING:
    from hypernudge.task import Task


@accepts(min_results="least", gamma="good", n_ei_candidates="candidates", passthrough_every="vanilla_every")
@dataclass(frozen=True)
class LearningRateTPE:
    """Sets the rate to the candidate where good trials are densest against the rest.

    Args:
        min_results: Results that a milestone must have before it is learned from; the highest such one is.
        gamma: Share of its trials that count as good.
        n_ei_candidates: Rates drawn from the space, of which the best is taken.
        passthrough_every: Every so many-th trial is left as it was sampled.

    Raises:
        InvalidArgumentError: If `min_results < 4`, `gamma` is not in (0, 1), or a count is below 1.
    """

    name: ClassVar[str] = "density"
    skip_model_based_picks: ClassVar[bool] = True

    min_results: int = 10
    gamma: float = 0.25
    n_ei_candidates: int = 24
    passthrough_every: int = 4

    def __post_init__(self) -> None:
        require_whole("min_results", self.min_results, 4, remedy="10 is usual")
        require_between("gamma", self.gamma, 0, 1, remedy="0.25 is usual")
        require_whole("n_ei_candidates", self.n_ei_candidates, 1, 1_000_000)
        require_whole("passthrough_every", self.passthrough_every)

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without the task's rate, `lr` as a rule."""
        needs_rate(space, self.name, rates.rate_name(task))

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration at the best candidate rate; unchanged while too little is known."""
        needs_rate(task.space, self.name, rates.rate_name(task))
        number = len(history.trials)
        if number % self.passthrough_every == self.passthrough_every - 1:
            reason = f"every {self.passthrough_every}th trial is left as sampled"
            return Nudge(sampled, self.name, reason=reason, kind="passthrough")
        unit, ranked = self._furthest(task, history)
        if not ranked:
            reason = f"no milestone has {self.min_results} results yet: left as sampled"
            return Nudge(sampled, self.name, reason=reason, kind="warm_up")
        seen = np.array([rates.log_rate(task, config) for config in ranked])
        count = max(2, math.ceil(self.gamma * len(seen)))
        rng = streams("density", number)
        drawn = rng.choice(rates.log_rates(task), self.n_ei_candidates)
        advantage = log_density(drawn, seen[:count]) - log_density(drawn, seen[count:])
        best = float(drawn[int(np.argmax(advantage))])
        config = rates.at_rate(task, sampled, best)
        reason = f"log10 rate {best:.2f}: densest among the best {count} of {len(seen)} at {unit} units"
        return Nudge(config, self.name, changed=config != sampled, reason=reason, kind="redrawn")

    def _furthest(self, task: Task, history: History) -> tuple[int, list[Config]]:
        """Return the last milestone with enough results, and their configurations, best first; else none."""
        for unit in reversed(history.milestones()):
            configs = [history.trials[trial].config for _, _, trial in history.ranked(unit)]
            ranked = [config for config in configs if rates.has_rate(task, config)]
            if len(ranked) >= self.min_results:
                return unit, ranked
        return 0, []


def log_density(at: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the log of a Gaussian kernel density, Scott's bandwidth but at least .1 decades.

    Args:
        at: shape (m,), where.
        points: shape (n,), n at least 1.

    Returns:
        shape (m,), finite everywhere: a point far from all others gets a very low value.
    """
    bandwidth = max(float(points.std(ddof=1)) * len(points) ** -0.2 if len(points) > 1 else 0.0, 0.1)
    exponent = -0.5 * ((at[:, None] - points[None, :]) / bandwidth) ** 2
    top = exponent.max(1)
    total = np.log(np.exp(exponent - top[:, None]).mean(1))
    return np.asarray(top + total - math.log(bandwidth * math.sqrt(2.0 * math.pi)))
