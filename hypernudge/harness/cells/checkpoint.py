"""A running cell on disk: its study is kept beside the record to be, and goes on from there.

`cells/seed-0003.study/` is a folder as `tune(study=...)` makes it. It is gone once the record is sealed.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from hypernudge.errors import NotSavedError

SUFFIX = ".study"
# Of these the machine is to blame: a study that meets another error of the system has crashed.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE)


def study_folder(path: Path) -> Path:
    """Return where the study of the cell whose record is `path` is kept."""
    return path.with_suffix(SUFFIX)


def is_kept(path: Path) -> bool:
    """Whether a cell has been begun and can go on."""
    return (study_folder(path) / _file()).is_file()


def events_kept(path: Path) -> int:
    """Return how many reports of the cell's trials are on disk."""
    try:
        return (study_folder(path) / _file()).read_bytes().count(b'"event":"report"')
    except OSError:
        return 0


def _file() -> str:
    from hypernudge.study.store import FILE  # imports PyTorch, which whoever runs a cell has

    return FILE


def remove_study(path: Path) -> bool:
    """Remove what is kept of a cell; return whether nothing is left."""
    folder = study_folder(path)
    if folder.is_symlink():
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def is_full(error: OSError) -> bool:
    """Whether an error says that nothing can be written, which is no result of a method."""
    return isinstance(error, NotSavedError) or error.errno in _FULL
