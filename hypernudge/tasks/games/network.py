"""The two networks of PPO, actor and critic, as one function of their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hypernudge.random import integer
from hypernudge.tasks.games.environments import is_picture
from hypernudge.tasks.games.packages import stable_baselines
from hypernudge.tasks.module.seeded import seeded


class ActorCritic(nn.Module):
    """Reads stable-baselines3's policy: from observations to the logits of actions and the value.

    The policy holds its feature extractor under three names, and `torch.func.functional_call` would leave the
    parameters that it is given behind under the last of them. So each part is here once.

    Args:
        policy: The policy, whose parameters are shared and keep their names.
    """

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.features_extractor, self.mlp_extractor = policy.features_extractor, policy.mlp_extractor
        self.action_net, self.value_net = policy.action_net, policy.value_net
        self._scale = 255.0 if is_picture(policy.observation_space) else 1.0

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(n, actions)` and values `(n,)` of observations `(n, ...)`."""
        dtype = self.value_net.weight.dtype
        features = self.features_extractor(observations.to(dtype) / self._scale)
        actor, critic = self.mlp_extractor(features)
        return self.action_net(actor), self.value_net(critic).squeeze(-1)

    def __call__(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`."""
        found: tuple[Tensor, Tensor] = super().__call__(observations)
        return found


def policy_class(observations: Any) -> Any:
    """Return stable-baselines3's class: NatureCNN (Mnih et al. 2015) for pictures, else small networks."""
    stable_baselines()
    from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy

    return ActorCriticCnnPolicy if is_picture(observations) else ActorCriticPolicy


def initial_policy(observations: Any, actions: Any, seed: int) -> Any:
    """Return the policy that a trial of `seed` begins with, on the CPU."""
    with seeded(integer(seed, "initialisation")):
        return policy_class(observations)(observations, actions, lambda _: 0.0)


def parameters_of(policy: Any) -> dict[str, Tensor]:
    """Return a policy's parameters by name, without copies; what two names share is there once."""
    return {name: value.detach() for name, value in policy.named_parameters()}


def put(policy: Any, params: dict[str, Tensor]) -> None:
    """Write parameters into a policy."""
    with torch.no_grad():
        for name, value in policy.named_parameters():
            value.copy_(params[name])
