"""Where the data files of the benchmarks are."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("HYPERNUDGE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def data_file(*parts: str) -> Path:
    """Return a file below `$HYPERNUDGE_DATA`, or below `../shared/data` beside the repository.

    Raises:
        FileNotFoundError: It is not there.
    """
    path = DATA.joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; set HYPERNUDGE_DATA to the folder that holds {'/'.join(parts)}."
        )
    return path
