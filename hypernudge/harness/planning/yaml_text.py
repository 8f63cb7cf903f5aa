"""The text of a configuration file, read with bounds: what it would become is known before it is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require

MAX_BYTES = 4 * 2**20
MAX_NODES = 200_000  # of the data, after aliases and interpolations have been filled in
MAX_DEPTH = 60
MAX_TEXT = 1_000_000  # characters of all interpolated values
MAX_CHAIN = 50  # interpolations that refer to interpolations
REFERENCE = re.compile(r"\$\{([^${}]*)\}")


def read_text(path: Path, argument: str = "config file") -> str:
    """Return the text of a file.

    Raises:
        InvalidArgumentError: If it is no file, cannot be read, is too large, or is not UTF-8.
    """
    require(path.exists(), argument, "must exist", str(path), "check the path")
    require(path.is_file(), argument, "must be a file", str(path), "give a file, not a directory")
    size = path.stat().st_size
    rule = f"{path} must have at most {MAX_BYTES:,} bytes"
    require(size <= MAX_BYTES, argument, rule, size, "split it, or use a grid")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{argument}: {path} must be UTF-8, but {error}; save it so") from None
    except OSError as error:
        remedy = "check its permissions"
        raise InvalidArgumentError(
            f"{argument}: {path} must be readable, but: {error.strerror}; {remedy}"
        ) from None


def check_structure(text: str, path: Path) -> None:
    """Refuse YAML that is nested too deep, refers to itself, or grows too large once aliases are filled in.

    Raises:
        InvalidArgumentError: Also where the text is not YAML.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []  # anchor and nodes so far of every collection that is open
    try:
        for event in yaml.parse(text, Loader=loader):
            size, anchor = 1, getattr(event, "anchor", None)
            if isinstance(event, yaml.CollectionStartEvent):
                open_.append((anchor, 1))
                require(len(open_) <= MAX_DEPTH, "config file", _RULE, f"{path}, deeper", "flatten it")
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, size = open_.pop()
            elif isinstance(event, yaml.AliasEvent):
                size = sizes.get(
                    str(event.anchor), MAX_NODES + 1
                )  # unknown: it stands inside what it refers to
            elif not isinstance(event, yaml.ScalarEvent):
                continue
            if anchor is not None and not isinstance(event, yaml.AliasEvent):
                sizes[anchor] = size
            if open_:
                open_[-1] = (open_[-1][0], open_[-1][1] + size)
                size = open_[-1][1]
            rule = f"must hold at most {MAX_NODES:,} values, aliases filled in"
            require(size <= MAX_NODES, "config file", rule, f"more in {path}", "use fewer aliases, or a grid")
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InvalidArgumentError(f"config file: {path} must be YAML, but: {reason}; correct it") from None


_RULE = f"must be nested at most {MAX_DEPTH} deep"


def check_interpolations(raw: Any, path: Path) -> None:
    """Refuse data whose `${...}` would grow too large, or refer to themselves, once they are filled in.

    Args:
        raw: Plain data, with interpolations as text.
        path: The file it comes from.
    """
    known = dict(_leaves(raw, ""))
    if not any("${" in text for text in known.values()):
        return
    sizes: dict[str, int] = {}

    def size(name: str, below: tuple[str, ...]) -> int:
        rule = f"interpolations must end, within {MAX_CHAIN} steps"
        ends = name not in below and len(below) <= MAX_CHAIN
        require(ends, "config file", rule, f"{name} in {path}", "write the value")
        if name not in sizes:
            total = 0
            for key, text in known.items():
                if key != name and not key.startswith(f"{name}."):
                    continue
                total += len(text) + 1
                for reference in REFERENCE.findall(text):
                    total += size(_target(reference, key), (*below, name))
                    rule = f"must hold at most {MAX_TEXT:,} characters, interpolations filled in"
                    require(total <= MAX_TEXT, "config file", rule, f"more in {path}", "write the values")
            sizes[name] = total
        return sizes[name]

    for key, text in known.items():
        if "${" in text:
            size(key, ())


def _target(reference: str, key: str) -> str:
    """Return the absolute key that an interpolation inside `key` names: `a.b`, `.b` or `oc.select:a.b`."""
    name = reference.rpartition(":")[2].split(",")[0].strip().replace("[", ".").replace("]", "")
    up = len(name) - len(name.lstrip("."))
    return ".".join([*(key.split(".")[:-up] if up else ()), name.lstrip(".")])


def _leaves(node: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{where}.{index}")
    else:
        yield where, node if isinstance(node, str) else ""
