"""Arrays that are made once and memory-mapped ever after: decoded images, tokens.

A cache is a folder with one flat file per field and `manifest.json`, which says what the arrays are of. The
folder appears under its name in one step, when it is complete. Until then its files grow in a hidden folder
beside it, shard by shard; a journal says how far they are sealed. So a build that is killed goes on where its
last shard ended, and of two processes that want the same arrays one builds and the other waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.results import files

FORMAT = 1
MANIFEST, JOURNAL = "manifest.json", "journal.json"
CACHE_DIRECTORY = "HYPERNUDGE_CACHE"
"""Environment variable: where caches are kept; `hypernudge` in the user's cache directory without it."""
_UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
}
WHOLE = 1 << 30  # sources up to this size, bytes, are known by their contents

Chunk = Mapping[str, np.ndarray]
Shards = Callable[[int], Iterator[Iterable[Chunk]]]


@dataclass(frozen=True)
class Field:
    """One array of a cache: its type in NumPy's notation, and the shape of one row."""

    dtype: str
    row: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.row, dtype=np.int64))


@dataclass(frozen=True)
class CachedArrays:
    """The arrays of a cache by field, memory-mapped, and its manifest.

    The arrays may be written to, as PyTorch expects; what is written stays in this process.
    """

    folder: Path
    arrays: dict[str, np.ndarray]
    manifest: dict[str, Any]

    def verify(self) -> None:
        """Read everything and compare with the digests of the manifest.

        Raises:
            InvalidArgumentError: A file is not what was written.
        """
        for name, described in self.manifest["arrays"].items():
            found = _sha256(self.folder / f"{name}.bin")
            same = found == described["sha256"]
            require(
                same,
                "cache",
                f"{self.folder / name}.bin must be as it was written",
                found,
                _remove(self.folder),
            )


def cache_directory() -> Path:
    """Return `$HYPERNUDGE_CACHE`, or `hypernudge` below the user's cache directory."""
    named = os.environ.get(CACHE_DIRECTORY)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hypernudge"


def fingerprint(source: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for JSON data."""
    text = json.dumps(source, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def listing_digest(root: Path, paths: Sequence[Path]) -> str:
    """Return a SHA-256 over the names of files below `root`, their sizes and, up to 1 GiB in all, contents.

    Of larger sources only names and sizes are known: a file that is changed but keeps both goes unnoticed.
    """
    sizes = [path.stat().st_size for path in paths]
    sha = hashlib.sha256()
    for path, size in zip(paths, sizes, strict=True):
        # Names need not be UTF-8.
        sha.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{size}\0".encode())
        if sum(sizes) <= WHOLE:
            sha.update(bytes.fromhex(_sha256(path)))
    return sha.hexdigest()


def cached_arrays(
    folder: Path, source: Mapping[str, Any], fields: Mapping[str, Field], shards: Shards
) -> CachedArrays:
    """Return the arrays that `folder` keeps, after making them if they are not there.

    Args:
        folder: Where they are kept. Its name should contain the `fingerprint` of `source`.
        source: What the arrays are made of and how, as JSON data: equal sources must mean equal arrays.
        fields: The arrays by name.
        shards: `shards(start)` yields the shards from number `start` on; each shard is an iterable of chunks,
            rows by field. The shards must be the same at every call. A shard is what a killed build loses at
            most, a chunk is what is held in memory.

    Raises:
        InvalidArgumentError: What lies there is damaged or of another source, or cannot be written.
    """
    found = open_arrays(folder, source)
    if found is None:
        with _writing(folder), files.lock(_lock(folder)):
            if open_arrays(folder, source) is None:  # another process may have made it meanwhile
                _build(folder, source, fields, shards)
        found = open_arrays(folder, source)
    assert found is not None
    return found


def open_arrays(folder: Path, source: Mapping[str, Any]) -> CachedArrays | None:
    """Return the arrays of a complete cache, None if it is not there.

    Raises:
        InvalidArgumentError: It is damaged or of another source.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        described = {
            name: (entry["dtype"], tuple(entry["shape"])) for name, entry in manifest["arrays"].items()
        }
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidArgumentError(f"cache: {path} is damaged ({error!r}); {_remove(folder)}") from None
    wanted = {"format": FORMAT, "source": json.loads(json.dumps(dict(source)))}
    for key, value in wanted.items():
        require(
            manifest.get(key) == value,
            "cache",
            f"{path} must be of {key} {value}",
            manifest.get(key),
            _remove(folder),
        )
    arrays = {}
    for name, (dtype, shape) in described.items():
        file = folder / f"{name}.bin"
        size = int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64))
        there = file.stat().st_size if file.is_file() else None
        require(there == size, "cache", f"{file} must be {size} bytes long", there, _remove(folder))
        # Copy on write: PyTorch warns of arrays that cannot be written to.
        arrays[name] = np.memmap(file, dtype=dtype, mode="c", shape=shape) if size else np.empty(shape, dtype)
    return CachedArrays(folder, arrays, manifest)


def kept_text(path: Path, make: Callable[[], str]) -> str:
    """Return the text that `path` keeps, which is made if it is not there, by one process."""
    if not path.is_file():
        with _writing(path), files.lock(_lock(path)):
            if not path.is_file():
                files.write_text(path, make())
    return path.read_text(encoding="utf-8")


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say in one line that a cache cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise InvalidArgumentError(
            f"cache: must be a directory with room, but {path} cannot be written ({error.strerror}); "
            f"make room, or set {CACHE_DIRECTORY} to another directory; what is sealed is kept"
        ) from None


def _build(folder: Path, source: Mapping[str, Any], fields: Mapping[str, Field], shards: Shards) -> None:
    # Without locks two processes may build, each for itself, and one of them wins.
    own = "" if files.LOCKS else f"-{os.getpid()}"
    building = folder.with_name(f".{folder.name}.building{own}")
    journal = {"format": FORMAT, "source": json.loads(json.dumps(dict(source)))}
    sealed = _sealed(building, journal, fields)
    if sealed is None:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        for name in fields:
            (building / f"{name}.bin").touch()
        sealed = []
    rows = dict(sealed[-1] if sealed else dict.fromkeys(fields, 0))
    for name, field in fields.items():  # what a killed build wrote after its last seal
        os.truncate(building / f"{name}.bin", rows[name] * field.row_bytes)
    for shard in shards(len(sealed)):
        with contextlib.ExitStack() as stack:
            opened = {name: stack.enter_context((building / f"{name}.bin").open("ab")) for name in fields}
            for chunk in shard:
                for name, field in fields.items():
                    rows[name] += _write(opened[name], chunk[name], name, field)
            for file in opened.values():
                file.flush()
                os.fsync(file.fileno())
        sealed.append(dict(rows))
        files.write_text(building / JOURNAL, json.dumps({**journal, "sealed": sealed}))
    arrays = {
        name: {
            "dtype": field.dtype,
            "shape": [rows[name], *field.row],
            "sha256": _sha256(building / f"{name}.bin"),
        }
        for name, field in fields.items()
    }
    files.write_text(building / MANIFEST, json.dumps({**journal, "arrays": arrays}, indent=1) + "\n")
    for path in building.iterdir():
        if path.name != MANIFEST and path.suffix != ".bin":
            path.unlink()
    try:
        building.rename(folder)
        files.sync_directory(folder.parent)
    except OSError:
        if open_arrays(folder, source) is None:
            require(False, "cache", f"{folder} must be a cache or absent", "another folder", _remove(folder))
        shutil.rmtree(building, ignore_errors=True)


def _sealed(
    building: Path, journal: Mapping[str, Any], fields: Mapping[str, Field]
) -> list[dict[str, int]] | None:
    """Return the numbers of rows after each sealed shard; None if there is nothing to go on from."""
    try:
        found = json.loads((building / JOURNAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sealed: list[dict[str, int]] = found.pop("sealed")
    if found != journal:
        return None
    for name, field in fields.items():
        file = building / f"{name}.bin"
        if not file.is_file() or file.stat().st_size < sealed[-1][name] * field.row_bytes:
            return None
    return sealed


def _write(file: Any, array: np.ndarray, name: str, field: Field) -> int:
    ok = array.dtype == np.dtype(field.dtype) and array.shape[1:] == field.row
    require(ok, name, f"rows must be {field.dtype} {field.row}", (str(array.dtype), array.shape), "mend them")
    file.write(np.ascontiguousarray(array).data)
    return len(array)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(folder: Path) -> str:
    return f"remove {folder} to make it again"
