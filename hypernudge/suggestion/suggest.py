"""`hypernudge.suggest`: a learning rate with an interval, from short trial trainings of throw-away copies."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from hypernudge.errors import one_line, require, require_between, require_choice, require_whole
from hypernudge.suggestion import batches, losses
from hypernudge.suggestion.copies import BUILT_BY, GUESS, built, first_rate, plain, ratios
from hypernudge.suggestion.first_step import curvature, is_normalised
from hypernudge.suggestion.ladder import HIGHEST, LOWEST, Found, OutOfTimeError, lengths_of, search
from hypernudge.suggestion.result import Suggestion
from hypernudge.suggestion.schedules import Recorded, falls, schedule_of
from hypernudge.suggestion.trials import Recipe
from hypernudge.suggestion.untouched import untouched
from hypernudge.tasks.module.schedules import Schedule
from hypernudge.tasks.module.seeded import seeded

if TYPE_CHECKING:
    from torch import nn
    from torch.optim.lr_scheduler import LRScheduler

FEWEST = 20  # steps that trials need
USUAL_TRAININGS, USUAL_LEAST, USUAL_MOST = 4, 400, 2000  # steps of all trials where nothing is said: those
# of so many trainings, but so many at least and at most
UNKNOWN = 10.0  # factor of the interval where no trial was finished
PRECISIONS = ("float32", "bf16", "fp16")
EPOCHS, STEPS = 10, 1000  # of a training of which nothing is said: epochs, or steps where those are unknown
READING = 0.3  # share of the seconds that reading may take
LOOKING = 0.1  # the same of computing losses before training
SHIFT, FALLING_SHIFT = 0.3, 0.15  # decades that the best rate falls, per decade by which training is longer
# than a trial, at a constant rate and under schedules that fall;
NORMALISED = 2.0  # times that for optimizers whose steps do not become shorter as the gradient does;
FARTHEST = 1.5  # decades of length, at most, that this is carried on
MARGIN = 0.5  # decades by which the interval is wider than the rates that trials found equal


def suggest(
    model: nn.Module,
    loss: losses.Loss | nn.Module | None = None,
    data: Any = None,
    optimizer: Any = None,
    *,
    steps: int | None = None,
    schedule: str | Mapping[str, Any] | Schedule | LRScheduler = "constant",
    accumulate: int = 1,
    grad_clip: float | None = None,
    precision: str = "float32",
    trial_steps: int | None = None,
    seconds: float | None = 30.0,
    seed: int = 0,
) -> Suggestion:
    """Suggest a learning rate for a training that is about to begin.

    Throw-away copies of the model are trained for a few steps each, by a copy of the optimizer, on a ladder
    of rates that narrows; all on the same mini-batches and under the same draws. Model, optimizer, data and
    the global generators of Python, NumPy and PyTorch are afterwards as they were, to the bit, also where
    something raises.

    Args:
        model: The network, on the device that it is to be trained on. It is copied: memory holds it twice.
        loss: `loss(model, batch)`, one number; it must use the model that it is given. Or a criterion for
            mini-batches of inputs and targets, such as `nn.CrossEntropyLoss()`. None where `model(batch)`, or
            `model(**batch)` for a mapping, returns the loss, or has it as `.loss`.
        data: A `DataLoader`, or another iterable of mini-batches, of anything that holds tensors. What is
            read from an iterator cannot be put back.
        optimizer: The optimizer, of any class with learning rates; or its class; or a function of parameters.
            Groups keep the proportions of their rates.
        steps: Optimizer steps of the training; 10 epochs where None, or 1000.
        schedule: Of the training: `"constant"`, `"linear"`, `"cosine"`, `"step"`, `"warmup_stable_decay"`, a
            mapping with such a `name` and options (`{"name": "cosine", "warmup": 0.05}`), or a `Schedule`:
            the suggestion is its peak. Or a scheduler of PyTorch that steps with this optimizer: the
            suggestion is the rate that the optimizer is built with.
        accumulate: Mini-batches whose gradients make a step.
        grad_clip: Largest norm of the gradient, where training clips it.
        precision: Of forward passes: `"float32"`, as the model is, or `"bf16"`, `"fp16"` by autocast.
        trial_steps: Optimizer steps of all trials together, about. More is surer. Four times the training's
            where None, but 400 at least and 2000 at most.
        seconds: After which it makes do with what is known; None for no limit. Until then the result does not
            depend on time.
        seed: Of what models draw in trials.

    Returns:
        The rate, an interval, and what they were based on.

    Raises:
        InvalidArgumentError: For an argument that breaks a rule, or a loss that is finite on no mini-batch.
    """
    began = time.monotonic()
    _check_parts(loss, data, optimizer)
    check_numbers(
        steps=steps,
        accumulate=accumulate,
        grad_clip=grad_clip,
        trial_steps=trial_steps,
        seconds=seconds,
        seed=seed,
    )
    require_choice("precision", precision, PRECISIONS)
    inner = plain(model)
    limit = math.inf if seconds is None else seconds
    grad = torch.inference_mode(False), torch.enable_grad()
    loader = getattr(data, "base_dataloader", None)
    with untouched(model, loss, data, loader, optimizer), seeded(seed), grad[0], grad[1]:
        own = built(optimizer, inner)
        planned = _planned(data, accumulate) if steps is None else steps
        chosen = schedule_of(schedule, planned)
        budget = _usual(planned) if trial_steps is None else trial_steps
        longest = max(1, *lengths_of(budget))
        kept = batches.read(data, longest * accumulate, READING * limit)
        ends = began + limit
        recipe = Recipe(inner, own, loss, kept, accumulate, grad_clip, precision, chosen, seed, ends)
        dropped = recipe.drop_broken_batches(time.monotonic() + LOOKING * limit)
        recipe.set_aside(longest)
        by_curvature, normalised, found = _searched(recipe, budget, planned)
    shift = _shift(found, chosen, normalised, planned)
    rate, low, high, basis = _concluded(own, found, by_curvature, shift)
    return Suggestion(
        lr=rate,
        low=low,
        high=high,
        basis=basis,
        steps=planned,
        schedule=_name(chosen),
        peak=rate * (max(chosen.factors) if isinstance(chosen, Recorded) else 1.0),
        trials=tuple(found.trials),
        untrained=recipe.scale.untrained,
        curvature=10.0**by_curvature,
        ratios=tuple(ratios(own)),
        gradients=recipe.gradients,
        seconds=time.monotonic() - began,
        notes=tuple(_notes(recipe, found, dropped, len(kept), basis, len(lengths_of(budget)))),
    )


def _check_parts(loss: Any, data: Any, optimizer: Any) -> None:
    losses.checked(loss)
    require(data is not None, "data", batches.RULE, data, "pass the training's DataLoader")
    require(optimizer is not None, "optimizer", BUILT_BY, optimizer, "torch.optim.AdamW, say")


def check_numbers(
    *,
    steps: Any = None,
    accumulate: Any = 1,
    grad_clip: Any = None,
    trial_steps: Any = None,
    seconds: Any = None,
    seed: Any = 0,
) -> None:
    """Refuse numbers out of range.

    Raises:
        InvalidArgumentError: For one that is.
    """
    if steps is not None:
        require_whole("steps", steps, remedy="leave it out where that is not known")
    require_whole("accumulate", accumulate)
    if grad_clip is not None:
        require_between("grad_clip", grad_clip, 0.0, remedy="leave it out where nothing is clipped")
    if trial_steps is not None:
        require_whole("trial_steps", trial_steps, FEWEST, remedy="leave it out, or give 400 or more")
    if seconds is not None:
        require_between("seconds", seconds, 0.0, remedy="30 is usual; None for no limit")
    require_whole("seed", seed, 0)


def _planned(data: Any, accumulate: int) -> int:
    """Return the steps of a training of which nothing is said."""
    try:
        return max(1, EPOCHS * len(data) // accumulate)
    except TypeError:  # an iterator, or a loader over what has no length
        return STEPS


def _usual(planned: int) -> int:
    """Return the steps of all trials where nothing is said: a long training is worth more of them."""
    return min(max(USUAL_TRAININGS * planned, USUAL_LEAST), USUAL_MOST)


def _searched(recipe: Recipe, budget: int, planned: int) -> tuple[float, bool, Found]:
    """Return `log10` of the rate by curvature, whether steps are normalised, and what trials have found."""
    by_curvature, normalised = math.nan, False
    try:
        by_curvature, gain = curvature(recipe)
        if math.isfinite(gain):
            recipe.scale = replace(recipe.scale, first_gain=gain)
        normalised = is_normalised(recipe)
        group = recipe.optimizer.param_groups[0]
        momentum = float(group.get("momentum", 0.0))
        centre = by_curvature + math.log10(1.0 - momentum) if 0 <= momentum < 1 else by_curvature
        if not math.isfinite(centre):
            centre = math.log10(first_rate(recipe.optimizer) or GUESS)
        centre = min(max(centre, LOWEST + 1), HIGHEST - 1)
        return by_curvature, normalised, search(recipe.run, centre, budget, planned, recipe.scale)
    except OutOfTimeError:
        return by_curvature, normalised, Found(in_time=False)


def _shift(found: Found, schedule: Schedule, normalised: bool, planned: int) -> float:
    """Return by how many decades the rate of the training lies below that of the trials."""
    if not found.steps:
        return 0.0
    per_decade = (FALLING_SHIFT if falls(schedule) else SHIFT) * (NORMALISED if normalised else 1.0)
    return per_decade * min(max(math.log10(planned / found.steps), 0.0), FARTHEST)


def _concluded(
    optimizer: torch.optim.Optimizer, found: Found, curvature: float, shift: float
) -> tuple[float, float, float, str]:
    """Return the rate, the interval, and what they are taken from."""
    if math.isfinite(found.best) and not found.alike:
        exponents = found.best, found.low - MARGIN, found.high + MARGIN
        rate, low, high = (10.0 ** (exponent - shift) for exponent in exponents)
        return rate, low, high, "trials"
    known = math.isfinite(curvature)
    rate = 10.0**curvature if known else first_rate(optimizer) or GUESS
    return rate, rate / UNKNOWN, rate * UNKNOWN, "curvature" if known else "optimizer"


def _notes(recipe: Recipe, found: Found, dropped: int, read: int, basis: str, rounds: int) -> Iterator[str]:
    if dropped:
        yield f"{dropped} of {read} mini-batches left out, their loss is not finite before training"
    if not found.in_time:
        yield f"time was up after {found.rounds} of {max(rounds, found.rounds + 1)} rounds of trials"
    if recipe.raised is not None:
        raised = f"{type(recipe.raised).__name__}: {one_line(recipe.raised)}"
        yield f"{recipe.raises} trials raised an error and count as diverged, the first {raised}"
    if found.alike:
        yield "the loss is the same at every rate, as if nothing were trained: the rate is but a guess"
    elif basis != "trials":
        yield "no trial was finished: the rate is little more than a guess"
    elif found.plateau:
        yield "no trial was long enough to learn anything: the highest harmless rate is suggested"


def _name(schedule: Schedule) -> str:
    if isinstance(schedule, Recorded):
        return schedule.name
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(schedule).__name__).lower()
