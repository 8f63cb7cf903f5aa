"""Which schedulers act on an optimizer: one that comes later replaces those that change the same thing."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence

from torch.optim import Optimizer

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.lifecycle.hooks import hooks_of
from hypernudge.episodes.lifecycle.lifecycle import EpisodeLifecycle
from hypernudge.errors import InvalidArgumentError


def touched(axes: Sequence[Axis], optimizer: Optimizer) -> frozenset[str]:
    """Return what `axes` change: names of axes, and keys of the parameter groups.

    An axis whose only candidate is neutral changes nothing.

    Raises:
        ValueError: Two axes change the same.
    """
    found: dict[str, str] = {}
    for axis in axes:
        if tuple(axis.candidates) == (getattr(axis, "neutral", None),):
            continue
        keys = axis.keys(optimizer) if hasattr(axis, "keys") else set()
        for name in sorted({axis.name, *keys}):
            if name in found:
                raise InvalidArgumentError(
                    f"axes: must not change the same, but {found[name]!r} and {axis.name!r} both change "
                    f"{name!r}; drop one, or join their candidates in one axis"
                )
            found[name] = axis.name
    return frozenset(found)


def take_over(lifecycle: EpisodeLifecycle) -> None:
    """Detach every scheduler on the same optimizer that changes what `lifecycle` is about to change.

    Whoever attaches again (a notebook cell run twice) wants the later one: two would multiply the rate twice.
    Lifecycles are counted, not schedulers: hooks go on when nobody holds the scheduler any more.

    Raises:
        ValueError: Two of its own axes change the same.
    """
    touches = touched(lifecycle.controller.axes, lifecycle.optimizer)
    tenants: list[weakref.ref[EpisodeLifecycle]] = hooks_of(lifecycle.optimizer).tenants
    alive = [other for reference in tenants if (other := reference()) is not None and not other.detached]
    replaced = [other for other in alive if other.touches & touches]
    if replaced:
        shared = sorted(touches & frozenset[str]().union(*(other.touches for other in replaced)))
        # Before anything is done: where warnings are errors, the earlier one stays.
        warnings.warn(
            f"an earlier scheduler of episodes changes {', '.join(shared)} of this "
            f"{type(lifecycle.optimizer).__name__}: it is detached and this one takes its place; call "
            "detach() on the earlier one first to say that it is meant.",
            stacklevel=3,
        )
    for other in reversed(replaced):
        other.detach()
    lifecycle.touches = touches
    tenants[:] = [*(weakref.ref(other) for other in alive if not other.detached), weakref.ref(lifecycle)]
