"""What a warm start needs, asked before anything is trained; and a warm start by name, as YAML writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hypernudge.errors import refuse, require, require_real
from hypernudge.registry import instance
from hypernudge.space import Real, SearchSpace

if TYPE_CHECKING:
    from hypernudge.task import GradientTask, Task
    from hypernudge.warmstart.base import WarmStart


ESTIMATORS = ("auto", "exact", "finite_differences")
"""How a hyper-gradient is taken; `"auto"`: by finite differences where there is nothing to differentiate."""
_TRAINS = ("start", "advance", "evaluate", "unit_flops")


@runtime_checkable
class Demanding(Protocol):
    """What a warm start offers besides if it cannot work with every space or every task."""

    def check(self, space: SearchSpace, task: Task) -> None:
        """Raise `InvalidArgumentError` if no configuration of `space` could be nudged for `task`."""
        ...


def check_warm_start(policy: WarmStart, space: SearchSpace, task: Task) -> None:
    """Refuse a policy that would fail at every trial; one that does not say what it needs is accepted.

    Args:
        policy: The warm start.
        space: What is tuned.
        task: What is trained, or what tells a measurement its loss.

    Raises:
        InvalidArgumentError: With what is missing and the remedy, in one line.
    """
    if isinstance(policy, Demanding):
        policy.check(space, task)


def warm_start_of(value: Any) -> WarmStart:
    """Return the warm start that an argument means: itself, or what a name or a mapping stands for.

    Raises:
        InvalidArgumentError: For a class, an unknown name, or something that cannot be called with a task, a
            configuration, a history and streams.
    """
    found: WarmStart = instance("warm_start", value, calls=4)
    return found


def needs_rate(space: SearchSpace, policy: str, rate: str = "lr", instead: str = "") -> None:
    """Refuse a space without a continuous learning rate.

    Args:
        space: What is tuned.
        policy: Who needs it.
        rate: Its name.
        instead: A further remedy.

    Raises:
        InvalidArgumentError: If it is not there or not continuous, has negative values, or is there in some
            configurations only.
    """
    lr = next((parameter for parameter in space if parameter.name == rate), None)
    # Every start asks: the words are made only where something is wrong.
    if not isinstance(lr, Real):
        remedy = (
            f"name it {rate!r}, pass names={{'learning_rate': 'lr'}} where a tool's space has another name"
        )
        rule = f"{policy} needs a bounded, continuous {rate!r}"
        refuse("space", rule, space.names, remedy + instead)
    if lr.low < 0:
        rule = f"{policy} needs a rate that is not negative"
        refuse(f"space.{rate}", rule, lr, "raise low to 0 or more")
    if lr.only_if is not None:
        rule = f"{policy} needs a rate in every configuration"
        refuse(f"space.{rate}", rule, lr, "leave out only_if, or use another warm start")


def needs_gradient(task: Task, policy: str) -> GradientTask:
    """Return `task` if its loss can be differentiated.

    Raises:
        InvalidArgumentError: For a black-box task.
    """
    from hypernudge.task import GradientTask

    ok = isinstance(task, GradientTask)
    remedy = "write one, or use 'none', 'fixed_band', 'density' or 'informed'"
    require(ok, "warm_start", f"{policy} needs a GradientTask", type(task).__name__, remedy)
    assert isinstance(task, GradientTask)  # for the type checker
    return task


def differentiable(task: Task) -> bool:
    """Whether a task states a loss that can be differentiated."""
    from hypernudge.task import GradientTask

    return isinstance(task, GradientTask)


def needs_measurable(task: Task, policy: str, estimator: str = "auto") -> None:
    """Refuse a task of which no hyper-gradient can be taken, not even by finite differences.

    Raises:
        InvalidArgumentError: For something that neither states a loss nor can be trained; with the estimator
            `"exact"` for any black-box task.
    """
    if estimator == "exact" or not all(hasattr(task, name) for name in _TRAINS):
        needs_gradient(task, policy)


def needs_continuous(space: SearchSpace, policy: str, only: tuple[str, ...] | None = None) -> None:
    """Refuse a space without anything that could be moved, or without what `only` names.

    Raises:
        InvalidArgumentError: If `only` names something that is not continuous or not in the space.
    """
    names = [p.name for p in space.continuous]
    remedy = "give one bounds instead of choices, or use 'none'"
    require(bool(names), "space", f"{policy} needs a continuous hyper-parameter", space.names, remedy)
    unknown = [name for name in only or () if name not in names]
    require(not unknown, "only", f"must name continuous hyper-parameters {names}", unknown, "drop them")


def require_band(low: object, high: object) -> None:
    """Refuse ends of a band that are not two finite numbers in ascending order.

    Raises:
        InvalidArgumentError: Naming `low` or `high`.
    """
    require_real("low", low)
    require_real("high", high)
    require(low < high, "low", f"must be below high={high}", low, "swap them")  # type: ignore[operator]
