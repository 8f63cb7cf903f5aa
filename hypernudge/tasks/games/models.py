"""The networks of PPO as `hypernudge.tasks.networks.build_network` asks for them: by shape and actions."""

from __future__ import annotations

import numpy as np
from torch import nn

from hypernudge.errors import require
from hypernudge.tasks.games.network import ActorCritic, policy_class
from hypernudge.tasks.games.packages import gymnasium

Shape = tuple[int, ...]


def ppo_cnn(shape: Shape, classes: int) -> nn.Module:
    """Return NatureCNN (Mnih et al. 2015) with a head for the actions and one for the value.

    It takes pictures as they are, `(n, channels, height, width)` from 0 to 255, and returns logits
    `(n, classes)` and values `(n,)`.

    Args:
        shape: Of a picture, channels first, at least 36 pixels each way: `(4, 84, 84)` for Atari.
        classes: Actions.

    Raises:
        InvalidArgumentError: For another shape.
        MissingExtraError: The extra `rl` is not installed.
    """
    ok = len(shape) == 3 and min(shape[1:]) >= 36
    require(ok, "shape", "must be (channels, height, width) of 36 pixels or more", shape, "'ppo_mlp'")
    return _network(shape, classes, pictures=True)


def ppo_mlp(shape: Shape, classes: int) -> nn.Module:
    """Return two networks of two layers of 64, for the actions and for the value.

    Args:
        shape: Of an observation.
        classes: Actions.

    Raises:
        MissingExtraError: The extra `rl` is not installed.
    """
    return _network(shape, classes, pictures=False)


def _network(shape: Shape, classes: int, pictures: bool) -> nn.Module:
    spaces = gymnasium().spaces
    ends = (0, 255, np.uint8) if pictures else (-np.inf, np.inf, np.float32)
    observations = spaces.Box(ends[0], ends[1], shape, ends[2])
    policy = policy_class(observations)(observations, spaces.Discrete(classes), lambda _: 0.0)
    return ActorCritic(policy)
