"""States of trials that wait: those that were trained last in memory, the others in files.

Memory does not grow with the number of trials then. Only numbers go into a file, see
`hypernudge.engine.packing`; a file that is lost costs time, for its trial is trained again.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hypernudge.engine.packing import Packed, UnpackableError, pack, unpack
from hypernudge.errors import LostStateError, one_line

logger = logging.getLogger("hypernudge")
IN_MEMORY = 128 * 2**20  # bytes of states that wait in memory: studies of small networks write no file
_FILES = "trial-waiting-*.pt"


@dataclass(eq=False)
class Waiting:
    """A state that waits: in memory, or in a file.

    Attributes:
        state: It, while it is in memory.
        number: Of all that waited.
        size: Its bytes.
        packed: Its skeleton, while its numbers are in the file.
        path: The file.
    """

    state: Any
    number: int
    size: int = 0
    packed: Packed | None = None
    path: Path | None = None


class WaitingStates:
    """The states of a task's trials that are not being trained.

    A task that keeps its own trials on disk (`kept_in`) is left alone.

    Args:
        task: Whose states; what it holds itself is no part of them.
    """

    def __init__(self, task: Any) -> None:
        self._task = task
        self._stays = hasattr(task, "kept_in")  # also once a state could not be packed
        self._in_memory: OrderedDict[int, tuple[weakref.ref[Waiting], int]] = OrderedDict()
        self._bytes = 0
        self._folder: Path | None = None
        self._made: Path | None = None
        self._count = itertools.count()

    def keep_in(self, folder: Path) -> None:
        """Have files lie in a folder that nobody else writes to; a temporary one if this is never called."""
        self._folder, self._made = folder, None
        for path in folder.glob(_FILES):  # of a process that was killed
            with contextlib.suppress(OSError):
                path.unlink()

    def put(self, state: Any) -> Waiting:
        """Let a state wait; others may leave the memory for it."""
        waiting = Waiting(state, next(self._count))
        if self._stays:
            return waiting
        try:
            waiting.size = pack(state, self._shared()).size
        except UnpackableError as error:
            self._stay(f"holds what no file can: {one_line(error)}")
            return waiting
        self._in_memory[waiting.number] = weakref.ref(waiting), waiting.size
        self._bytes += waiting.size
        while self._bytes > IN_MEMORY and self._in_memory and not self._stays:
            _, (reference, size) = self._in_memory.popitem(last=False)
            self._bytes -= size
            first = reference()
            if first is not None:  # its trial has not been given up
                self._write(first)
        return waiting

    def take(self, waiting: Waiting) -> Any:
        """Return a state to be trained.

        Raises:
            LostStateError: If its file is gone or damaged; a warning has been given.
        """
        if self._in_memory.pop(waiting.number, None) is not None:
            self._bytes -= waiting.size
        if waiting.packed is None:
            return waiting.state
        assert waiting.path is not None
        try:
            return unpack(waiting.packed, torch.load(waiting.path, weights_only=True))
        except Exception as error:  # a damaged file fails in many ways
            reason = one_line(error) or type(error).__name__
            logger.warning("%s cannot be read (%s): the trial is trained again", waiting.path, reason)
            raise LostStateError from None
        finally:
            waiting.path.unlink(missing_ok=True)

    def _shared(self) -> Iterator[Any]:
        """Yield what belongs to the task, which its states may refer to."""
        yield self._task
        for value in vars(self._task).values() if hasattr(self._task, "__dict__") else ():
            yield value
            if isinstance(value, dict):
                yield from value.values()
            elif isinstance(value, list | tuple):
                yield from value

    def _write(self, waiting: Waiting) -> None:
        """Move a state to a file; if that fails, all of them stay in memory from now on."""
        path = None
        try:
            packed = pack(waiting.state, self._shared())
            path = self._place() / _FILES.replace("*", f"{os.getpid()}-{waiting.number:06d}")
            torch.save(list(packed.tensors), path)
        except UnpackableError as error:
            self._stay(f"holds what no file can: {one_line(error)}")
        except (OSError, RuntimeError) as error:  # PyTorch's writer turns one into the other
            self._stay(f"could not be written: {one_line(error)}")
            if path is not None:
                path.unlink(missing_ok=True)
        else:
            waiting.packed = Packed(packed.skeleton, packed.kinds, packed.shared, (), packed.size)
            waiting.path, waiting.state = path, None
            weakref.finalize(waiting, path.unlink, missing_ok=True).atexit = False

    def _place(self) -> Path:
        if self._made is None:
            if self._folder is None:
                self._made = Path(tempfile.mkdtemp(prefix="hypernudge-waiting-"))
                weakref.finalize(self, shutil.rmtree, self._made, ignore_errors=True)
            else:
                self._made = self._folder
                self._made.mkdir(parents=True, exist_ok=True)
        return self._made

    def _stay(self, reason: str) -> None:
        self._stays = True
        name = getattr(self._task, "name", type(self._task).__name__)
        logger.warning("task %s: trials that wait stay in memory, because a state %s", name, reason)
