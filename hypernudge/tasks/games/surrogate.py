"""PPO's loss on a stored rollout, as a function of parameters and hyper-parameters (Schulman et al. 2017).

It is stable-baselines3's, term by term: clipped surrogate, entropy, squared error of the value, advantages
standardised by the mini-batch. Here the advantages are computed inside, from stored rewards and values:

    A_t = sum over l of (gamma lambda)^l (r_{t+l} + gamma V(s_{t+l+1}) - V(s_{t+l}))

is a polynomial in discount and lambda (Schulman et al. 2016), so both have exact derivatives, as the
coefficients and the clip range do that stand in the loss itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hypernudge.optimizers import setting
from hypernudge.task import Batch
from hypernudge.tasks.games.values import PUBLISHED

EPSILON = 1e-8  # added to the deviation of advantages, as in stable-baselines3


def advantages_of(batch: Batch, gamma: Any, gae_lambda: Any) -> Tensor:
    """Return the advantage of each sample, `(n,)`.

    Args:
        batch: `rewards`, `values`, `next_values` and `counts`, each `(n, horizon)`: of the sample's own step
            and those that follow it, `counts` zero from the end of its episode or of the rollout on.
        gamma: Discount.
        gae_lambda: Of generalised advantage estimation.
    """
    rewards = batch["rewards"]
    decay = torch.as_tensor(gamma * gae_lambda, dtype=rewards.dtype, device=rewards.device)
    steps = torch.arange(rewards.shape[-1], dtype=rewards.dtype, device=rewards.device)
    errors = rewards + gamma * batch["next_values"] - batch["values"]
    summed: Tensor = (decay**steps * batch["counts"] * errors).sum(-1)
    return summed


def ppo_loss(logits: Tensor, values: Tensor, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
    """Return the loss of a mini-batch, a scalar.

    Args:
        logits: Of the actions, `(n, actions)`.
        values: Of the critic, `(n,)`.
        batch: As in `advantages_of`, with `actions` and `log_probs`, `(n,)`.
        hp: `ent_coef`, `vf_coef`, `clip_range`, `gamma` and `gae_lambda`; those published where absent.
    """
    read = {name: setting(hp, name, default) for name, default in PUBLISHED.items()}
    advantages = advantages_of(batch, read["gamma"], read["gae_lambda"])
    returns = advantages + batch["values"][..., 0]
    advantages = (advantages - advantages.mean()) / (advantages.std() + EPSILON)
    log_probs = torch.log_softmax(logits, -1)
    chosen = log_probs.gather(-1, batch["actions"].unsqueeze(-1)).squeeze(-1)
    ratio = torch.exp(chosen - batch["log_probs"])
    clip = torch.as_tensor(read["clip_range"], dtype=ratio.dtype, device=ratio.device)
    clipped = torch.minimum(torch.maximum(ratio, 1 - clip), 1 + clip)
    surrogate = -torch.minimum(advantages * ratio, advantages * clipped).mean()
    entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
    error = ((returns - values) ** 2).mean()
    loss: Tensor = surrogate - read["ent_coef"] * entropy + read["vf_coef"] * error
    return loss
