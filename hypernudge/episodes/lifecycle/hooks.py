"""Attaching to an optimizer: hooks before and after each step, closures, exceptions, compilation."""

import functools
import types
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.optim import Optimizer

Closure = Callable[[], Any]

ATTRIBUTE = "_episode_hooks"


class StepDriver(Protocol):
    """What happens around one `optimizer.step`."""

    def before(self, closure: Closure | None) -> Closure | None:
        """Prepare a step; return a closure to use instead of `closure`, or None to keep it."""
        ...

    def release(self) -> None:
        """Undo `before`; harmless if that is done already."""
        ...

    def after(self) -> None:
        """Account for a step that was taken; called when every driver was released."""
        ...

    def failed(self) -> None:
        """Undo `before`: the step raised."""
        ...


def unwrap(optimizer: Any) -> Optimizer:
    """Return the torch optimizer inside the wrappers of Accelerate, Lightning and their like.

    Raises:
        TypeError: There is none.
    """
    inner = optimizer
    for _ in range(8):
        if isinstance(inner, type):
            break
        # Accelerate's wrapper is an Optimizer by inheritance only: it never ran Optimizer.__init__.
        if isinstance(inner, Optimizer) and hasattr(inner, "_optimizer_step_pre_hooks"):
            return inner
        inner = getattr(inner, "optimizer", None)
    what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
    raise TypeError(
        f"optimizer: must be a torch.optim.Optimizer or wrap one as `.optimizer`, "
        f"but got {what}; pass the optimizer that updates the parameters"
    )


class StepHooks:
    """Calls drivers around every real step of one optimizer, the last one attached innermost.

    There is one for each optimizer, see `hooks_of`: what several drivers did before a step is undone in
    reverse order, and none accounts for the step before all are undone.

    Steps that a gradient scaler or an accumulation wrapper skips are not counted: either they never reach the
    hooks, or, where a fused optimizer skips inside its kernel, the scaler's flag tells. Post hooks do not run
    when a step raises, so `optimizer.step` is also replaced on the instance by a thin guard that reports
    the failure at once.

    Args:
        optimizer: The optimizer.

    Attributes:
        tenants: Weak references to the lifecycles on the optimizer, hooked or not, in order.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.tenants: list[Any] = []
        self._drivers: list[StepDriver] = []
        self._handles: list[Any] = []
        # A subclass whose step calls super().step() fires the hooks of both: only the outermost count.
        self._depth = 0
        self._skipped = False

    def add(self, driver: StepDriver) -> None:
        """Call `driver` around every step from now on."""
        self._drivers.append(driver)
        if not self._handles:
            self._handles = [
                self.optimizer.register_step_pre_hook(self._pre),
                self.optimizer.register_step_post_hook(self._post),
            ]
        # Wrappers made with functools.wraps carry the mark, so a guard under a scheduler's wrapper is found.
        if getattr(self.optimizer.step, ATTRIBUTE, None) is not self:
            self._guard()

    def remove(self, driver: StepDriver) -> None:
        """Call `driver` no longer; without drivers the optimizer steps as if none had ever been there."""
        self._drivers = [other for other in self._drivers if other is not driver]
        if not self._drivers:
            for handle in self._handles:
                handle.remove()
            # The guard may lie under a scheduler's own wrapper by now, so it stays, with nobody to tell.
            self._handles = []

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
        self._skipped = _overflowed(self.optimizer)
        if self._skipped:
            return None
        # Optimizer.step is wrapped as a plain function, so its hooks see `self` as the first argument.
        offset = 1 if args and args[0] is self.optimizer else 0
        positional = len(args) > offset
        given = args[offset] if positional else kwargs.get("closure")
        closure = given
        try:
            for driver in self._drivers:
                closure = driver.before(closure) or closure
        except BaseException:
            self._depth -= 1  # the guard may be gone: Accelerate puts the step back that it found
            self._failed()
            raise
        if closure is given:
            return None
        if positional:
            return (*args[:offset], closure, *args[offset + 1 :]), kwargs
        return args, {**kwargs, "closure": closure}

    def _eager_post(self) -> None:
        self._depth -= 1
        if self._depth or self._skipped or _capturing():
            return
        drivers = list(self._drivers)
        for driver in reversed(drivers):
            driver.release()
        failure: BaseException | None = None
        for driver in drivers:
            try:
                driver.after()
            except BaseException as error:  # who cannot judge an episode must not cost others the step
                failure = failure or error
        if failure is not None:
            raise failure

    def _failed(self) -> None:
        for driver in reversed(self._drivers):
            driver.failed()

    def _guard(self) -> None:
        inner = self.optimizer.step
        bound = isinstance(inner, types.MethodType)
        function: Callable[..., Any] = inner.__func__ if isinstance(inner, types.MethodType) else inner

        @functools.wraps(function)
        def step(*args: Any, **kwargs: Any) -> Any:
            self._depth = 0
            try:
                return function(*args, **kwargs)
            except BaseException:
                self._failed()
                raise

        setattr(step, ATTRIBUTE, self)
        # Of the same kind as before: a bound method, whose __func__ learning-rate schedulers wrap in turn, or
        # the plain function that such a scheduler has already put there.
        guarded = types.MethodType(step, self.optimizer) if bound else step
        self.optimizer.step = guarded  # type: ignore[method-assign]


def hooks_of(optimizer: Optimizer) -> StepHooks:
    """Return the hooks of `optimizer`, made on the first call.

    They lie on the optimizer itself, live as long, and do not travel: an optimizer that was copied or pickled
    is one that nothing is attached to.
    """
    found = optimizer.__dict__.get(ATTRIBUTE)
    if not isinstance(found, StepHooks) or found.optimizer is not optimizer:
        found = StepHooks(optimizer)
        setattr(optimizer, ATTRIBUTE, found)
    return found


def _overflowed(optimizer: Optimizer) -> bool:
    """Whether the step in progress will be skipped inside the optimizer's kernel.

    `torch.amp.GradScaler` leaves its flag on an optimizer that handles scaling itself. Read before
    anything is applied, so such a step is as if it had not been asked for, as it is for other optimizers;
    the scaler reads the same flag for those, so this costs an accelerator no more.
    """
    flag = getattr(optimizer, "found_inf", None)
    return flag is not None and bool(flag)


def _capturing() -> bool:
    """Whether a CUDA graph is being captured: what a hook did would be frozen into every replay."""
    started: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return started and torch.cuda.is_current_stream_capturing()
