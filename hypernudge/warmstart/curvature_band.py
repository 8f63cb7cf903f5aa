"""Curvature band: raise learning rates that are far too slow, using curvature along the gradient.

`lr* = g'g / max(g'Hg, 1e-3 g'g)` from one augmented mini-batch at initialisation; effective learning rate
`lr_e = lr / (1 - momentum)`; `z = log10(lr_e / lr*)`. `lr*` hardly varies between the trials of a study, so
its geometric mean over the first few trials is measured once and shared. Only the slow side is corrected:
rates that are too large die on the first rung by themselves, while slow ones linger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypernudge.errors import require
from hypernudge.random import Streams
from hypernudge.space import Config, Real
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.base import nudge_one

if TYPE_CHECKING:
    from hypernudge.task import Task

MEASURED = "log10_lr_star"


@dataclass(frozen=True)
class CurvatureBand:
    """Redraws the learning rate inside a band around `lr*` if it lies below the band.

    Args:
        low: Lower edge of the band, in decades of `lr_e` against `lr*`; below it the rate is redrawn.
        high: Upper edge of the redraw.
        measure_trials: Trials at whose initialisation `lr*` is measured before it is only reused.
        batch_size: Samples of the measurement.

    Raises:
        InvalidArgumentError: If `low >= high`, or a count is below 1.
    """

    low: float = -1.25
    high: float = 0.25
    measure_trials: int = 3
    batch_size: int = 128

    def __post_init__(self) -> None:
        require(self.low < self.high, "low", f"must be below high={self.high}", self.low, "swap them")
        require(
            self.measure_trials >= 1, "measure_trials", "must be at least 1", self.measure_trials, "raise"
        )
        require(self.batch_size >= 1, "batch_size", "must be at least 1", self.batch_size, "128 is usual")

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration with its learning rate redrawn if it was too slow."""
        return nudge_one(self, task, sampled, history, streams)

    def measure(
        self, task: Task, configs: Sequence[Config], numbers: Sequence[int], streams: Streams
    ) -> list[tuple[float, float] | None]:
        """Return `log10(lr*)` and its FLOPs for the first trials, None for those that reuse it."""
        from hypernudge.warmstart import measure

        differentiable = measure.gradient_task(task, "curvature_band")
        ok = "lr" in task.space and isinstance(task.space["lr"], Real)
        require(ok, "space", "curvature_band needs a continuous 'lr'", task.space.names, "name it 'lr'")
        chosen = [i for i, number in enumerate(numbers) if number < self.measure_trials]
        seeds = [measure.trial_seed_of(streams, numbers[i]) for i in chosen]
        rates = measure.curvature_rates(differentiable, [configs[i] for i in chosen], seeds, self.batch_size)
        result: list[tuple[float, float] | None] = [None] * len(configs)
        for i, (lr_star, flops) in zip(chosen, rates, strict=True):
            result[i] = (math.log10(lr_star) if lr_star > 0 else math.nan), flops
        return result

    def nudge(
        self,
        task: Task,
        sampled: Config,
        number: int,
        history: History,
        streams: Streams,
        measured: tuple[float, float] | None,
    ) -> Nudge:
        """Return the configuration, its learning rate redrawn if it lies below the band."""
        known = [t.nudge.measurements[MEASURED] for t in history.trials if MEASURED in t.nudge.measurements]
        flops, measurements = 0.0, {}
        if measured is not None:
            value, flops = measured
            if math.isfinite(value):
                known.append(value)
                measurements[MEASURED] = value
        if not known:
            reason = "no finite curvature was measured: left as sampled"
            return Nudge(sampled, "curvature_band", flagged=True, reason=reason, flops=flops)
        lr_star = sum(known) / len(known)
        momentum = float(sampled.get("momentum", 0.0))
        z = math.log10(float(sampled["lr"]) / (1.0 - momentum)) - lr_star
        config, reason = sampled, f"z = {z:.2f} is not below {self.low:g}: left as sampled"
        if z < self.low:
            redrawn = streams("curvature_band", number).uniform(self.low, self.high)
            lr = task.space["lr"]
            assert isinstance(lr, Real)  # for the type checker: `measure` refused anything else
            config = sampled.replace(lr=lr.clip(10 ** (redrawn + lr_star) * (1.0 - momentum)))
            reason = f"z = {z:.2f} is below {self.low:g}: redrawn at z = {redrawn:.2f}"
        return Nudge(
            config,
            "curvature_band",
            changed=config != sampled,
            reason=reason,
            z=z,
            flops=flops,
            measurements=measurements,
        )
