"""Effective learning rates in decades (`log10`): shared by the policies that correct nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernudge.random import Streams
from hypernudge.space import Config, Real, SearchSpace
from hypernudge.trial import Nudge, NudgeKind
from hypernudge.warmstart.failures import LEFT

if TYPE_CHECKING:
    from hypernudge.optimizers import Optimizer
    from hypernudge.task import Task

_DRAWS = 512


@dataclass(frozen=True)
class Scale:
    """`log10` of a scale of the learning rate, NaN if there is none, and why; its cost, and what to note."""

    value: float
    flops: float = 0.0
    measurements: dict[str, float] = field(default_factory=dict)
    why: str = "the probe was not finite"
    kind: NudgeKind = "not_finite"

    def unusable(self, policy: str, sampled: Config, suffix: str = LEFT) -> Nudge:
        """Return the nudge of a policy that needs a scale where there is none."""
        reason = self.why + suffix
        return Nudge(sampled, policy, flagged=True, reason=reason, flops=self.flops, kind=self.kind)


@dataclass(frozen=True)
class Choice:
    """What a policy makes of a configuration: the one to train, `z` of the sampled one, and why."""

    config: Config
    z: float
    reason: str
    kind: NudgeKind


def optimizer_of(task: Task) -> Optimizer:
    """Return the task's update rule; SGD for a task that trains in a way of its own."""
    found: Optimizer | None = getattr(task, "optimizer", None)
    if not found:  # asked a dozen times at every start: an import takes longer than all the rest
        from hypernudge.optimizers import SGD

        found = SGD()
    return found


def rule_of(task: Task) -> str:
    """Return the name that priors know the task's update rule by, such as `"SGD"`."""
    return type(optimizer_of(task)).__name__


def rate_name(task: Task) -> str:
    """Return the name of the learning rate: `lr`, unless the task's rule calls it otherwise."""
    return str(getattr(optimizer_of(task), "rate", "lr"))


def log_rate(task: Task, config: Config) -> float:
    """Return `log10` of the effective learning rate of a configuration."""
    return math.log10(float(optimizer_of(task).effective_rate(_numbers(config))))


def _numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a configuration an update rule can read: a choice among names says nothing to it."""
    return {name: value for name, value in config.items() if hasattr(value, "__float__")}


def has_rate(task: Task, config: Config) -> bool:
    """Whether a trial has a rate that can be compared, which one of another tool may lack.

    What somebody chose may lie outside the space, what failed before it was drawn has nothing.
    """
    rate = rate_name(task)
    enters = [name for name in (rate, "momentum") if name in config and name in task.space]
    return rate in enters and all(task.space[name].contains(config[name]) for name in enters)


def at_rate(task: Task, config: Config, log10_rate: float) -> Config:
    """Return `config` with the rate whose effective rate is `10**log10_rate`, clipped to the space."""
    rate = rate_name(task)
    lr = task.space[rate]
    assert isinstance(lr, Real)  # for the type checker: `needs_rate` refused anything else
    unit = float(optimizer_of(task).effective_rate({**_numbers(config), rate: 1.0}))
    return config.replace(**{rate: lr.clip(10.0 ** min(log10_rate, 300.0) / unit)})


def log_rates_of(task: Task, values: Mapping[str, Any], count: int) -> np.ndarray:
    """Return `log10` of the effective rates of `count` configurations that are given as arrays, `(count,)`.

    Args:
        task: Its optimizer says what the effective rate is.
        values: By hyper-parameter an array `(count,)`, or what all have.
        count: How many.
    """
    rates = _effective(task, values, count)
    with np.errstate(divide="ignore"):  # of a rate of zero
        return np.asarray(np.log10(rates))


def at_log_rates(
    task: Task, values: Mapping[str, Any], log10_rates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates whose effective rates are `10**log10_rates`, clipped to the space, as `at_rate`.

    Args:
        task: What is tuned.
        values: By hyper-parameter an array `(n,)`, or what all have.
        log10_rates: `(n,)`.

    Returns:
        The rates, and `log10` of the effective ones that they have come to, each `(n,)`.
    """
    name, count = rate_name(task), len(log10_rates)
    lr = task.space[name]
    assert isinstance(lr, Real)  # for the type checker: `needs_rate` refused anything else
    unit = _effective(task, {**values, name: 1.0}, count)
    found = np.clip(10.0 ** np.minimum(log10_rates, 300.0) / unit, lr.low, lr.high)
    return found, log_rates_of(task, {**values, name: found}, count)


def _effective(task: Task, values: Mapping[str, Any], count: int) -> np.ndarray:
    """Return the effective rates of configurations given as arrays, `(count,)`."""
    rule, read = optimizer_of(task), _numbers(values)
    whole = all(not isinstance(value, np.ndarray) or value.dtype != object for value in read.values())
    if whole:
        try:
            return np.broadcast_to(np.asarray(rule.effective_rate(read), dtype=float), (count,))
        except (TypeError, ValueError):  # a rule of the user's own, that takes one configuration at a time
            pass
    rows = (
        {name: value[i] if isinstance(value, np.ndarray) else value for name, value in read.items()}
        for i in range(count)
    )
    return np.array([float(rule.effective_rate(_numbers(row))) for row in rows])


def redrawn(
    task: Task,
    sampled: Config,
    rng: np.random.Generator,
    centre: float,
    band: tuple[float, float],
    upper: float = math.inf,
) -> Choice:
    """Redraw the rate inside a band around `centre` if it lies below the band, or above `upper`."""
    low, high = band
    z = log_rate(task, sampled) - centre
    if low <= z <= upper:
        return Choice(sampled, z, f"z = {z:.2f} is not below {low:g}: left as sampled", "unchanged")
    drawn = float(rng.uniform(low, high))
    side = f"below {low:g}" if z < low else f"above {upper:g}"
    reason = f"z = {z:.2f} is {side}: redrawn at z = {drawn:.2f}"
    return Choice(at_rate(task, sampled, centre + drawn), z, reason, "redrawn")


def corrected(
    policy: str,
    sampled: Config,
    choice: Choice,
    flops: float = 0.0,
    measurements: dict[str, float] | None = None,
) -> Nudge:
    """Return the nudge of a policy that found its centre."""
    return Nudge(
        choice.config,
        policy,
        changed=choice.config != sampled,
        reason=choice.reason,
        z=choice.z,
        flops=flops,
        measurements=measurements or {},
        kind=choice.kind,
    )


def log_rates(task: Task) -> np.ndarray:
    """Return `log10` of the effective rates of 512 draws of the task's space, sorted."""
    kept = _log_rates(task.space)
    optimizer = optimizer_of(task)
    for known, found in kept:
        if known == optimizer:
            return found
    streams = Streams(0)
    draws = (task.space.sample(streams("rates of a space", number)) for number in range(_DRAWS))
    found = np.sort([log_rate(task, draw) for draw in draws])
    kept.append((optimizer, found))
    return found


@lru_cache(maxsize=8)
def _log_rates(space: SearchSpace) -> list[tuple[Optimizer, np.ndarray]]:
    """Return what is known of a space, by optimizer; every trial of a study asks for it."""
    del space
    return []
