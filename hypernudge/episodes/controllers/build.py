"""From options to a controller: the defaults of the hook-based scheduler, in one place."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis, check_axis
from hypernudge.episodes.axes.learning_rate import LearningRate
from hypernudge.episodes.bandits.base import BanditFactory
from hypernudge.episodes.bandits.ucb import DiscountedUCB
from hypernudge.episodes.context import TrendContext
from hypernudge.episodes.controllers.alignment import Alignment
from hypernudge.episodes.controllers.anneal_shapes import AUTO, CHOICES
from hypernudge.episodes.controllers.annealed_alignment import AnnealedAlignment
from hypernudge.episodes.controllers.bandit_controller import BanditController, bandit_slots
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.controllers.joint import JointController
from hypernudge.episodes.rewards.base import Reward
from hypernudge.episodes.rewards.ema_log import EmaLogReward
from hypernudge.episodes.rewards.standardised import StandardisedReward
from hypernudge.errors import InvalidArgumentError, unknown_name

# Rewards are standardised to a spread of about 1/3; a constant of that size explores without drowning them.
DEFAULT_EXPLORATION = 0.2


def controller_of(
    axes: Sequence[Axis],
    controller: Controller | None,
    *,
    seed: int,
    process_group: Any,
    options: Mapping[str, Any],
    total_steps: int | None = None,
    anneal: str = AUTO,
    peak: float | str | None = None,
) -> Controller:
    """Return what decides: the given controller, alignment, bandits on the given axes, or two of them.

    Args:
        axes: What bandits are to decide about.
        controller: Decides about what is its own; alone where no axes are given.
        seed: Seed of the bandits.
        process_group: Ranks that must choose alike; None for all of them.
        options: Of `bandit_controller`.
        total_steps: Length of the training, for an annealed alignment; None if it has no end.
        anneal: See `AnnealedAlignment`.
        peak: See there; only with `total_steps`.

    Raises:
        ValueError: Options were given without axes, `total_steps` together with a controller or with an axis
            of the learning rate, or an argument is out of range.
    """
    known = set(inspect.signature(bandit_controller).parameters) - {"axes", "seed"}
    for name in options:
        if name not in known:
            raise unknown_name("EpisodicScheduler", name, known, "must be given arguments it knows")
    for axis in axes:
        check_axis(axis)
    checks.choice("anneal", anneal, CHOICES)
    if controller is not None and options and not axes:
        raise InvalidArgumentError(
            f"controller: decides alone, but got {list(options)} besides; drop them, or set them on the "
            "controller"
        )
    if controller is not None:
        members = (
            *("axes", "capacity", "uses_loss", "uses_gradients", "open", "is_complete", "close"),
            *("selection_id", "fingerprint", "state_dict", "load_state_dict"),
        )
        checks.instance_with("controller", controller, members, "pass for example Alignment()")
    if total_steps is None:
        if anneal != AUTO:
            checks.refuse("anneal", "needs total_steps", anneal, "name the number of optimizer steps")
        if peak is not None:
            checks.refuse("peak", "needs total_steps", peak, "name the number of optimizer steps")
        rate = controller
    else:
        rate = _annealed(axes, controller, total_steps, anneal, peak, process_group)
    if axes or options:
        bandits = bandit_controller(axes, seed=seed, **options)
        return bandits if rate is None else JointController([rate, bandits])
    return Alignment(process_group=process_group) if rate is None else rate


def _annealed(
    axes: Sequence[Axis],
    controller: Controller | None,
    total_steps: Any,
    anneal: str,
    peak: float | str | None,
    process_group: Any,
) -> AnnealedAlignment:
    checks.at_least("total_steps", total_steps, 1)
    if controller is not None:
        raise InvalidArgumentError(
            f"total_steps: must be told to the controller where there is one, but got {total_steps!r} and a "
            f"{type(controller).__name__}; pass controller=AnnealedAlignment(total_steps, alignment=...)"
        )
    if any(axis.name == LearningRate.name for axis in axes):
        raise InvalidArgumentError(
            f"total_steps: means that alignment finds and anneals the rate, but got {total_steps!r} and an "
            f"axis {LearningRate.name!r}; drop one of them"
        )
    return AnnealedAlignment(total_steps, anneal=anneal, peak=peak, process_group=process_group)


def check_parts(*, criterion: Any, noise_source: Any) -> None:
    """Refuse parts of a scheduler that are none.

    Raises:
        ValueError: `criterion` is no module, or `noise_source` no source of noise.
    """
    if criterion is not None and not isinstance(criterion, nn.Module):
        remedy = "pass an instance such as nn.CrossEntropyLoss(), or call observe(loss)"
        checks.refuse("criterion", "must be a torch.nn.Module", criterion, remedy)
    if noise_source is not None:
        members = ("add", "state_dict", "load_state_dict")
        checks.instance_with("noise_source", noise_source, members, "leave it out")


def bandit_controller(
    axes: Sequence[Axis],
    *,
    seed: int,
    episode_length: int = 100,
    bandit: BanditFactory | None = None,
    reward: Reward | None = None,
    context: TrendContext | None = None,
    conditional: bool = False,
    non_finite: str = "ignore",
) -> BanditController:
    """Build the controller of fixed-length episodes.

    Args:
        axes: What to decide about, at least one, of different names.
        seed: Seed of the bandits.
        episode_length: Optimizer steps per episode, at least 1.
        bandit: Builds a bandit per axis; default discounted UCB with an exploration of 0.2.
        reward: Judges an episode; default the smoothed log improvement, detrended and standardised.
        context: Bucket rule for contextual bandits.
        conditional: One bandit per arm of the first axis for every later axis.
        non_finite: `ignore`, `worst` or `raise`, see
            `BanditController`.

    Raises:
        ValueError: An argument is out of range.
    """
    if not axes:
        raise InvalidArgumentError(
            "axes: must not be empty, but got none; pass at least one, for example LearningRate([0.5, 1, 2])"
        )
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(
            f"axes: must have different names, but got {names}; join their candidates in one axis"
        )
    if bandit is not None:
        checks.function(
            "bandit", bandit, "pass a class, or functools.partial(DiscountedUCB, exploration=0.1)"
        )
    checks.flag("conditional", conditional)
    factory = bandit or functools.partial(DiscountedUCB, exploration=DEFAULT_EXPLORATION)
    return BanditController(
        axes,
        bandit_slots(axes, factory, conditional=conditional, seed=seed),
        reward=reward or StandardisedReward(EmaLogReward()),
        episode_length=episode_length,
        context=context,
        non_finite=non_finite,
    )
