"""What there is to look at in a folder: kept studies and results of `hypernudge run`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypernudge.errors import require
from hypernudge.results.plan import FILE as PLAN
from hypernudge.results.studies import FILE as STUDY

_DEEPEST = 4  # folders below the one that was named
_MOST = 500  # of what is found
_FOLDERS = 20_000  # that are looked into


@dataclass(frozen=True)
class Source:
    """Something to look at.

    Attributes:
        id: Names it in addresses: letters and digits that say nothing of the path.
        kind: A study that `tune` keeps, or the results of an experiment.
        path: Its folder.
        name: That folder within the one that was named.
    """

    id: str
    kind: Literal["study", "experiment"]
    path: Path
    name: str


def check_folder(folder: Path) -> None:
    """Refuse what is no folder.

    Raises:
        InvalidArgumentError: With the path.
    """
    rule = "must be a folder of studies or of results of `hypernudge run`"
    require(folder.is_dir(), "DIR", rule, str(folder), "correct the path, or begin a study there")


def sources(folder: Path) -> list[Source]:
    """Return what a folder holds, itself included, sorted by name. Links are not followed."""
    found = sorted(_found(folder), key=lambda source: source.name)
    return found[:_MOST]


def _found(root: Path) -> Iterator[Source]:
    waiting = [(root, 0)]
    looked = 0
    while waiting and looked < _FOLDERS:
        folder, depth = waiting.pop()
        looked += 1
        source = source_at(folder, root)
        if source is not None:
            yield source
            continue  # what lies within is shown as part of it
        if depth == _DEEPEST:
            continue
        try:
            with os.scandir(folder) as entries:
                inside = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        waiting += [(path, depth + 1) for path in inside if not path.name.startswith(".")]


def source_at(folder: Path, root: Path) -> Source | None:
    """Return what a folder is, if it is one to look at."""
    try:
        if (folder / PLAN).is_file():
            return Source(_id(folder, root), "experiment", folder, _name(folder, root))
        if (folder / STUDY).is_file():
            return Source(_id(folder, root), "study", folder, _name(folder, root))
    except OSError:
        pass
    return None


def _name(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder != root else folder.resolve().name or str(folder)


def _id(folder: Path, root: Path) -> str:
    text = os.fsencode(folder.relative_to(root))
    return hashlib.blake2b(text, digest_size=6).hexdigest()
