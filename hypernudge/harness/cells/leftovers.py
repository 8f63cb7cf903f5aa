"""What killed processes leave in a results directory: temporaries, locks, logs of sealed cells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hypernudge.harness.cells.checkpoint import SUFFIX, remove_study
from hypernudge.results.files import LOCKS, abandoned, is_held, remove_unheld, temporary_of
from hypernudge.results.names import RESERVED

RUN_LOCK = ".run.lock"
"""Held, shared, by every run into a results directory."""
DRIVER_LOCK = ".driver.lock"
"""Held by the one run that submits jobs for it."""


def folders(results_dir: Path) -> Iterator[Path]:
    """Yield the folders that a run writes into; links are not followed, and others are not looked into."""
    yield results_dir
    for child in sorted(results_dir.iterdir()):
        if not child.is_dir() or child.is_symlink():
            continue
        cells = child / "cells"
        has_cells = cells.is_dir() and not cells.is_symlink()
        if has_cells or child.name in RESERVED:
            yield child
        if has_cells:
            yield cells


def is_occupied(results_dir: Path) -> bool:
    """Whether a directory holds anything but what a killed run had begun to write."""
    if not results_dir.is_dir():
        return False
    entries = results_dir.iterdir()
    ours = (RUN_LOCK, DRIVER_LOCK)
    return any(temporary_of(entry) is None and entry.name not in ours for entry in entries)


def of_dead(folder: Path) -> Iterator[Path]:
    """Yield what no live process holds: temporaries, locks, and logs of cells that have a record."""
    yield from abandoned(folder)
    if not LOCKS:
        return
    for path in (folder / RUN_LOCK, folder / DRIVER_LOCK, *sorted(folder.glob("seed-*.lock"))):
        if path.is_file() and not path.is_symlink() and not is_held(path):
            yield path
    for path in sorted(folder.glob("seed-*.partial.jsonl")):
        record = folder / path.name.replace(".partial.jsonl", ".json")
        # Whoever claims a cell that has a record opens no log: nobody can be writing this one.
        if record.is_file() and not is_held(record.with_suffix(".lock")):
            yield path
    for path in sorted(folder.glob(f"seed-*{SUFFIX}")):
        record = path.with_suffix(".json")
        if path.is_dir() and record.is_file() and not is_held(record.with_suffix(".lock")):
            yield path


def remove(path: Path) -> bool:
    """Remove a leftover unless it came into use; return whether it is gone."""
    if path.name.endswith(".partial.jsonl"):
        with contextlib.suppress(OSError):
            path.unlink()
        return not path.exists()
    if path.name.endswith(SUFFIX):
        return remove_study(path.with_suffix(".json"))
    return remove_unheld(path)


def sweep(folder: Path) -> list[Path]:
    """Remove what dead processes left in one folder; return what was removed."""
    return [path for path in of_dead(folder) if remove(path)] if folder.is_dir() else []
