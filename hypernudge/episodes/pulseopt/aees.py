"""AEES: the wrapper-style front, and the published behaviour bit for bit."""

import functools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.axes.learning_rate import LearningRate
from hypernudge.episodes.axes.noise import GradientNoise, NoiseSource
from hypernudge.episodes.context import TrendContext
from hypernudge.episodes.controllers.bandit_controller import BanditController
from hypernudge.episodes.controllers.build import DEFAULT_EXPLORATION, bandit_controller
from hypernudge.episodes.noise.noise import StreamedNoise
from hypernudge.episodes.pulseopt.bandits import family_bandit, published_slots
from hypernudge.episodes.pulseopt.logs import episode_logs
from hypernudge.episodes.pulseopt.noise import KeyedNoise
from hypernudge.episodes.ranks import active_group, shared_seed
from hypernudge.episodes.records import CandidateConfig, Selection
from hypernudge.episodes.rewards.ema_log import EmaLogReward
from hypernudge.episodes.rewards.standardised import StandardisedReward
from hypernudge.episodes.scheduler import EpisodicScheduler


class AEES:
    """Adaptive episodic exploration scheduling around an optimizer.

    Use:

        aees = AEES(optimizer, lr_candidates=[0.5, 1.0, 2.0], episode_length=100, seed=0)
        for step, (inputs, targets) in enumerate(loader):
            aees.step_start(step)
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            aees.step_end(loss)             # steps the optimizer
        aees.finalize()

    By default the decisions, rewards, noise and logs are those of the PyPI package `pulseopt` 0.3.0,
    bit for bit; `EpisodicScheduler` is the front without that obligation. What the package gets
    wrong when something fails is not reproduced: here a step that raises leaves the base learning
    rate, counts for nothing, and the next `step_start` works.

    Args:
        optimizer: Any torch optimizer, stepped without a closure.
        lr_candidates: Multipliers on the learning rate, above 0.
        noise_candidates: Standard deviations of gradient noise, 0 or above.
        episode_length: Optimizer steps per episode, at least 1.
        lr_scheduler: Object with `step()`, called once per optimizer step after the rate is restored;
            `ReduceLROnPlateau` is given the loss.
        control_mode: `adaptive` or `random`.
        structured_control_mode: `independent`, or `conditional`: one noise bandit per rate arm.
        context_mode: `none` or `trend`.
        context_trend_window: Closed episodes the trend looks at, at least 1.
        context_trend_epsilon: Flat up to this slope of the loss per episode, 0 or above.
        reward_instability_lambda: Weight of the relative variance of the losses, 0 or above.
        reward_epsilon: Guard of the logarithms, above 0.
        reward_clip_min: Smallest reward.
        reward_clip_max: Largest reward, at least `reward_clip_min`.
        ema_alpha: Smoothing of the losses within an episode, in (0, 1].
        seed: Seed; None seeds bandits from the operating system.
        compat: `pulseopt`, or None for the same front over independent noise streams and the default
            bandits and rewards of `EpisodicScheduler`.
        non_finite: What a non-finite loss does: `raise` (before anything changes), `ignore` or `worst`.
        update_norm: Fill `mean_update_norms` in the logs; costs a copy of the model and a device read per
            step. Off, the entries are None.
        deferred_reads: Keep losses on their device until the episode closes; None does so for losses on an
            accelerator, whose `raise` then comes when the episode closes.

    Raises:
        TypeError: `optimizer` holds no torch optimizer.
        ValueError: An argument is out of range; the message names it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        lr_candidates: Sequence[float] = (1.0,),
        noise_candidates: Sequence[float] = (0.0,),
        episode_length: int = 100,
        lr_scheduler: Any | None = None,
        control_mode: str = "adaptive",
        structured_control_mode: str = "independent",
        context_mode: str = "none",
        context_trend_window: int = 3,
        context_trend_epsilon: float = 1e-3,
        reward_instability_lambda: float = 0.0,
        reward_epsilon: float = 1e-8,
        reward_clip_min: float = -1.0,
        reward_clip_max: float = 1.0,
        ema_alpha: float = 0.1,
        seed: int | None = None,
        compat: str | None = "pulseopt",
        non_finite: str = "raise",
        update_norm: bool = False,
        deferred_reads: bool | None = None,
    ) -> None:
        if compat not in ("pulseopt", None):
            checks.refuse("compat", "must be 'pulseopt' or None", compat, "leave it out")
        checks.choice("control_mode", control_mode, ("adaptive", "random"))
        checks.choice("context_mode", context_mode, ("none", "trend"))
        checks.choice("structured_control_mode", structured_control_mode, ("independent", "conditional"))
        axes: list[Axis] = [LearningRate(lr_candidates), GradientNoise(noise_candidates)]
        checks.at_least("episode_length", episode_length, 1)
        checks.not_negative("reward_instability_lambda", reward_instability_lambda)
        checks.positive("reward_epsilon", reward_epsilon)
        checks.ordered("reward_clip_min", reward_clip_min, "reward_clip_max", reward_clip_max)
        checks.at_least("context_trend_window", context_trend_window, 1)
        checks.not_negative("context_trend_epsilon", context_trend_epsilon)
        checks.in_unit_interval("ema_alpha", ema_alpha)
        seed = checks.seed(seed)
        if lr_scheduler is not None:
            checks.instance_with("lr_scheduler", lr_scheduler, ("step",), "pass an object with step()")
        context: TrendContext | None = None
        if context_mode == "trend":
            context = TrendContext(context_trend_window, context_trend_epsilon)
        self._reward = EmaLogReward(
            epsilon=reward_epsilon,
            instability_weight=reward_instability_lambda,
            clip_min=reward_clip_min,
            clip_max=reward_clip_max,
            smoothing=ema_alpha,
        )
        if seed is None and active_group(None) is not None:
            seed = shared_seed(None, None)
        family = "random" if control_mode == "random" else context_mode
        conditional = structured_control_mode == "conditional"
        if compat is None:
            agreed = shared_seed(seed, None)
            controller = bandit_controller(
                axes,
                seed=agreed,
                episode_length=episode_length,
                bandit=functools.partial(family_bandit, family, exploration=DEFAULT_EXPLORATION),
                reward=StandardisedReward(self._reward),
                context=context,
                conditional=conditional,
                non_finite=non_finite,
            )
            noise: NoiseSource = StreamedNoise(agreed)
        else:
            controller = BanditController(
                axes,
                published_slots(axes, family, conditional=conditional, seed=seed),
                reward=self._reward,
                episode_length=episode_length,
                context=context,
                non_finite=non_finite,
            )
            noise = KeyedNoise(seed)
        self._core = EpisodicScheduler(
            optimizer,
            controller=controller,
            seed=0 if seed is None else seed,
            deferred_reads=deferred_reads,
            update_norm=update_norm,
            noise_source=noise,
            attach=False,
        )
        self.optimizer = self._core.optimizer
        self.lr_scheduler = lr_scheduler
        self._context = context
        self._candidate: CandidateConfig | None = None
        self._named: Selection | None = None
        self._step_open = False

    @property
    def current_candidate(self) -> CandidateConfig | None:
        """What is in force between `step_start` and `step_end`, else None."""
        return self._candidate if self._step_open else None

    @property
    def episodes(self) -> EpisodicScheduler:
        """The scheduler underneath."""
        return self._core

    def step_start(self, step: int) -> CandidateConfig:
        """Begin a step, choosing for a new episode if none is open.

        Args:
            step: Number of the step, 0 or above; only the first of an episode is used, for the logs.

        Returns:
            What is in force; the same object during an episode.

        Raises:
            ValueError: `step` is negative.
            RuntimeError: The last step was not ended.
        """
        checks.at_least("step", step, 0)
        if self._step_open:
            raise RuntimeError(
                "step_start() called twice without step_end() in between; end the open step first"
            )
        selection = self._core.lifecycle.begin(step)
        if selection is not self._named or self._candidate is None:
            self._named = selection
            self._candidate = CandidateConfig(selection.name, *selection.values)
        self._step_open = True
        return self._candidate

    def step_end(self, loss: Tensor | float) -> None:
        """Step the optimizer and the learning-rate scheduler, and account for `loss`.

        Args:
            loss: The step's loss, computed before the update; scalar.

        Raises:
            RuntimeError: No step was begun.
            ValueError: `loss` is not finite (under `non_finite="raise"`), or the episode that ends with
                this step has no reward. Parameters are untouched and the step does not count; in the
                second case the episode is dropped. A loss on an accelerator is only examined when the
                episode closes, after the update.
        """
        if not self._step_open:
            raise RuntimeError("step_end() called without step_start(); call step_start(step) first")
        self._step_open = False
        try:
            self._core.observe(loss)
            self._check_reward()
        except BaseException:
            self._core.lifecycle.failed()
            raise
        with self._core.around_step():
            self.optimizer.step()
        if isinstance(self.lr_scheduler, ReduceLROnPlateau):
            self.lr_scheduler.step(loss.item() if isinstance(loss, Tensor) else float(loss))
        elif self.lr_scheduler is not None:
            self.lr_scheduler.step()

    def finalize(self) -> None:
        """Close the open episode early, if it has a step. Idempotent; training may go on.

        Raises:
            RuntimeError: A step is open.
            ValueError: The episode has no reward; it is dropped then.
        """
        if self._step_open:
            raise RuntimeError("finalize() called with an open step; call step_end(loss) first")
        self._core.finalize()

    def get_logs(self) -> dict[str, list[Any]]:
        """Return one list per quantity with an entry per closed episode; the lists are copies."""
        return episode_logs(self._core.records, context=self._context is not None)

    def state_dict(self) -> dict[str, Any]:
        """Return everything a bit-exact continuation needs; loads with `weights_only=True`.

        Raises:
            RuntimeError: A step is open.
        """
        if self._step_open:
            raise RuntimeError("state_dict() called with an open step; call step_end(loss) first")
        return self._core.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: The state was saved under other settings; nothing is changed then.
        """
        self._core.load_state_dict(state)
        self._step_open = False
        self._named = None

    def _check_reward(self) -> None:
        """Find out before the update whether the episode that this step completes can be judged."""
        losses = self._core.lifecycle.losses_if_complete()
        if losses is None:
            return
        usable = [loss for loss in losses if math.isfinite(loss)]
        if not usable:
            return
        try:
            self._reward(usable)
        except ValueError:
            self._core.abandon()
            raise
