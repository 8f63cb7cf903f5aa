"""Attaching to an optimizer: hooks before and after each step, closures, exceptions, compilation."""

import functools
import types
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

Closure = Callable[[], Any]


class StepDriver(Protocol):
    """What happens around one ``optimizer.step``."""

    def before(self, closure: Closure | None) -> Closure | None:
        """Prepare a step; return a closure to use instead of ``closure``, or None to keep it."""
        ...

    def after(self) -> None:
        """Account for a step that was taken."""
        ...

    def failed(self) -> None:
        """Undo :meth:`before`: the step raised."""
        ...


def unwrap(optimizer: Any) -> Optimizer:
    """Return the torch optimizer inside the wrappers of Accelerate, Lightning and their like.

    Raises:
        TypeError: There is none.
    """
    inner = optimizer
    for _ in range(8):
        # Accelerate's wrapper is an Optimizer by inheritance only: it never ran Optimizer.__init__.
        if isinstance(inner, Optimizer) and hasattr(inner, "_optimizer_step_pre_hooks"):
            return inner
        inner = getattr(inner, "optimizer", None)
    raise TypeError(
        f"optimizer must be a torch.optim.Optimizer or wrap one as `.optimizer`, "
        f"but got {type(optimizer).__name__}; pass the optimizer that updates the parameters."
    )


class StepHooks:
    """Calls a driver around every real step of an optimizer until :meth:`remove`.

    Steps that a gradient scaler or an accumulation wrapper skips never reach the hooks and are not
    counted. Post hooks do not run when a step raises, so ``optimizer.step`` is also
    replaced on the instance by a thin guard that reports the failure at once.

    Args:
        optimizer: The optimizer.
        driver: What to call.
    """

    def __init__(self, optimizer: Optimizer, driver: StepDriver) -> None:
        self._optimizer = optimizer
        self._driver = driver
        self._active = True
        # A subclass whose step calls super().step() fires the hooks of both: only the outermost count.
        self._depth = 0
        self._handles = [
            optimizer.register_step_pre_hook(self._pre),
            optimizer.register_step_post_hook(self._post),
        ]
        self._guard()

    def remove(self) -> None:
        """Detach; the optimizer steps as if it had never been attached to."""
        for handle in self._handles:
            handle.remove()
        # The guard may lie under a scheduler's own wrapper by now, so it is silenced, not taken out.
        self._active = False

    def _pre(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        del optimizer
        if torch.compiler.is_compiling():
            return torch.compiler.disable(self._eager_pre)(args, kwargs)  # type: ignore[no-untyped-call]
        return self._eager_pre(args, kwargs)

    def _post(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        del optimizer, args, kwargs
        if torch.compiler.is_compiling():
            torch.compiler.disable(self._eager_post)()  # type: ignore[no-untyped-call]
        else:
            self._eager_post()

    def _eager_pre(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._depth += 1
        if self._depth > 1 or _capturing():
            return None
        # Optimizer.step is wrapped as a plain function, so its hooks see `self` as the first argument.
        offset = 1 if args and args[0] is self._optimizer else 0
        if len(args) > offset:
            changed = self._driver.before(args[offset])
            if changed is not None:
                return (*args[:offset], changed, *args[offset + 1 :]), kwargs
            return None
        changed = self._driver.before(kwargs.get("closure"))
        if changed is not None:
            return args, {**kwargs, "closure": changed}
        return None

    def _eager_post(self) -> None:
        self._depth -= 1
        if self._depth == 0 and not _capturing():
            self._driver.after()

    def _guard(self) -> None:
        inner = self._optimizer.step
        bound = isinstance(inner, types.MethodType)
        function: Callable[..., Any] = inner.__func__ if isinstance(inner, types.MethodType) else inner

        @functools.wraps(function)
        def step(*args: Any, **kwargs: Any) -> Any:
            self._depth = 0
            try:
                return function(*args, **kwargs)
            except BaseException:
                if self._active:
                    self._driver.failed()
                raise

        # Of the same kind as before: a bound method, whose __func__ learning-rate schedulers wrap in turn, or
        # the plain function that such a scheduler has already put there.
        guarded = types.MethodType(step, self._optimizer) if bound else step
        self._optimizer.step = guarded  # type: ignore[method-assign]


def _capturing() -> bool:
    """Whether a CUDA graph is being captured: what a hook did would be frozen into every replay."""
    started: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return started and torch.cuda.is_current_stream_capturing()
