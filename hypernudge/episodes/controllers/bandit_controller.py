"""The controller of fixed-length episodes: one bandit per axis, all rewarded alike."""

import math
from collections.abc import Sequence
from typing import Any, cast

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.bandits.base import Bandit, BanditFactory, ContextualBandit
from hypernudge.episodes.context import TrendContext
from hypernudge.episodes.kinds import kind_of
from hypernudge.episodes.records import Selection, value_text
from hypernudge.episodes.rewards.base import Reward, RewardDetails
from hypernudge.random import integer

NON_FINITE_POLICIES = ("ignore", "worst", "raise")

Slots = tuple[tuple[Bandit, ...], ...]
"""Per axis: no bandit (one candidate), one, or one per arm of the first axis (conditional)."""


def bandit_slots(axes: Sequence[Axis], factory: BanditFactory, *, conditional: bool, seed: int) -> Slots:
    """Build the bandits of every axis with more than one candidate.

    Args:
        axes: The axes.
        factory: Builds one bandit.
        conditional: Give every later axis one bandit per arm of the first axis.
        seed: Every bandit's own seed is derived from it and from the bandit's place.

    Returns:
        Per axis a tuple of bandits.
    """
    slots: list[tuple[Bandit, ...]] = []
    for position, axis in enumerate(axes):
        arms = len(axis.candidates)
        copies = len(axes[0].candidates) if conditional and position > 0 else 1
        if arms == 1:
            slots.append(())
            continue
        slots.append(
            tuple(
                factory(arms, seed=integer(seed, "bandit", position, axis.name, parent))
                for parent in range(copies)
            )
        )
    return tuple(slots)


class BanditController:
    """Freezes one candidate per axis for `episode_length` steps, then rewards the bandits that chose.

    Args:
        axes: What to decide about.
        slots: Bandits per axis, see `bandit_slots`.
        reward: Judges the losses of an episode.
        episode_length: Optimizer steps per episode, at least 1.
        context: Tells contextual bandits which bucket they decide in; None for no context.
        non_finite: What an infinite or NaN loss does: `ignore` leaves the step out of the reward, `worst`
            gives the episode the reward's worst value, `raise` raises `ValueError`.

    Raises:
        ValueError: An argument is out of range.
    """

    uses_loss = True
    uses_gradients = False

    def __init__(
        self,
        axes: Sequence[Axis],
        slots: Slots,
        *,
        reward: Reward,
        episode_length: int = 100,
        context: TrendContext | None = None,
        non_finite: str = "ignore",
    ) -> None:
        self.axes = tuple(axes)
        remedy = "pass for example EmaLogReward()"
        self.reward = checks.instance_with("reward", reward, ("worst", "__call__", "fingerprint"), remedy)
        if context is not None:
            checks.instance_with("context", context, ("window", "epsilon", "bucket"), "pass TrendContext()")
        self.context = context
        self.capacity = checks.at_least("episode_length", episode_length, 1)
        self.non_finite = checks.choice("non_finite", non_finite, NON_FINITE_POLICIES)
        if self.non_finite == "worst":
            checks.number("the worst reward, under non_finite='worst',", self.reward.worst)
        self._slots = slots
        self._history: list[float] = []  # raw last losses, only as many as the context looks at

    def open(self) -> Selection:
        """Ask every bandit, in the order of the axes."""
        bucket = None if self.context is None else self.context.bucket(self._history)
        arms: list[int] = []
        for position in range(len(self.axes)):
            bandit = self._bandit(position, arms[0] if arms else 0)
            if bandit is None:
                arms.append(0)
                continue
            if bucket is not None and hasattr(bandit, "set_context"):
                cast("ContextualBandit", bandit).set_context(bucket)
            arms.append(bandit.select())
        values = tuple(axis.candidates[arm] for axis, arm in zip(self.axes, arms, strict=True))
        name = "_".join(
            f"{axis.tag}{value_text(value)}" for axis, value in zip(self.axes, values, strict=True)
        )
        return Selection(name, tuple(arms), values, bucket)

    def before_step(self, optimizer: Optimizer) -> None:
        """Ignore the gradients."""
        del optimizer

    def after_step(self, optimizer: Optimizer) -> None:
        """Ignore the parameters."""
        del optimizer

    def is_complete(self, steps: int) -> bool:
        """Whether `steps` reached the episode length."""
        return steps >= self.capacity

    def close(self, selection: Selection, losses: list[float]) -> RewardDetails | None:
        """Reward every bandit that took part in `selection`.

        Returns:
            The reward, or None if every loss was non-finite and such losses are ignored.

        Raises:
            ValueError: A loss is not finite under the policy `raise`, or the reward is undefined.
        """
        details = self._judge(losses)
        if details is None:
            return None
        for position, arm in enumerate(selection.arms):
            bandit = self._bandit(position, selection.arms[0])
            if bandit is not None:
                bandit.update(arm, details.value)
        if self.context is not None:
            usable = [loss for loss in losses if math.isfinite(loss)]
            if usable:
                self._history = [*self._history, usable[-1]][-self.context.window :]
        return details

    def selection_id(self, selection: Selection) -> int:
        """Number the combinations of arms."""
        number = 0
        for axis, arm in zip(self.axes, selection.arms, strict=True):
            number = number * len(axis.candidates) + arm
        return number

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types."""
        return {
            "kind": "bandits",
            "axes": [[axis.name, list(axis.candidates)] for axis in self.axes],
            "bandits": [[kind_of(bandit) for bandit in slot] for slot in self._slots],
            "episode_length": self.capacity,
            "reward": self.reward.fingerprint(),
            "context": None if self.context is None else [self.context.window, self.context.epsilon],
            "non_finite": self.non_finite,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return bandits, reward and history in plain types."""
        return {
            "bandits": [[bandit.state_dict() for bandit in slot] for slot in self._slots],
            "reward": self.reward.state_dict(),
            "history": list(self._history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.state(state, ("bandits", "reward", "history"), "state of the controller")
        saved = [len(slot) for slot in state["bandits"]]
        if saved != [len(slot) for slot in self._slots]:
            checks.refuse("bandits", "must be as many as here", saved, "load it into the same axes")
        history = checks.state_list("history", state["history"], len(state["history"]))
        for slot, plains in zip(self._slots, state["bandits"], strict=True):
            for bandit, plain in zip(slot, plains, strict=True):
                bandit.load_state_dict(plain)
        self.reward.load_state_dict(state["reward"])
        self._history = history

    def _bandit(self, position: int, parent: int) -> Bandit | None:
        slot = self._slots[position]
        if not slot:
            return None
        return slot[parent] if len(slot) > 1 else slot[0]

    def _judge(self, losses: list[float]) -> RewardDetails | None:
        usable = [loss for loss in losses if math.isfinite(loss)]
        if len(usable) < len(losses):
            if self.non_finite == "raise":
                bad = next(loss for loss in losses if not math.isfinite(loss))
                checks.finite("loss", bad)
            if self.non_finite == "worst":
                worst = self.reward.worst
                edge = (usable[0], usable[-1]) if usable else (math.nan, math.nan)
                return RewardDetails(worst, worst, 0.0, 0.0, worst, *edge)
        return self.reward(usable) if usable else None
