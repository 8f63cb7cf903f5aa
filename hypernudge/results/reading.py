"""Reading a results directory, perhaps a stranger's: strict JSON, and nothing written through links."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError

DEEPEST = 60  # levels of nesting; a record has six, a plan as many as its configuration
_DIGITS = 300  # of a whole number: what a float can still hold
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class UnreadableError(ValueError):
    """A file that is not what it should be; the message says why in a few words, without its path."""


def read_text(path: Path) -> str:
    """Return the text of a regular file.

    Raises:
        FileNotFoundError: There is none.
        UnreadableError: It is a directory, a device or a pipe, cannot be opened, or is not UTF-8.
    """
    try:
        mode = path.stat().st_mode
        # A pipe would block, a device never end.
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise UnreadableError(f"it is {kind}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(error.strerror or type(error).__name__) from None
    except UnicodeDecodeError as error:
        raise UnreadableError(f"byte {error.start} is not UTF-8") from None
    except ValueError as error:  # a NUL in the path
        raise UnreadableError(str(error)) from None


def parse_json(text: str) -> Any:
    """Return strict JSON as data.

    Raises:
        UnreadableError: It is not JSON, has NaN or an infinity, a number out of range, a key twice in one
            object, half a surrogate pair, or is nested deeper than `DEEPEST`.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise UnreadableError(f"nested deeper than {DEEPEST} levels") from None
    except UnreadableError:
        raise
    except ValueError as error:
        raise UnreadableError(f"not valid JSON ({error})") from None
    _check_depth(value)
    if _SURROGATE.search(text):
        _check_text(value)
    return value


def read_json(path: Path) -> Any:
    """Return the contents of a file of strict JSON.

    Raises:
        FileNotFoundError: There is none.
        UnreadableError: As `read_text` and `parse_json`.
    """
    return parse_json(read_text(path))


def _no_constant(token: str) -> float:
    raise UnreadableError(f"{token} is not JSON; a score that does not exist is null")


def _finite(token: str) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise UnreadableError(f"{token[:20]} is out of range")
    return value


def _whole(token: str) -> int:
    if len(token) > _DIGITS:
        raise UnreadableError(f"a whole number of {len(token)} digits is out of range")
    return int(token)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableError(f"the key {twice!r} stands twice in one object")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            entry
            for container in level
            if isinstance(container, dict | list)
            for entry in (container.values() if isinstance(container, dict) else container)
            if isinstance(entry, dict | list)
        ]
        if not level:
            return
    raise UnreadableError(f"nested deeper than {DEEPEST} levels")


def _check_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UnreadableError("a text holds half a surrogate pair, which no file can") from None


def check_output(path: Path, results_dir: Path, *, follows: bool = False) -> Path:
    """Return `path`, unless it lies in `results_dir` and a link would lead the writing elsewhere.

    With `follows`, the end of `path` must be no link either: not every writer replaces what it finds there.
    Whoever packed the directory may have put links in it. What the user names outside is the user's affair,
    and so is a results directory that is a link itself.

    Raises:
        InvalidArgumentError: A folder on the way from `results_dir` to `path` is a link, or something in the
            place of a folder is none.
    """
    # Not resolved: that would follow the links which are looked for.
    root, target = (Path(os.path.abspath(given)) for given in (results_dir, path))  # noqa: PTH100
    if root != target and root in target.parents:
        for folder in [parent for parent in target.parents if root in parent.parents]:
            _check_folder(folder)
        if follows:
            _check_no_link(target)
    return path


def _check_folder(folder: Path) -> None:
    _check_no_link(folder)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgumentError(f"{folder}: must be a folder to write into, but it is none; remove it")


def _check_no_link(folder: Path) -> None:
    if folder.is_symlink():
        rule = "must be no link, for what is written there would land elsewhere"
        raise InvalidArgumentError(
            f"{folder}: {rule}, but it leads to {str(folder.readlink())!r}; remove the link"
        )
