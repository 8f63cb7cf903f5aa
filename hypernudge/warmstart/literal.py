"""OHGW exactly as proposed: one stochastic hyper-gradient step on every continuous hyper-parameter.

`psi' = psi - eta_h * dL/dpsi` from one mini-batch at initialisation, `psi` being the logarithm of learning
rate and weight decay and the value itself elsewhere. It is shipped as the honest reference row: at
`eta_h = 1e-3` it moves the learning rate by about 1e-5 and changes nothing but the bill.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypernudge.errors import require
from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.trial import History, Nudge

if TYPE_CHECKING:
    from hypernudge.task import Task


@dataclass(frozen=True)
class Literal:
    """One or several hyper-gradient steps before training.

    Args:
        eta_h: Step size in warped coordinates.
        batch_size: Samples per mini-batch of the measurement.
        form: `"lookahead"` (loss on a second batch after one step on the first) or `"direct"` (loss of one
            batch; learning rate and momentum then have gradient zero).
        steps: Number of hyper-gradient steps, each on fresh batches at the same initialisation.
        only: Names of the hyper-parameters to move; None for every continuous one.
        policy: The name under which it is recorded.

    Raises:
        InvalidArgumentError: For a non-positive `eta_h`, `batch_size` or `steps`, or an unknown `form`.
    """

    eta_h: float = 1e-3
    batch_size: int = 128
    form: str = "lookahead"
    steps: int = 1
    only: tuple[str, ...] | None = None
    policy: str = "literal"

    def __post_init__(self) -> None:
        require(self.eta_h > 0, "eta_h", "must be positive", self.eta_h, "1e-3 is the proposal")
        require(self.batch_size >= 1, "batch_size", "must be at least 1", self.batch_size, "128 is usual")
        require(self.steps >= 1, "steps", "must be at least 1", self.steps, "1 is the proposal")
        known = self.form in ("lookahead", "direct")
        require(known, "form", "must be 'lookahead' or 'direct'", self.form, "choose one")
        if self.only is not None:
            object.__setattr__(self, "only", tuple(self.only))

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration after the steps; unchanged and flagged if a gradient is not finite."""
        from hypernudge.warmstart import measure

        differentiable = measure.gradient_task(task, self.policy)
        parameters = measure.selected(task, sampled, self.only)
        seed = measure.trial_seed_of(streams, len(history.trials))
        config, flops, fallback = sampled, 0.0, False
        total = {p.name: 0.0 for p in parameters}
        for index in range(self.steps):
            m = measure.hyper_gradient(
                differentiable, config, parameters, seed, self.form, self.batch_size, index
            )
            flops, fallback = flops + m.flops, fallback or m.fallback
            if not math.isfinite(m.norm):
                reason = f"hyper-gradient is not finite at step {index + 1}: left as sampled"
                return Nudge(sampled, self.policy, flagged=True, reason=reason, flops=flops)
            config = config.replace(**measure.stepped(config, parameters, m.gradient, self.eta_h))
            total = {name: total[name] + value for name, value in m.gradient.items()}
        reason = f"{self.steps} step(s) of {self.eta_h:g} against the {self.form} hyper-gradient"
        return Nudge(
            config,
            self.policy,
            changed=config != sampled,
            flagged=fallback,
            reason=reason + (" (finite differences: no second derivative)" if fallback else ""),
            gradient=total,
            gradient_norm=measure.norm(total),
            flops=flops,
        )


def multi_step(steps: int = 5, **options: float | str) -> Literal:
    """Several hyper-gradient steps instead of one: the control that shows whether more of it helps."""
    return Literal(steps=steps, policy="multi_step", **options)  # type: ignore[arg-type]
