"""Stored rollouts of a trial's initial policy: the data that a hyper-gradient is taken on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from hypernudge.random import integer, stream
from hypernudge.task import Batch
from hypernudge.tasks.games.training import Plan, Training
from hypernudge.tasks.module.seeded import seeded


def stored_rollout(plan: Plan, seed: int, number: int) -> Batch:
    """Return a rollout of the policy that a trial of `seed` begins with, in an order drawn for it.

    The first one, `number` 0, is that of the trial's first update; nothing in it depends on hyper-parameters.
    Tensors have the sample first, `count * length` of them, as `advantages_of` and `ppo_loss` read them.

    Args:
        plan: Of the task.
        seed: Of the trial.
        number: Another one has other games.
    """
    training = Training(plan, {}, seed, 1)
    if number:
        training.games.seed(integer(seed, "games", number, bits=30))
        training.model._last_obs = training.games.reset()
    rewards = _Rewards()
    rewards.init_callback(training.model)
    training.callback = rewards
    with seeded(integer(seed, "unit", 1) if number == 0 else integer(seed, "rollout", number)):
        training.collect()
    batch = _samples(training, rewards)
    training.games.close()
    order = torch.from_numpy(stream(seed, "rollout order", number).permutation(plan.count * plan.length))
    return {name: value[order] for name, value in batch.items()}


class _Rewards(BaseCallback):
    """Keeps rewards and ends as they were before the discounted value of a cut episode was added to them."""

    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[np.ndarray] = []
        self.ends: list[np.ndarray] = []
        self.cut: list[tuple[int, int, Any]] = []  # step, game, last observation

    def _on_step(self) -> bool:
        for game, info in enumerate(self.locals["infos"]):
            if info.get("TimeLimit.truncated", False) and "terminal_observation" in info:
                self.cut.append((len(self.rewards), game, info["terminal_observation"]))
        self.rewards.append(np.array(self.locals["rewards"], dtype=np.float32))
        self.ends.append(np.array(self.locals["dones"], dtype=bool))
        return True


def _samples(training: Training, kept: _Rewards) -> dict[str, Tensor]:
    """Return the samples of a rollout, games one after the other."""
    model, buffer = training.model, training.model.rollout_buffer
    rewards, ends = np.stack(kept.rewards), np.stack(kept.ends)  # (length, count)
    values = buffer.values
    with torch.no_grad():
        last = model.policy.predict_values(_tensor(model._last_obs, model.device)).cpu().numpy().T
        following = np.concatenate([values[1:], last]) * ~ends
        for step, game, observation in kept.cut:
            seen = _tensor(observation[None], model.device)
            following[step, game] = model.policy.predict_values(seen).item()
    observations = buffer.observations.swapaxes(0, 1)
    length = len(rewards)
    ahead = np.arange(length)[:, None] + np.arange(length)  # (step, ahead of it)
    inside = ahead < length
    ahead = np.minimum(ahead, length - 1)
    # Counted until an episode ends: its last step is, what comes after is not.
    alive = np.cumsum(ends, axis=0) - ends
    counts = inside[:, :, None] & (alive[ahead] == alive[:, None])

    def windows(of: np.ndarray) -> Tensor:
        return _flat(of[ahead].transpose(2, 0, 1).astype(np.float32))

    return {
        "observations": _flat(observations),
        "actions": _flat(buffer.actions.swapaxes(0, 1).astype(np.int64)).squeeze(-1),
        "log_probs": _flat(buffer.log_probs.swapaxes(0, 1)),
        "rewards": windows(rewards),
        "values": windows(values),
        "next_values": windows(following),
        "counts": _flat(counts.transpose(2, 0, 1).astype(np.float32)),
    }


def _flat(of: np.ndarray) -> Tensor:
    """Join games and steps, `(count, length, ...)`."""
    return torch.from_numpy(np.ascontiguousarray(of.reshape(-1, *of.shape[2:])))


def _tensor(observations: Any, device: torch.device) -> Tensor:
    return torch.as_tensor(observations, device=device)
