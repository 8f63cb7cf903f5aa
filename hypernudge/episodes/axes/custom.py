"""An axis of the user's own."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Phase
from hypernudge.episodes.records import value_text


class CustomAxis:
    """Anything that can be set and put back: a dropout rate, a loss weight, an augmentation strength.

    Args:
        name: Name in logs and checkpoints; also the prefix in a selection's name.
        candidates: The values, any finite floats, at least one.
        apply: Called as `apply(value)`; what it returns is handed to `undo`.
        undo: Called as `undo(token)` exactly once after each `apply`.
        whole_episode: Keep the value in force from the opening of an episode to its end, forward passes
            included, instead of only around `optimizer.step`.

    Raises:
        ValueError: `name` or `candidates` is empty, a candidate is not finite or stands there twice, or
            `apply` or `undo` is not callable.
    """

    def __init__(
        self,
        name: str,
        candidates: Sequence[float],
        apply: Callable[[float], Any],
        undo: Callable[[Any], None],
        *,
        whole_episode: bool = True,
    ) -> None:
        checks.label("name", name, "it labels the axis in logs and checkpoints")
        for argument, function in (("apply", apply), ("undo", undo)):
            checks.function(f"{argument} of axis {name!r}", function, "pass a function of one argument")
        self.name = name
        self.tag = name
        self.candidates = checks.candidates(
            f"candidates of axis {name!r}", candidates, lambda value: True, "finite"
        )
        checks.flag(f"whole_episode of axis {name!r}", whole_episode)
        self.phase: Phase = "episode" if whole_episode else "step"
        self._apply = apply
        self._undo = undo

    def check(self, optimizer: Optimizer) -> None:
        """Accept every optimizer."""
        del optimizer

    def apply(self, optimizer: Optimizer, value: float) -> tuple[Any] | None:
        """Call the user's `apply`."""
        del optimizer
        return (self._apply(value),)

    def undo(self, optimizer: Optimizer, token: tuple[Any]) -> None:
        """Call the user's `undo`."""
        del optimizer
        self._undo(token[0])

    def __repr__(self) -> str:
        """Return the name and the candidates."""
        values = ", ".join(value_text(value) for value in self.candidates)
        return f"CustomAxis({self.name!r}, [{values}])"
