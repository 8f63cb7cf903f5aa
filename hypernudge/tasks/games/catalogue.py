"""Games by name: what each is called where, and what its returns are. Plans read it: nothing is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METRIC = "mean return"


@dataclass(frozen=True)
class Game:
    """A game that is known by name.

    Attributes:
        identifier: Of its ROM (Atari), or of the environment in Gymnasium's registry.
        atari: Whether it is an Atari game, seen as pictures.
        low: Least return of an episode.
        high: Largest return of an episode.
        deviation: Standard deviation of the returns of single episodes under one half-trained policy, as
            `benchmarks.games` measured it; None where nobody has.
    """

    identifier: str
    atari: bool = True
    low: float = -math.inf
    high: float = math.inf
    deviation: float | None = None


GAMES: dict[str, Game] = {
    "cartpole": Game("CartPole-v1", False, 0.0, 500.0, 90.0),
    "acrobot": Game("Acrobot-v1", False, -500.0, 0.0, 20.0),
    "mountain_car": Game("MountainCar-v0", False, -200.0, 0.0),
    "pong": Game("pong", low=-21.0, high=21.0),
    "breakout": Game("breakout", low=0.0, high=864.0),
    "freeway": Game("freeway", low=0.0, high=34.0),
    "boxing": Game("boxing", low=-100.0, high=100.0),
    "beam_rider": Game("beam_rider", low=0.0),
    "enduro": Game("enduro", low=0.0),
}
"""Games with a file in `config/task`. Every other ROM of ale-py, and every environment of Gymnasium with
pictures or numbers as observations and a finite number of actions, can be named, too."""


def metric_of(task: Mapping[str, Any]) -> tuple[str, list[float | None]]:
    """Return name and range of the score of a task as a configuration describes it; None for an open end."""
    name = task.get("game")
    game = GAMES.get(name) if isinstance(name, str) else None
    ends = (game.low, game.high) if game else (-math.inf, math.inf)
    return METRIC, [end if math.isfinite(end) else None for end in ends]
