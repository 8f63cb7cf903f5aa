"""Where priors are read from, shipped ones by name and others by path, and of which kind a file is.

A file that is written anew is another one: whoever keeps what was read keeps it by name and `Version`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require

SHIPPED, LANGUAGE, TABLES, NEAR, NONE = "shipped", "language", "tables", "near", "none"
OF_RATES = {
    TABLES: "prior.json",
    SHIPPED: "prior_near.json",
    LANGUAGE: "prior_language.json",
    NEAR: "prior_near.json",
}
"""Priors of learning rates by name: of tables (until the third edition the default, `SHIPPED`), with language
models beside them, and with more studies of the tables near the probed rate (since then the default)."""
OF_STUDIES = {"xgboost": "prior_xgboost.json"}
"""Priors of past studies that are shipped, by name."""
RATES_FORMAT, STUDIES_FORMAT = 1, 2
BUILD_AGAIN = "build it again with `hypernudge prior build`"

Version = tuple[int, ...]


def is_named(name: str) -> bool:
    """Whether a prior is meant by its name, and not by the path of a file."""
    return name in OF_RATES or name in OF_STUDIES or name == NONE


def version_of(name: str) -> Version:
    """Return what changes when a file is written anew: number, time and size; nothing of a shipped one."""
    if is_named(name):
        return ()
    try:
        found = Path(name).stat()
    except (OSError, ValueError):  # reading it says why
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def contents(name: str) -> Mapping[str, Any]:
    """Return what the file of a prior holds, of either kind.

    Raises:
        InvalidArgumentError: It cannot be read, or is of another version's format.
    """
    shipped = {**OF_RATES, **OF_STUDIES}
    source = files("hypernudge.warmstart") / shipped[name] if name in shipped else Path(name)
    try:
        data: Mapping[str, Any] = json.loads(source.read_text(encoding="utf-8"))
        found = data["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(name, error) from None
    rule = f"must be of format {RATES_FORMAT} (learning rates) or {STUDIES_FORMAT} (past studies)"
    remedy = f"another version wrote it: {BUILD_AGAIN} of this version, or read it with that one"
    require(found in (RATES_FORMAT, STUDIES_FORMAT), f"prior {name!r}", rule, found, remedy)
    return data


def names() -> str:
    """Return the names that a prior may have instead of a path, for a message."""
    return ", ".join(f"'{known}'" for known in (*OF_RATES, NONE, *OF_STUDIES))


def unreadable(name: str, error: Exception) -> InvalidArgumentError:
    """Return the error for a file that is no prior."""
    known = {known.lower(): known for known in (*OF_RATES, NONE, *OF_STUDIES)}
    near = [known[word] for word in difflib.get_close_matches(name.strip().lower(), known, n=1)]
    meant = f"did you mean {near[0]!r}? " if near else ""
    remedy = f"{meant}give {names()}, or a file that `hypernudge prior build` wrote"
    return InvalidArgumentError(f"prior: {name!r} must be readable, but: {error}; {remedy}")


def require_once(name: str, tasks: list[Any]) -> None:
    """Refuse a file that lists a task twice: it would count twice.

    Raises:
        InvalidArgumentError: With file and task.
    """
    twice = sorted({str(task) for task in tasks if tasks.count(task) > 1})
    require(not twice, f"prior {name!r}", "must list each task once", twice, f"drop one, or {BUILD_AGAIN}")
