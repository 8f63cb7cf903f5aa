"""Folders of attempts: what a trial has left on disk, and who may still write to it.

trials/trial-00017/attempt-2/   what the worker that trains trial 17 now has written

A new attempt begins with links to the files of the one before, whose folder is then removed. So a worker
that was given up, and comes back, finds no place for what it would write; and whatever it writes meanwhile
replaces links of its own, never a file of its successor's.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypernudge.engine.workers.messages import TOKEN
from hypernudge.errors import require
from hypernudge.results.files import lock, remove_unheld

_NAME = re.compile(r"attempt-(\d+)")
_TRIAL = re.compile(r"trial-\d{5,}")


def trial_folder(folder: Path, trial: int) -> Path:
    """Return the folder of a trial."""
    return folder / f"trial-{trial:05d}"


@contextlib.contextmanager
def claimed(folder: Path | None, removed: bool) -> Iterator[tuple[Path, str]]:
    """Have a folder of trials for one study while entered.

    Args:
        folder: It; a temporary one where absent.
        removed: Whether it goes with the study, if it is empty then.

    Yields:
        Its path, and what stands in its `TOKEN`, by which workers know it.

    Raises:
        InvalidArgumentError: If another study uses it.
        OSError: If it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hypernudge-trials-")))
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if removed:
            stack.callback(_remove_if_empty, folder)
        ours = stack.enter_context(lock(folder / TOKEN, wait=False))
        rule = "must be used by one study at a time"
        require(ours, "checkpoint_dir", rule, str(folder), "wait until that has ended, or name another")
        token = secrets.token_hex(8)
        (folder / TOKEN).write_text(token, "utf-8")
        yield folder, token


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds trials that wait, or something of somebody else's
        folder.rmdir()


def begin_attempt(folder: Path, trial: int) -> tuple[int, Path]:
    """Return number and folder of a new attempt, which has what the last one has left.

    Raises:
        OSError: If it cannot be made.
    """
    place = trial_folder(folder, trial)
    place.mkdir(parents=True, exist_ok=True)
    before = _attempts(place)
    last = max(before, default=0)
    number = last + 1
    if last:
        made = place / f".attempt-{number}"
        shutil.rmtree(made, ignore_errors=True)  # of a driver that was killed here
        made.mkdir()
        _link(place / f"attempt-{last}", made)
        made.rename(place / f"attempt-{number}")
    else:
        (place / f"attempt-{number}").mkdir()
    for old in before:
        _remove(place / f"attempt-{old}")
    return number, place / f"attempt-{number}"


def remove_trial(folder: Path, trial: int) -> None:
    """Remove what a trial has left: it has ended."""
    _remove(trial_folder(folder, trial))


def remove_trials(folder: Path) -> None:
    """Remove what all trials have left, and the lock of a driver that was killed; nothing else there."""
    for path in _trials(folder):
        _remove(path)
    remove_unheld(folder / TOKEN)


def _trials(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):  # there is no such folder
        yield from [path for path in folder.iterdir() if _TRIAL.fullmatch(path.name) and path.is_dir()]


def _attempts(place: Path) -> list[int]:
    found = (_NAME.fullmatch(path.name) for path in place.iterdir())
    return sorted(int(match.group(1)) for match in found if match)


def _link(old: Path, new: Path) -> None:
    """Give a folder the files of another; temporaries are of writers that are gone."""
    for path in old.iterdir():
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            os.link(path, new / path.name)
        except FileNotFoundError:  # its writer has just removed it
            continue
        except OSError:  # a file system without links
            shutil.copy2(path, new / path.name)


def _remove(path: Path) -> None:
    """Remove a folder that somebody may be writing to."""
    for _ in range(5):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
