"""Trials that are trained under episodic adaptation (AEES): what a warm start leaves, episodes may correct.

The trial's own learning rate is the centre; during training a bandit multiplies it, and may add gradient
noise, episode by episode (`hypernudge.episodes`). Hyper-gradients and their cost are those of the plain
task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hypernudge.episodes import EpisodicScheduler, GradientNoise, LearningRate
from hypernudge.errors import InvalidArgumentError, require
from hypernudge.optimizers import SGD, Params, setting
from hypernudge.random import integer
from hypernudge.space import Value
from hypernudge.task import TrainingState
from hypernudge.tasks.supervised.regularised import RegularisedTask


@dataclass(frozen=True)
class Episodes:
    """How a trial's training is adapted.

    Args:
        lr_candidates: Multipliers on the learning rate, above 0.
        noise_candidates: Standard deviations of gradient noise; no noise axis where 0 is the only one.
        episode_length: Optimizer steps per episode, at least 1.

    Raises:
        InvalidArgumentError: For a value that breaks a rule.
    """

    lr_candidates: Sequence[float] = (0.5, 1.0, 2.0)
    noise_candidates: Sequence[float] = (0.0,)
    episode_length: int = 20

    def __post_init__(self) -> None:
        try:
            self.attach(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), 0).detach()
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"episodes: {error}") from None

    def attach(self, optimizer: torch.optim.Optimizer, seed: int) -> EpisodicScheduler:
        """Return the controller of one trial, attached to its optimizer."""
        axes: list[Any] = [LearningRate(list(self.lr_candidates))]
        if tuple(self.noise_candidates) != (0.0,):
            axes.append(GradientNoise(list(self.noise_candidates)))
        return EpisodicScheduler(optimizer, *axes, seed=seed, episode_length=self.episode_length)


@dataclass
class EpisodicState(TrainingState):
    """A trial with its optimizer and controller, both made when its configuration is known."""

    torch_optimizer: torch.optim.Optimizer | None = None
    controller: EpisodicScheduler | None = None


class EpisodicTask(RegularisedTask):
    """A supervised task whose trials adapt while they train; engines train them one at a time.

    Args:
        *args: As `SupervisedTask`.
        episodes: How training is adapted.
        **options: As `SupervisedTask`.

    Raises:
        InvalidArgumentError: For an optimizer other than SGD with coupled weight decay.
    """

    one_at_a_time = True

    def __init__(self, *args: Any, episodes: Episodes, **options: Any) -> None:
        super().__init__(*args, **options)
        self.episodes = episodes
        plain = self.optimizer == SGD()
        require(plain, "episodes", "need the optimizer 'sgd', decay coupled", self.optimizer, "leave it out")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scores, the episodes included."""
        return {**super().settings, "episodes": self.episodes}

    def start(self, seed: int) -> EpisodicState:
        """Return the state of an untrained trial."""
        return EpisodicState(self.init(seed), {}, seed)

    def advance(self, state: TrainingState, hp: Mapping[str, Value]) -> bool:
        """Train in place for one unit, under the trial's controller; return False if it diverged."""
        assert isinstance(state, EpisodicState)  # `start` makes no other
        params = self.trained(state.params)
        if state.torch_optimizer is None or state.controller is None:
            state.torch_optimizer = _sgd(params, hp)
            state.controller = self.episodes.attach(state.torch_optimizer, integer(state.seed, "episodes"))
        total = torch.zeros(())
        for _ in range(self.steps_per_unit):
            loss = self.loss(state.params, self.batch(state.seed, state.step), hp)
            state.controller.observe(loss)
            state.torch_optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            state.torch_optimizer.step()
            total += loss.detach()
            state.step += 1
        return math.isfinite(total.item())


def _sgd(params: Params, hp: Mapping[str, Value]) -> torch.optim.Optimizer:
    leaves = [value.requires_grad_(True) for value in params.values()]
    lr, momentum, decay = (float(setting(hp, name)) for name in ("lr", "momentum", "weight_decay"))
    return torch.optim.SGD(leaves, lr=lr, momentum=momentum, weight_decay=decay)
