"""How a task reaches workers that inherit nothing: as bytes, so that whoever fails at them can say why."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypernudge.engine.workers.messages import Setup, Unusable
from hypernudge.engine.workers.worker import Worker
from hypernudge.errors import InvalidArgumentError, one_line

DEEPEST = 4


@dataclass(frozen=True)
class Pickled:
    """A function as bytes.

    Attributes:
        data: The bytes.
        paths: Where whoever pickled it finds modules: a user's may lie beside a script or a YAML file.
    """

    data: bytes
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, build: Callable[[], Any], dumps: Callable[[Any], bytes] = pickle.dumps) -> Pickled:
        """Pickle what builds a task.

        Args:
            build: Returns the task.
            dumps: Pickles.

        Raises:
            InvalidArgumentError: If that raises, with the part that is to blame.
        """
        try:
            return cls(dumps(build), tuple(sys.path))
        except Exception as error:  # a user's object may refuse in any way
            raise _not_sent(build, error, dumps) from error

    def __call__(self) -> Any:
        """Return what the function returns."""
        sys.path += [path for path in self.paths if path not in sys.path]
        return pickle.loads(self.data)()


def built(setup: Setup, name: str) -> Worker | Unusable:
    """Return a worker, or why there can be none."""
    try:
        return Worker(setup, name)
    except InvalidArgumentError as error:
        return Unusable(error)
    except Exception as error:  # a user's task may raise anything
        said = f"{type(error).__name__}: {one_line(error)}"
        line = (
            f"task: must be built on every worker, but there that raises {said}; see its traceback, mend it"
        )
        return Unusable(InvalidArgumentError(line), traceback.format_exc())


def _not_sent(build: Any, error: Exception, dumps: Callable[[Any], bytes]) -> InvalidArgumentError:
    task = build.args[0] if getattr(build, "args", ()) else build
    where = _to_blame(task, "task", dumps, DEEPEST)
    return InvalidArgumentError(
        f"task: must be something that can be sent to workers, but pickling {where} raises "
        f"{type(error).__name__}: {one_line(error)}; open it in `start` or when it is first needed, or give "
        "the task by name or as 'module:attribute'"
    )


def _to_blame(value: Any, where: str, dumps: Callable[[Any], bytes], depth: int) -> str:
    """Return the path to the innermost part that cannot be pickled."""
    if isinstance(value, dict):
        parts = {f"{where}[{key!r}]": entry for key, entry in value.items()}
    elif isinstance(value, list | tuple):
        parts = {f"{where}[{index}]": entry for index, entry in enumerate(value)}
    else:
        parts = {f"{where}.{name}": entry for name, entry in getattr(value, "__dict__", {}).items()}
    for path, part in parts.items() if depth else ():
        try:
            dumps(part)
        except Exception:
            return _to_blame(part, path, dumps, depth - 1)
    return f"{where}, a {type(value).__name__},"


def same(task: Any) -> Any:
    """Return the task: what a worker calls that is sent the driver's own."""
    return task
