"""Modules of a user's own, found beside the YAML file that names them as `module:attribute`.

What lies there is imported as `python folder/script.py` would: the folder comes first on the path, in this
process and in all that it starts. A folder that holds no module of such a name is never put there.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError

NAMED = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):[^\W\d]\w*")
_used: list[str] = []


def find_modules(node: Any, folders: Sequence[Path]) -> None:
    """Put the folders of the modules that plain data name on the path; import nothing.

    Args:
        node: Part of an experiment.
        folders: Where a module is looked for before the path is.

    Raises:
        InvalidArgumentError: Python uses another module under a name, and could not import this one.
    """
    for name in sorted(set(_modules(node))):
        folder = next((place.resolve() for place in folders if _holds(place, name)), None)
        if folder is None:
            continue
        if sys.path[:1] != [str(folder)]:
            sys.path.insert(0, str(folder))
            importlib.invalidate_caches()
        if str(folder) not in _used:
            _used.insert(0, str(folder))
        _check_free(name, folder)


def modules_beside(node: Any, folders: Sequence[Path]) -> list[str]:
    """Return the modules that plain data name and one of the folders holds."""
    return sorted({name for name in _modules(node) if any(_holds(folder, name) for folder in folders)})


def child_environment() -> dict[str, str]:
    """Return what a new process needs in its environment to find the same modules."""
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([*_used, *([known] if known else [])])} if _used else {}


def _modules(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _modules(key)
            yield from _modules(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _modules(value)
    elif isinstance(node, str) and (match := NAMED.fullmatch(node)):
        yield match.group(1)


def _holds(folder: Path, name: str) -> bool:
    place = folder.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def _check_free(name: str, folder: Path) -> None:
    top = name.partition(".")[0]
    if top not in sys.modules:
        return
    file = getattr(sys.modules[top], "__file__", None)
    if file is None:  # built in, or folders without `__init__.py`, which are joined
        elsewhere = not hasattr(sys.modules[top], "__path__")
    else:
        elsewhere = not Path(file).resolve().is_relative_to(folder)
    if elsewhere:
        raise InvalidArgumentError(
            f"{name}: the module in {folder} must have a name of its own, but Python uses "
            f"{file or 'a built-in module'} under it; rename the file"
        )
