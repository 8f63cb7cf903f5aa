"""The methods of the study by name: an update rule and a rule for its learning rates."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.episodes_effect.aligned import AlignedMembers, AnnealedMembers
from benchmarks.episodes_effect.rules import (
    DOWN,
    RATES,
    UP,
    Bandits,
    RandomArms,
    Rule,
    Scheduled,
    bandit_of_ours,
    compat_controller,
    cosine_factor,
)
from benchmarks.episodes_effect.training import SGD, AdamW, Packaged, Update
from hypernudge.episodes.controllers.annealed_alignment import ADAPTIVE_PEAK, PLAIN_PEAK, SEARCHER


@dataclass(frozen=True)
class Crew:
    """Who trains together: optimizer, seeds, base rates, number of steps, shapes of a member's parameters."""

    optimizer: str
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    steps: int
    shapes: tuple[torch.Size, ...] = ()

    @property
    def member_seeds(self) -> list[int]:
        """Seed of every member, rate-major."""
        return [seed for _ in self.rates for seed in self.seeds]


@dataclass(frozen=True)
class Method:
    """How a method is run.

    Attributes:
        rule: Builds the rule of the learning rates.
        update: Builds the update rule; None for the crew's own optimizer.
        one_rate: Has no base rate worth varying: it is run at the right one only.
        finder: Of `finders.FINDERS`: each member stands at the rate that it finds for the member's seed.
        seeds: Of how many of a phase's seeds it is run, the first ones; None for all.
    """

    rule: Callable[[Crew], Rule]
    update: Callable[[Crew], Update] | None = None
    one_rate: bool = False
    finder: str | None = None
    seeds: int | None = None


def update_of(name: str, crew: Crew) -> Update:
    """Return the update rule of a method for a crew."""
    build = METHODS[name].update
    if build is not None:
        return build(crew)
    return AdamW() if crew.optimizer == "adamw" else SGD()


def _constant(crew: Crew) -> Rule:
    return Scheduled(len(crew.member_seeds), lambda step: 1.0)


def _cosine(crew: Crew) -> Rule:
    return Scheduled(len(crew.member_seeds), cosine_factor(crew.steps))


def _random_arms(crew: Crew) -> Rule:
    return RandomArms(crew.member_seeds, RATES, compounding=False)


def _random_walk(crew: Crew) -> Rule:
    # Weighted so that the logarithm has no drift; a third of the episodes change nothing.
    rise = math.log(1 / DOWN) / math.log(UP / DOWN)
    weights = [rise * 2 / 3, (1 - rise) * 2 / 3, 1 / 3]
    return RandomArms(crew.member_seeds, (UP, DOWN, 1.0), compounding=True, weights=weights)


def _aligned(**options: Any) -> Callable[[Crew], Rule]:
    return lambda crew: AlignedMembers(len(crew.member_seeds), **options)


def _annealed(**options: Any) -> Callable[[Crew], Rule]:
    def rule(crew: Crew) -> Rule:
        peak = PEAKS[crew.optimizer]
        return AnnealedMembers(len(crew.member_seeds), crew.steps, peak=peak, **options)

    return rule


def _schedule_free(crew: Crew) -> Update:
    import schedulefree

    kind = schedulefree.AdamWScheduleFree if crew.optimizer == "adamw" else schedulefree.SGDScheduleFree
    decay = {"weight_decay": 0.01} if crew.optimizer == "adamw" else {}
    blocks = _blocks(len(crew.seeds), len(crew.rates))
    return Packaged(
        lambda leaves, block: kind(leaves, lr=crew.rates[block], warmup_steps=crew.steps // 20, **decay),
        blocks,
    )


def _one_each(
    crew: Crew, kind: Callable[..., Any], *, cosine: bool = False, cut: bool = False, **options: Any
) -> Update:
    """Return one optimizer per member, since each estimates one distance."""

    def build(leaves: list[Tensor], block: int) -> Any:
        del block
        with redirect_stdout(io.StringIO()):  # some greet whenever one is made
            return kind(leaves, lr=1.0, **options)

    return Packaged(
        build,
        _blocks(1, len(crew.member_seeds)),
        shapes=crew.shapes if cut else None,
        factor=cosine_factor(crew.steps) if cosine else None,
    )


def _prodigy(crew: Crew, cosine: bool = False) -> Update:
    import prodigyopt

    return _one_each(crew, prodigyopt.Prodigy, cosine=cosine, weight_decay=0.01)


def _prodigy_schedule_free(crew: Crew) -> Update:
    from prodigyplus.prodigy_plus_schedulefree import ProdigyPlusScheduleFree

    # Its second moments are factored and its updates scaled by parameter: it is handed each by itself.
    return _one_each(crew, ProdigyPlusScheduleFree, cut=True, weight_decay=0.01)


def _d_adaptation(crew: Crew, cosine: bool = False) -> Update:
    import dadaptation

    if crew.optimizer == "sgd":
        return _one_each(crew, dadaptation.DAdaptSGD, cosine=cosine, momentum=0.9)
    return _one_each(crew, dadaptation.DAdaptAdam, cosine=cosine, weight_decay=0.01, decouple=True)


def _blocks(size: int, count: int) -> Sequence[slice]:
    return [slice(size * index, size * (index + 1)) for index in range(count)]


# The rule as first measured, in the arguments of `Alignment`.
FIRST_RULE: dict[str, Any] = {
    "lag": 0,
    "every": 1,
    "z_down": 2.0,
    "z_recover": None,
    "z_above_base": None,
    "z_at_base": None,
    "samples": 15,
    "min_samples": 1,
}

# Steps from the rule as first measured to the default, compared in the phase `develop`.
GUARDED: dict[str, Any] = {"z_down": 1.5, "z_recover": 3.0, "z_above_base": 3.0, "z_at_base": (3.0, 3.0)}
PATIENT = GUARDED | {"base_samples": 200}
CAUTIOUS = PATIENT | {"z_at_base": (3.0, 2.0)}
RETURNING = CAUTIOUS | {"z_recover": 2.5}
STEADY = RETURNING | {"samples": 30, "warmup_samples": 30, "min_samples": 5}
DEFAULT = STEADY | {"warmup_samples": 15, "z_warmup": 0.5}

# The default for a training of known length, `AnnealedAlignment`, and its factor on the multiplier found.
ANNEALED = DEFAULT | SEARCHER | {"search": (0.25, 0.5)}
PEAKS = {"adamw": ADAPTIVE_PEAK, "sgd": PLAIN_PEAK}

METHODS: dict[str, Method] = {
    "plain": Method(_constant),
    "cosine": Method(_cosine),
    "random_arms": Method(_random_arms),
    "random_walk": Method(_random_walk),
    "compat": Method(lambda crew: Bandits([compat_controller(seed) for seed in crew.member_seeds])),
    "bandit": Method(lambda crew: Bandits([bandit_of_ours(seed) for seed in crew.member_seeds])),
    "alignment": Method(_aligned(**FIRST_RULE)),
    "guarded": Method(_aligned(**GUARDED)),
    "patient": Method(_aligned(**PATIENT)),
    "cautious": Method(_aligned(**CAUTIOUS)),
    "returning": Method(_aligned(**RETURNING)),
    "steady": Method(_aligned(**STEADY)),
    "default": Method(_aligned(**DEFAULT)),
    "annealed": Method(_annealed(**ANNEALED)),
    "schedule_free": Method(_constant, _schedule_free),
    "prodigy": Method(_constant, _prodigy, one_rate=True),
    "prodigy_cosine": Method(_constant, lambda crew: _prodigy(crew, cosine=True), one_rate=True),
    "prodigy_schedule_free": Method(_constant, _prodigy_schedule_free, one_rate=True),
    "d_adaptation": Method(_constant, _d_adaptation, one_rate=True),
    "d_adaptation_cosine": Method(_constant, lambda crew: _d_adaptation(crew, cosine=True), one_rate=True),
    "lightning_cosine": Method(_cosine, finder="lightning"),
    "torch_lr_finder_cosine": Method(_cosine, finder="torch_lr_finder"),
    "suggest_cosine": Method(_cosine, finder="suggest", seeds=10),
}
