"""What every axis answers to."""

from typing import Any, Protocol

from torch.optim import Optimizer

Token = Any


class Axis(Protocol):
    """One thing about a step that an episode may change, with the values it may take.

    An axis is *applied* before ``optimizer.step`` and *undone* after it, so that whoever looks between
    two steps (a scheduler, a checkpoint, a logger) sees the optimizer as the user configured it. With
    ``whole_episode`` it stays applied from the opening of the episode to its end instead.

    An axis may also have ``neutral``, the value that changes nothing, and ``keys(optimizer)``, the entries
    of a parameter group that it changes: two axes on one entry are refused or replace one another.

    Attributes:
        name: Name in logs and checkpoints.
        tag: Short prefix in the name of a selection.
        candidates: Values the axis may take.
        whole_episode: Whether the value must hold during forward and backward passes too.
    """

    name: str
    tag: str
    candidates: tuple[float, ...]
    whole_episode: bool

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer this axis cannot act on.

        Raises:
            ValueError: The optimizer lacks what the axis changes.
        """
        ...

    def apply(self, optimizer: Optimizer, value: float) -> Token | None:
        """Put ``value`` in force; return what :meth:`undo` needs, or None if nothing was changed."""
        ...

    def undo(self, optimizer: Optimizer, token: Token) -> None:
        """Take back what :meth:`apply` did; called exactly once for each token."""
        ...
