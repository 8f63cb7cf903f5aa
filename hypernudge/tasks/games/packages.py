"""The packages of the extra `rl`, imported when they are needed."""

from __future__ import annotations

from typing import Any

from hypernudge.errors import package

EXTRA, PURPOSE = "rl", "the task 'ppo'"


def gymnasium() -> Any:
    """Import Gymnasium.

    Raises:
        MissingExtraError: It is not installed.
    """
    return package("gymnasium", EXTRA, PURPOSE)


def stable_baselines() -> Any:
    """Import stable-baselines3.

    Raises:
        MissingExtraError: It, or what it needs, is not installed.
    """
    gymnasium()
    return package("stable_baselines3", EXTRA, PURPOSE)


def ale() -> Any:
    """Import the Arcade Learning Environment.

    Raises:
        MissingExtraError: It is not installed.
    """
    gymnasium()
    return package("ale_py", EXTRA, "an Atari game")
