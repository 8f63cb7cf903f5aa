"""Folders of studies that `tune(study=DIR)` keeps, told from results of `hypernudge run`."""

from __future__ import annotations

from pathlib import Path

from hypernudge.errors import require
from hypernudge.results.plan import FILE as PLAN

FILE = "study.jsonl"


def is_kept_study(folder: Path) -> bool:
    """Whether a folder holds a study that `tune` keeps, and no results of `hypernudge run`."""
    return (folder / FILE).is_file() and not (folder / PLAN).exists()


def refuse_kept_study(folder: Path, argument: str, instead: str) -> None:
    """Refuse a kept study where results of `hypernudge run` are meant.

    Raises:
        InvalidArgumentError: With what to do instead.
    """
    rule = "must be results of `hypernudge run`"
    require(not is_kept_study(folder), argument, rule, f"the study in {folder}", instead)
