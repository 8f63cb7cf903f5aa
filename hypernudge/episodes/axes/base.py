"""What every axis answers to."""

from typing import Any, Literal, Protocol, get_args

from torch.optim import Optimizer

from hypernudge.episodes import checks

Token = Any
Phase = Literal["episode", "step", "gradients"]
"""When an axis acts: from the opening of an episode to its end, forward passes included; around
`optimizer.step`; or before the step, each time that its gradients have been computed."""


class Axis(Protocol):
    """One thing about a step that an episode may change, with the values it may take.

    An axis is *applied* before `optimizer.step` and *undone* after it, so that whoever looks between
    two steps (a scheduler, a checkpoint, a logger) sees the optimizer as the user configured it. In the phase
    `episode` it stays applied from the opening of the episode to its end instead.

    An axis may also have `neutral`, the value that changes nothing and is not applied, and `keys(optimizer)`,
    the entries of a parameter group that it changes: two axes on one entry are refused, or replace one
    another.

    Attributes:
        name: Name in logs and checkpoints.
        tag: Short prefix in the name of a selection.
        candidates: Values the axis may take.
        phase: When it acts.
    """

    name: str
    tag: str
    candidates: tuple[float, ...]
    phase: Phase

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer this axis cannot act on.

        Raises:
            ValueError: The optimizer lacks what the axis changes.
        """
        ...

    def apply(self, optimizer: Optimizer, value: float) -> Token | None:
        """Set `value`; return what `undo` needs, or None if nothing was changed."""
        ...

    def undo(self, optimizer: Optimizer, token: Token) -> None:
        """Take back what `apply` did; called once for each `token`, after the step or the episode."""
        ...


def check_axis(value: Any) -> Axis:
    """Return `value` if it is an axis.

    Raises:
        ValueError: It is not: a name, a class, a list of axes.
    """
    members = ("name", "tag", "candidates", "phase", "check", "apply", "undo")
    remedy = "pass axes one by one, for example LearningRate([0.5, 1, 2]), GradientNoise([0, 0.01])"
    if isinstance(value, str):
        checks.refuse("axes", "must be axes, not names", value, remedy)
    axis: Axis = checks.instance_with("axes", value, members, remedy)
    checks.choice(f"phase of axis {axis.name!r}", axis.phase, get_args(Phase))
    return axis
