"""Trials on disk: one file each, tensors and plain values, which loads with `weights_only=True`.

A file is replaced in one step, so it is always that of a whole unit. It is named by what determines the
training (seed, configuration, schedule, ...): whatever else lies in the folder, a trial finds its own. A file
that is missing or damaged costs time only, for the trial is then trained again to the same bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hypernudge.errors import NotSavedError
from hypernudge.results.files import remove_abandoned, replacing

logger = logging.getLogger("hypernudge")
FORMAT = 1


def digest(described: Mapping[str, Any]) -> str:
    """Return a name for what determines a training."""
    text = json.dumps(described, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


class Checkpoints:
    """The files of a task's trials.

    Args:
        folder: Where; made if need be. A temporary one, gone with this object, if absent.
        keep: Whether files outlive their trials.
    """

    def __init__(self, folder: Path | None, keep: bool) -> None:
        self.durable, self.keep = folder is not None, keep
        self._given = folder
        self._made: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder, made at the first call."""
        if self._made is None:
            if self._given is None:
                self._made = Path(tempfile.mkdtemp(prefix="hypernudge-trials-"))
                weakref.finalize(self, shutil.rmtree, self._made, ignore_errors=True)
            else:
                self._made = self._given
                self._made.mkdir(parents=True, exist_ok=True)
                remove_abandoned(self._made)
        return self._made

    def path(self, name: str) -> Path:
        """Return the file of a trial."""
        return self.folder / f"trial-{name}.pt"

    def save(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a trial's file in one step.

        Raises:
            NotSavedError: If it cannot be written; the old one is then as it was.
        """
        try:
            # A worker that was given up must not make its folder again.
            with replacing(self.path(name), make_folder=False) as file:
                torch.save({"format": FORMAT, "trial": name, **content}, file)
        except (OSError, RuntimeError) as error:  # PyTorch's writer turns one into the other
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            if not isinstance(cause, OSError):
                raise
            raise NotSavedError(cause.errno, cause.strerror or str(cause), cause.filename) from error

    def load(self, name: str) -> dict[str, Any] | None:
        """Return what was saved for a trial, on the CPU; None if there is nothing, or nothing readable."""
        path = self.path(name)
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file fails in many ways
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            logger.warning("%s cannot be read (%s): the trial is trained again", path, reason)
            return None
        if not isinstance(content, dict) or (content.get("format"), content.get("trial")) != (FORMAT, name):
            logger.warning("%s is not this trial's: it is trained again", path)
            return None
        return content

    def remove(self, name: str) -> None:
        """Remove a trial's file."""
        with contextlib.suppress(FileNotFoundError):
            self.path(name).unlink()

    def remove_all(self) -> None:
        """Remove every trial's file, unless they are kept; those of an earlier process, too."""
        if self.keep or self._made is None:
            return
        for path in self._made.glob("trial-*.pt"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        if self._given is not None:
            with contextlib.suppress(OSError):  # it holds something else, or somebody else removed it
                self._given.rmdir()
                self._made = None
