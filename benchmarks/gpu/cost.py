"""Wall time of a warm start against that of a training step, on ResNet-20, a ViT and a language model.

`first` is the first call for a task: it also counts FLOPs and sets the device up, once for every combination
of discrete values. `again` is what every further study pays for its first trial, whose measurement the later
trials of most policies reuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.networks import HP, NAMES, module_task
from benchmarks.gpu.timing import interleaved, summary, timed
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.space import Config
from hypernudge.tasks.module import ModuleTask
from hypernudge.trial import History, Nudge

POLICIES = ("informed", "fixed_band", "curvature_band", "literal")


def measure(device: torch.device, limit: float, tiny: bool) -> dict[str, Any]:
    """Return milliseconds of a step and of every policy, and their ratio."""
    return {name: _measure(name, device, limit / len(NAMES), tiny) for name in NAMES}


def _measure(name: str, device: torch.device, limit: float, tiny: bool) -> dict[str, Any]:
    steps, rounds = (2, 2) if tiny else (20, 9)
    task = module_task(name, device, tiny, steps)
    state = task.start(0)
    nudges: dict[str, Nudge] = {}
    first: dict[str, float] = {}
    works: dict[str, Callable[[], Any]] = {"step": lambda: task.advance(state, HP)}
    for policy in POLICIES:
        works[policy] = _nudging(task, policy, nudges)
        first[policy] = timed(works[policy], device)
    seconds = interleaved(works, device, limit, rounds, warm=1)
    step = summary(seconds["step"], steps)
    result: dict[str, Any] = {"step": step}
    for policy in POLICIES:
        again = summary(seconds[policy])
        nudge = nudges[policy]
        result[policy] = {
            "first_ms": round(1e3 * first[policy], 3),
            "again": again,
            "steps": float(f"{again['median_ms'] / step['median_ms']:.3g}"),
            "steps_by_flops": round(nudge.flops / task.at(HP).step_flops, 2),
            "flagged": nudge.flagged,
            "reason": nudge.reason,
        }
    return result


def _nudging(task: ModuleTask, name: str, nudges: dict[str, Nudge]) -> Callable[[], None]:
    policy = build("warm_start", {"name": name})

    def nudge() -> None:
        nudges[name] = policy(task, Config(HP), History(), Streams(0))

    return nudge
