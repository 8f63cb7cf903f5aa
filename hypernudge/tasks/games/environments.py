"""Environments of a game, many at a time: those that train, and those that a policy is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, MissingExtraError, one_line, require, unknown_name
from hypernudge.tasks.games.catalogue import GAMES, Game
from hypernudge.tasks.games.packages import ale, gymnasium, stable_baselines

MOST_ACTIONS = 256  # one byte each where a trial's actions are kept


def game_of(name: object) -> Game:
    """Return a game by name: of the catalogue, a ROM of ale-py, or an environment of Gymnasium.

    Raises:
        InvalidArgumentError: For a name that nobody knows, with the nearest ones.
        MissingExtraError: The packages that know it are not installed.
    """
    if isinstance(name, str) and name in GAMES:
        return GAMES[name]
    registry = gymnasium().registry
    if isinstance(name, str) and name in registry:
        return Game(name, atari=False)
    roms = _roms()
    if isinstance(name, str) and name in roms:
        return Game(name)
    if isinstance(name, str) and ("-v" in name or ":" in name):
        raise unknown_name("game", name, [*GAMES, *registry], "must be an environment of Gymnasium")
    raise unknown_name("game", name, {*GAMES, *roms}, "must be a game, or an environment of Gymnasium")


@lru_cache(maxsize=1)
def _roms() -> tuple[str, ...]:
    from importlib import import_module

    ale()
    return tuple(import_module("ale_py.roms").get_all_rom_ids())


@dataclass(frozen=True)
class Environments:
    """How environments of a game are made.

    Args:
        game: Which.
        sticky: Probability that an Atari game repeats the action before, whatever is chosen.
        threads: That step Atari games; results are the same for any number.
        frames: Of a scored Atari game at most.
    """

    game: Game
    sticky: float = 0.0
    threads: int = 1
    frames: int = 18_000

    def training(self, count: int) -> Any:
        """Return environments to train in: rewards are signs and a lost life is an end, where it is Atari."""
        if self.game.atari:
            return self._atari(count, reward_clipping=True, life_loss_info=True)
        return self._classic(count)

    def scoring(self, count: int) -> Any:
        """Return environments to be scored in: whole games with their own rewards."""
        if self.game.atari:
            return self._atari(count, max_num_frames_per_episode=self.frames, reward_clipping=False)
        return self._classic(count)

    def spaces(self) -> tuple[Any, Any]:
        """Return what is observed and which actions there are; one game has then been begun.

        Raises:
            InvalidArgumentError: If that fails: another package or a display is missing, say.
        """
        try:
            games = self.training(1)
            games.reset()
            games.close()
        except MissingExtraError:
            raise
        except Exception as error:  # whatever the makers of an environment raise
            reason = one_line(error) or type(error).__name__
            raise InvalidArgumentError(
                f"game: {self.game.identifier!r} must be an environment that can be begun, but raises "
                f"{type(error).__name__}: {reason}; install what it needs, or take another"
            ) from None
        return games.observation_space, games.action_space

    def _classic(self, count: int) -> Any:
        stable_baselines()
        from stable_baselines3.common.vec_env import DummyVecEnv

        return DummyVecEnv([self._one] * count)

    def _one(self) -> Any:
        return gymnasium().make(self.game.identifier, disable_env_checker=True)

    def _atari(self, count: int, **options: Any) -> Any:
        ale()
        stable_baselines()
        from hypernudge.tasks.games.atari import AtariEnvironments

        return AtariEnvironments(
            self.game.identifier, count, self.threads, repeat_action_probability=self.sticky, **options
        )


def check_spaces(name: str, observations: Any, actions: Any) -> None:
    """Refuse an environment that PPO's two networks cannot play.

    Raises:
        InvalidArgumentError: Its actions are not finitely many, or its observations no array.
    """
    spaces = gymnasium().spaces
    rule = f"must have at most {MOST_ACTIONS} discrete actions"
    discrete = isinstance(actions, spaces.Discrete) and actions.n <= MOST_ACTIONS and actions.start == 0
    require(discrete, "game", rule, f"{name} with {actions}", "'cartpole', say")
    ok = isinstance(observations, spaces.Box)
    require(ok, "game", "must have arrays as observations", f"{name} with {observations}", "'cartpole', say")


def is_picture(observations: Any) -> bool:
    """Whether observations are pictures, channels first, which a convolutional network reads."""
    return len(observations.shape) == 3 and observations.dtype == np.uint8
