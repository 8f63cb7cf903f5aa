"""Where data files are looked for: the working directory, then what `$HYPERNUDGE_DATA` names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hypernudge.errors import InvalidArgumentError

DATA_DIRECTORY = "HYPERNUDGE_DATA"
"""Environment variable: where files with relative names are looked for, after the working directory."""


def data_directory() -> Path:
    """Return the directory that `$HYPERNUDGE_DATA` names, the working directory without it."""
    return Path(os.environ.get(DATA_DIRECTORY) or ".")


def find_file(name: str, argument: str) -> Path:
    """Return a file, looked for in the working directory, then in `$HYPERNUDGE_DATA`.

    Raises:
        InvalidArgumentError: It is in neither.
    """
    for place in (Path(), data_directory()):
        if (place / name).is_file():
            return place / name
    remedy = f"give its whole path, or set {DATA_DIRECTORY} to the directory that holds it"
    raise InvalidArgumentError(f"{argument}: must name a file that exists, but got {name!r}; {remedy}")


def find_folder(names: Sequence[str], argument: str, wanted: str, how: str) -> Path:
    """Return the first folder of `names` that exists, in the working directory or in `$HYPERNUDGE_DATA`.

    Args:
        names: Folders that may hold the data, the best first.
        argument: What the user has named.
        wanted: What such a folder holds.
        how: How to get it.

    Raises:
        InvalidArgumentError: There is none; the line says what was looked for, where, and how to get it.
    """
    places = list(dict.fromkeys((Path(), data_directory())))
    for place in places:
        for name in names:
            if (place / name).is_dir():
                return place / name
    looked = " and ".join(str(place.absolute()) for place in places)
    raise InvalidArgumentError(
        f"{argument}: needs {wanted}, in a folder {' or '.join(names)}, but {looked} "
        f"{'holds' if len(places) == 1 else 'hold'} none; {how}, or set {DATA_DIRECTORY} to where it is"
    )
