"""Files that are there whole or not at all: written beside, synced, then put in place in one step.

A temporary is named `.NAME.XXXXXXXX` and locked while its writer lives. A writer that fails removes its own;
that of a killed process stays behind unlocked, and `remove_abandoned` finds it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl

    LOCKS = True
    """Whether this platform can tell if another process uses a file; POSIX systems can."""
except ImportError:
    LOCKS = False

_held: set[int] = set()  # open files whose locks this process holds
_UNBLOCKED = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe would wait
_TEMPORARY = re.compile(r"\.(.+\.(?:csv|html|ipynb|json|jsonl|md|pdf|png|pt|svg|tex|txt|yaml))\.[a-z0-9_]{8}")


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, synced to disk; its mode is what the umask gives.

    Raises:
        OSError: If it cannot be written; the old file is then as it was, and no temporary is left.
    """
    with replacing(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True, make_folder: bool = True) -> Iterator[IO[bytes]]:
    """Yield a file that replaces `path` in one step, once the block has ended without an error.

    Args:
        path: What is replaced.
        durable: Whether it is synced, so that a power cut leaves the old one or the new one.
        make_folder: Whether its folder is made where it is not there, which is an error otherwise.

    Raises:
        OSError: As `write_text`.
    """
    with _temporary(path, make_folder) as (file, temporary):
        yield file
        if durable:
            _sync(file)
        else:
            file.flush()
        temporary.replace(path)
        if durable:
            sync_directory(path.parent)


def create_text(path: Path, text: str) -> bool:
    """Write `text` to `path` unless it exists; return whether this call did. Of several writers one wins.

    Raises:
        OSError: If it cannot be written; no temporary is left.
    """
    with _temporary(path) as (file, temporary):
        file.write(text.encode())
        _sync(file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        sync_directory(path.parent)
    return True


def append_line(path: Path, line: str) -> None:
    """Append a line, synced to disk; after one that was torn by a full disk it begins anew.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        torn = False
        if size:
            file.seek(size - 1)
            torn = file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make what was created or renamed in a directory survive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # Windows and some network file systems cannot
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def temporary_of(path: Path) -> str | None:
    """Return the name of the file that `path` was to become, None if it is no temporary."""
    found = _TEMPORARY.fullmatch(path.name)
    return found.group(1) if found else None


@contextlib.contextmanager
def _tried(path: Path) -> Iterator[bool | None]:
    """Try for the lock of a file and hold it meanwhile: whether it was had, None where nobody can tell."""
    try:
        handle = os.open(path, _UNBLOCKED) if LOCKS else None
    except OSError:
        handle = None
    if handle is None:
        yield None
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def release_copies() -> None:
    """Give up, in a forked process, its copies of locks: they belong to the process that took them.

    A lock lasts until every copy of its file is closed, and a child may outlive its parent for a moment.
    """
    if not LOCKS:
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in _held:
        os.dup2(nowhere, handle)  # its number stays taken: somebody may still close it
    os.close(nowhere)
    _held.clear()


def hold(handle: int) -> bool:
    """Lock an open file until `let_go`; False if somebody else has it, True where nobody can tell."""
    try:
        if LOCKS:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _held.add(handle)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def let_go(handle: int) -> None:
    """Close a file that was held."""
    _held.discard(handle)
    os.close(handle)


def is_held(path: Path) -> bool:
    """Whether a live process has the lock of a file; False where nobody can tell, or it is gone."""
    with _tried(path) as had:
        return had is False


def remove_unheld(path: Path) -> bool:
    """Remove a file unless a live process has its lock; return whether it was removed."""
    with _tried(path) as had:
        if not had:
            return False
        try:
            path.unlink()  # while it is locked: nobody can come between
        except OSError:
            return False
    return True


def abandoned(folder: Path) -> list[Path]:
    """Return the temporaries of dead processes in a folder, sorted; nothing where nobody can tell."""
    if not LOCKS or not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if temporary_of(path) and not path.is_symlink())
    return sorted(path for path in found if path.is_file() and not is_held(path))


def remove_abandoned(folder: Path) -> list[Path]:
    """Remove the temporaries of dead processes in a folder; return them."""
    return [path for path in abandoned(folder) if remove_unheld(path)]


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of `path`, a file made for it; yield whether it is ours. Its last holder removes it.

    Args:
        path: The lock file.
        shared: Whether others may hold it, shared, at the same time.
        wait: Whether to wait for it; if not, it may turn out to be somebody else's.

    Raises:
        OSError: If the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path, shared, wait)
    if file is None:
        yield not LOCKS
        return
    _held.add(file.fileno())
    try:
        yield True
    finally:
        _held.discard(file.fileno())
        with contextlib.suppress(OSError):
            if shared:  # only the last one may remove it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        file.close()


def _locked(path: Path, shared: bool, wait: bool) -> IO[bytes] | None:
    if not LOCKS:
        return None
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, kind)
            if _still_there(file.fileno(), path):  # else removed by its holder while we waited for it
                return file
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        file.close()


def _still_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _temporary(path: Path, make_folder: bool = True) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a temporary beside `path`, locked; it is gone afterwards, whatever happens."""
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary, handle = _create(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _create(path: Path) -> tuple[Path, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            handle = os.open(temporary, flags, 0o666)  # the umask takes away what it should
        except FileExistsError:
            continue
        if not LOCKS:
            return temporary, handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            return temporary, handle
        if _still_there(handle, temporary):
            return temporary, handle
        os.close(handle)  # taken for abandoned in the moment before it was locked
