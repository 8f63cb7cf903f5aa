"""Atari games side by side, by ale-py's vector environment (C++), as stable-baselines3 wants environments.

Preprocessing is that of Mnih et al. (Nature 2015): every fourth frame, the larger of two, 84 x 84 grey, four
on a stack, up to 30 idle frames at the beginning. A life that is lost ends an episode for training, and the
game goes on (Mnih et al. 2015); the vector environment says so without starting anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv


class AtariEnvironments(VecEnv):
    """Some environments of one game, which nobody watches.

    Args:
        rom: The game.
        count: How many.
        threads: That step them.
        **options: Of `AtariVectorEnv`.
    """

    render_mode: str | None = None

    def __init__(self, rom: str, count: int, threads: int, **options: Any) -> None:
        self._games = AtariVectorEnv(
            rom, count, num_threads=threads, autoreset_mode=AutoresetMode.SAME_STEP, **options
        )
        self._actions: Any = None
        space, actions = self._games.single_observation_space, self._games.single_action_space
        super().__init__(count, space, actions)

    def reset(self) -> np.ndarray:
        """Begin anew, with seeds where `seed` gave some; return the observations."""
        given = self._seeds
        seeds = None if given[0] is None else np.array(given, dtype=np.int64)
        observations, _ = self._games.reset(seed=seeds)
        self._reset_seeds()
        return np.asarray(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions, `(count,)`."""
        self._actions = np.asarray(actions, dtype=np.int64)

    def step_wait(self) -> Any:
        """Return observations, rewards, ends and what else is known, as other vector environments."""
        observations, rewards, terminated, truncated, more = self._games.step(self._actions)
        ends = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(ends):
            cut = bool(truncated[index] and not terminated[index])
            infos[index] = {"TimeLimit.truncated": cut}
            if cut:
                infos[index]["terminal_observation"] = more["final_obs"][index].copy()
        return np.asarray(observations), rewards.astype(np.float32), ends, infos

    def close(self) -> None:
        """End the threads."""
        self._games.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, the same for all."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: environments have no attributes of their own."""
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **options: Any) -> list[Any]:
        """Refuse: environments have no methods of their own."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> Sequence[bool]:
        """Return no for each: what is done to frames is done in C++."""
        return [False for _ in self._get_indices(indices)]
