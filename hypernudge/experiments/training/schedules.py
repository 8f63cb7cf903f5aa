"""Learning-rate schedules of the experiments, over epochs (images) or optimizer steps (text)."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from hypernudge.experiments.config import RunConfig


def build_schedule(optimizer: Optimizer, config: RunConfig, steps_per_epoch: int) -> LRScheduler | None:
    """Return the schedule; it is stepped once per `config.schedule_unit`. None for "none"."""
    span = span_of(config, steps_per_epoch)
    if config.lr_scheduler == "none":
        return None
    if config.lr_scheduler == "cosine":
        return CosineAnnealingLR(optimizer, T_max=span)
    return LambdaLR(optimizer, factor(config, span, steps_per_epoch))


def span_of(config: RunConfig, steps_per_epoch: int) -> int:
    """Return over how many of its own steps the schedule runs."""
    whole = config.epochs * (steps_per_epoch if config.schedule_unit == "step" else 1)
    return config.scheduler_t_max or whole


def factor(config: RunConfig, span: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the multiplier of the base rate after `k` steps of a linear schedule.

    Per optimizer step, linear decay starts at 1. Per epoch it starts at `1 - 1 / span` and is 0 in the last
    epoch, as it was published.
    """
    per_epoch = config.schedule_unit == "epoch"
    wanted = config.warmup_epochs if config.lr_scheduler == "warmup_linear" else 0
    warmup = max(0, min(wanted * (1 if per_epoch else steps_per_epoch), span - 1))

    def multiplier(k: int) -> float:
        if k < warmup:
            return (k + 1) / warmup
        position = k + 1 if per_epoch else k
        return max(0.0, 1.0 - (position - warmup) / max(span - warmup, 1))

    return multiplier


def schedule_warnings(config: RunConfig, steps_per_epoch: int) -> list[str]:
    """Say where a schedule is not what its name makes one expect."""
    found = []
    if config.lr_scheduler == "warmup_linear" and config.warmup_epochs == 0:
        found.append(
            "--lr-scheduler warmup_linear without --warmup-epochs has no warm-up: this is linear decay; "
            "pass --warmup-epochs 1 for a warm-up of an epoch"
        )
    linear = config.lr_scheduler in ("linear", "warmup_linear")
    last = config.epochs - 1
    span = span_of(config, steps_per_epoch)
    if linear and config.schedule_unit == "epoch" and factor(config, span, steps_per_epoch)(last) == 0:
        found.append(
            f"--lr-scheduler {config.lr_scheduler}: the rate of the last epoch is 0, so nothing is learned "
            f"in it; pass --scheduler-t-max {config.epochs + 1} to use it"
        )
    return found
