"""One trial of PPO, trained unit by unit by stable-baselines3, and put back where it was.

What a trial draws (initialisation, actions, order of mini-batches) is addressed by its seed and the unit. The
games themselves cannot be written down: C++ holds the state of a vector of Atari games, and does not give it
out. But they are a function of their seed and the actions since: these are kept, one byte each, and played
again when a trial comes back from disk, without a network, some ten times as fast as training. So any
environment goes on to the bit that is a function of seed and actions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor

from hypernudge.random import integer
from hypernudge.tasks.games.environments import Environments
from hypernudge.tasks.games.network import parameters_of, policy_class, put
from hypernudge.tasks.games.values import PUBLISHED
from hypernudge.tasks.module.schedules import Schedule
from hypernudge.tasks.module.seeded import seeded


@dataclass(frozen=True)
class Plan:
    """What all trials of a task have in common.

    Attributes:
        environments: How games are made.
        count: Games side by side.
        length: Steps of each before an update.
        rollouts: Updates of a unit.
        schedule: Of the learning rate, by updates.
        device: Where the networks are.
    """

    environments: Environments
    count: int
    length: int
    rollouts: int
    schedule: Schedule
    device: torch.device


class Training:
    """A trial.

    Args:
        plan: What it has in common with others.
        hp: Its values; those published where absent.
        seed: Of everything random in it.
        units: Of the longest training, for the schedule.
    """

    def __init__(self, plan: Plan, hp: Mapping[str, Any], seed: int, units: int) -> None:
        self._plan, self._seed, self._units = plan, seed, units
        self._hp = {**PUBLISHED, **hp}
        self.unit = 0
        self._actions = bytearray()  # of all games, step by step
        self.games = plan.environments.training(plan.count)
        self.games.seed(integer(seed, "games", bits=30))
        minibatch = plan.count * plan.length // int(self._hp["minibatches"])
        with seeded(integer(seed, "initialisation")):
            self.model = PPO(
                policy_class(self.games.observation_space),
                self.games,
                learning_rate=float(self._hp["lr"]),
                n_steps=plan.length,
                batch_size=minibatch,
                n_epochs=int(self._hp["epochs"]),
                gamma=float(self._hp["gamma"]),
                gae_lambda=float(self._hp["gae_lambda"]),
                clip_range=float(self._hp["clip_range"]),
                ent_coef=float(self._hp["ent_coef"]),
                vf_coef=float(self._hp["vf_coef"]),
                max_grad_norm=float(self._hp["max_grad_norm"]),
                device=plan.device,
            )
        self.model.set_logger(Logger(None, []))
        steps = units * plan.rollouts * plan.count * plan.length
        _, self.callback = self.model._setup_learn(steps, _Recorder(self._actions))

    def advance(self) -> bool:
        """Train for one unit; return False if a parameter is not finite."""
        try:
            with seeded(integer(self._seed, "unit", self.unit + 1)):
                for index in range(self._plan.rollouts):
                    self._rate(self.unit * self._plan.rollouts + index)
                    self.collect()
                    self.model.train()
        except ValueError:  # of PyTorch's distributions, where a network says NaN
            if self._finite():
                raise
        self.unit += 1
        self.model.rollout_buffer.reset()  # its pages go back: nothing of it is read again
        return self._finite()

    def collect(self) -> None:
        """Play one rollout into the model's buffer."""
        model = self.model
        model.collect_rollouts(self.games, self.callback, model.rollout_buffer, self._plan.length)
        self.callback.locals = {}  # they hold the callback and the model: a cycle, 50 MB of Atari at a time

    def _rate(self, update: int) -> None:
        factor = self._plan.schedule.factor(update, self._units * self._plan.rollouts, self._hp)
        rate = float(self._hp["lr"]) * factor
        self.model.lr_schedule = lambda _: rate

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(value).all()) for value in parameters_of(self.model.policy).values())

    def state(self) -> dict[str, Any]:
        """Return what a file holds: tensors and plain values."""
        played = np.frombuffer(bytes(self._actions), np.uint8).reshape(-1, self._plan.count)
        return {
            "unit": self.unit,
            "model": self.scored_weights(),
            "optimizer": self.model.policy.optimizer.state_dict(),
            "actions": torch.tensor(played),
            "seen": _digest(self.model._last_obs),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state` as it was given, at the beginning of a training.

        Raises:
            ValueError: If the games, played again, are not what they were.
        """
        ends = np.ones(self._plan.count, dtype=bool)
        seen = self.model._last_obs
        played = state["actions"].numpy()
        for actions in played:
            seen, _, ends, _ = self.games.step(actions.astype(np.int64))
        if _digest(seen) != state["seen"]:
            self.games.seed(integer(self._seed, "games", bits=30))
            self.model._last_obs = self.games.reset()
            raise ValueError("the game did not repeat itself from its seed and the same actions")
        self.model._last_obs, self.model._last_episode_starts = seen, ends
        self._actions[:] = played.tobytes()
        put(self.model.policy, state["model"])
        self.model.policy.optimizer.load_state_dict(state["optimizer"])
        self.unit = int(state["unit"])
        self.model.num_timesteps = len(played) * self._plan.count

    def scored_weights(self) -> dict[str, Tensor]:
        """Return copies of the parameters, on the CPU."""
        return {name: value.cpu().clone() for name, value in parameters_of(self.model.policy).items()}


class _Recorder(BaseCallback):
    """Keeps the actions of every step."""

    def __init__(self, actions: bytearray) -> None:
        super().__init__()
        self._actions = actions

    def _on_step(self) -> bool:
        self._actions += self.locals["actions"].astype(np.uint8).tobytes()
        return True


def _digest(observations: Any) -> str:
    return hashlib.blake2b(np.ascontiguousarray(observations).tobytes(), digest_size=16).hexdigest()
