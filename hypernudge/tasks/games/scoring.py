"""The score of a policy: the mean return of whole games that it plays, on seeds of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hypernudge.random import integer
from hypernudge.task import Split
from hypernudge.tasks.games.environments import Environments
from hypernudge.tasks.games.network import ActorCritic


class Scoring:
    """Plays games that no training has seen, always the same ones.

    Args:
        environments: How games are made.
        episodes: Games of a score, side by side, each with a seed of its own.
        device: Where the networks are.
        deterministic: Whether the most probable action is taken, or one drawn as in training.
    """

    def __init__(
        self, environments: Environments, episodes: int, device: torch.device, deterministic: bool = True
    ) -> None:
        self._environments, self.episodes, self._device = environments, episodes, device
        self._deterministic = deterministic
        self._games: Any = None

    def returns(self, policy: Any, split: Split, deterministic: bool | None = None) -> np.ndarray:
        """Return what each game of a split gave: the sum of its own rewards, `(episodes,)`.

        The games of the two splits have different seeds, which do not depend on the trial or the study, and
        so have the draws of actions.

        Args:
            policy: Of stable-baselines3, or one like it.
            split: Whose games.
            deterministic: In place of the one the scoring has.
        """
        greedy = self._deterministic if deterministic is None else deterministic
        network = ActorCritic(policy)
        if self._games is None:
            self._games = self._environments.scoring(self.episodes)
        games = self._games
        games.seed(integer(0, "scored games", split, bits=30))
        draws = np.random.default_rng(integer(0, "scored games", split, "actions"))
        seen = games.reset()
        found, playing = np.zeros(self.episodes), np.ones(self.episodes, dtype=bool)
        while playing.any():
            actions = np.zeros(self.episodes, dtype=np.int64)
            with torch.no_grad():
                logits, _ = network(torch.as_tensor(seen[playing], device=self._device))
            if not greedy:
                noise = draws.gumbel(size=(self.episodes, logits.shape[-1]))  # the largest sum is a draw
                logits = logits.cpu() + torch.as_tensor(noise[playing])
            actions[playing] = logits.argmax(-1).cpu().numpy()
            seen, rewards, ends, _ = games.step(actions)
            found += np.where(playing, rewards, 0.0)
            playing &= ~ends
        return found

    def close(self) -> None:
        """End the games."""
        if self._games is not None:
            self._games.close()
            self._games = None
