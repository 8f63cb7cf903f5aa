"""`hypernudge doctor DIR`: what in a results directory is damaged, foreign, missing or left over; `--fix`.

Looking changes nothing, builds nothing and follows no link. Fixing removes what dead processes left, corrects
modes, and moves what is not believed to `DIR/quarantine`, where the same paths are kept: `run` then computes
those cells again. No record is ever deleted. While a run is at work in DIR, nothing is fixed.
"""

from __future__ import annotations

import contextlib
import itertools
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hypernudge.errors import require
from hypernudge.harness.cells.checkpoint import SUFFIX
from hypernudge.harness.cells.leftovers import RUN_LOCK, folders, of_dead, remove
from hypernudge.results import deviations
from hypernudge.results.attempts import failures
from hypernudge.results.files import is_held, lock, temporary_of
from hypernudge.results.names import RESERVED
from hypernudge.results.plan import EVALUATION, FILE, Manifest, ResultsError, Variation, read_manifest
from hypernudge.results.printable import abridged, counted
from hypernudge.results.reading import UnreadableError, check_output, read_json
from hypernudge.results.records import DamagedRecordError, cell_path, read_record

Kind = Literal["damaged", "foreign", "left over", "mode", "missing", "running"]
Fix = Literal["quarantine", "remove", "mode", "none"]
QUARANTINE = "quarantine"
WORK_IN_PROGRESS = ("missing", "running")
"""Kinds that are no fault: a study may be unfinished."""


@dataclass(frozen=True)
class Finding:
    """Something about one file, or about the missing cells of a variation.

    Attributes:
        kind: damaged (not what it should be), foreign (whole, but not of this study), left over (by dead
            processes), mode (others who may read the folder may not read the file), missing, running.
        path: Relative to the directory.
        rule: What is the matter.
        fix: What `--fix` does about it.
        done: What was done about it; empty where nothing was.
        cells: How many cells are missing.
    """

    kind: Kind
    path: str
    rule: str
    fix: Fix
    done: str = ""
    cells: int = 0

    @property
    def is_fault(self) -> bool:
        """Whether the directory is not healthy for it."""
        return self.kind not in WORK_IN_PROGRESS and not self.done


def examine(results_dir: Path) -> list[Finding]:
    """Return what is to be said about a results directory, by path; nothing is changed.

    Raises:
        InvalidArgumentError: If it is no directory.
    """
    require(results_dir.is_dir(), "DIR", "must be a directory", str(results_dir), "give a results directory")
    found: list[Finding] = []
    try:
        manifest = read_manifest(results_dir)
    except ResultsError as error:
        rule = str(error) if (results_dir / FILE).exists() else "there is no plan, so no cell can be judged"
        found.append(Finding("damaged", FILE, rule, "none"))
    else:
        found += _plan(manifest)
        for variation in manifest.variations:
            found += _variation(results_dir, manifest, variation)
        found += _unplanned(results_dir, {variation.run_id for variation in manifest.variations})
    found += _json(results_dir, results_dir / EVALUATION)
    for folder in folders(results_dir):
        found += _left(results_dir, folder)
        found += _modes(results_dir, folder)
    return sorted(set(found), key=lambda finding: (finding.path, finding.kind, finding.rule))


def is_live(results_dir: Path) -> bool:
    """Whether a run is at work in a directory."""
    locks = itertools.chain([results_dir / RUN_LOCK], results_dir.glob("*/cells/*.lock"))
    return any(is_held(path) for path in locks)


def fix(results_dir: Path) -> list[Finding]:
    """Do what is safe; return what was found, and what was done about it.

    Raises:
        InvalidArgumentError: If a run is at work in the directory, or `quarantine` in it is a link.
    """
    rule, remedy = "must have no run at work in it to be fixed", "wait for it, or end it"
    require(results_dir.is_dir(), "DIR", "must be a directory", str(results_dir), "give a results directory")
    require(not is_live(results_dir), "DIR", rule, str(results_dir), remedy)
    check_output(results_dir / QUARANTINE / "any", results_dir)
    with lock(results_dir / RUN_LOCK, wait=False) as mine:  # a run that starts now waits for us
        require(mine, "DIR", rule, str(results_dir), remedy)
        found = [f for f in examine(results_dir) if f.path != RUN_LOCK]
        return [_fixed(results_dir, finding) for finding in found]


def _fixed(results_dir: Path, finding: Finding) -> Finding:
    path = results_dir / finding.path
    done = ""
    with contextlib.suppress(OSError):
        if finding.fix == "quarantine":
            target = _free(results_dir / QUARANTINE / finding.path)
            check_output(target, results_dir).parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            done = f"moved to {target.relative_to(results_dir).as_posix()}"
        elif finding.fix == "remove" and remove(path):
            done = "removed"
        elif finding.fix == "mode" and not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | _readable(path))
            done = "corrected"
    return Finding(finding.kind, finding.path, finding.rule, finding.fix, done)


def _free(path: Path) -> Path:
    """Return a path where nothing is: `path`, or with a number behind it."""
    names = itertools.chain([path.name], (f"{path.name}.{number}" for number in itertools.count(1)))
    return next(p for name in names if not ((p := path.with_name(name)).exists() or p.is_symlink()))


def _plan(manifest: Manifest) -> Iterator[Finding]:
    if manifest.is_changed:
        yield Finding("damaged", FILE, "it was changed after it was hashed: its hash differs", "none")
    for deviation in deviations.read_deviations(manifest.results_dir):
        if deviation.entry is None:
            rule = f"line {deviation.line} is unreadable: {deviation.why}"
            yield Finding("damaged", deviations.FILE, rule, "none")


def _variation(results_dir: Path, manifest: Manifest, variation: Variation) -> Iterator[Finding]:
    run_dir = results_dir / variation.run_id
    cells = run_dir / "cells"
    for folder in (run_dir, cells):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            rule = "it is a link, which is not followed" if folder.is_symlink() else "it must be a folder"
            yield Finding("foreign", _relative(folder, results_dir), rule, "quarantine")
            return
    failed = failures(run_dir)
    planned = set()
    missing: dict[str, list[int]] = {}
    for seed in variation.seeds:
        path = cell_path(run_dir, seed)
        planned.add(path.name)
        where = _relative(path, results_dir)
        if path.is_symlink():
            yield Finding("foreign", where, "it is a link, which is not followed", "quarantine")
            continue
        try:
            record = read_record(path, manifest.planned(variation, seed))
        except DamagedRecordError as error:
            yield Finding("foreign" if error.foreign else "damaged", where, error.rule, "quarantine")
            continue
        if record is None and is_held(path.with_suffix(".lock")):
            yield Finding("running", where, "a process is computing it", "none")
        elif record is None:
            why = f"no record: {failed[seed]}" if seed in failed else "no record yet"
            missing.setdefault(why, []).append(seed)
    for why, seeds in missing.items():  # one line, not hundreds
        rule = f"{len(seeds)} of {counted(len(variation.seeds), 'cell')}, seeds {abridged(seeds)}: {why}"
        yield Finding("missing", _relative(cells, results_dir), rule, "none", cells=len(seeds))
    yield from _strangers(results_dir, cells, planned)
    yield from _json(results_dir, run_dir / "results.json")


def _strangers(results_dir: Path, cells: Path, planned: set[str]) -> Iterator[Finding]:
    """Yield what in a folder of cells is neither a planned record nor beside one."""
    stems = {name.removesuffix(".json") for name in planned}
    for path in sorted(cells.iterdir()) if cells.is_dir() else ():
        beside = path.name.removesuffix(".lock").removesuffix(".partial.jsonl").removesuffix(SUFFIX)
        if path.name in planned or temporary_of(path) or (beside != path.name and beside in stems):
            continue
        yield Finding("foreign", _relative(path, results_dir), "the plan has no such cell", "quarantine")


def _unplanned(results_dir: Path, run_ids: set[str]) -> Iterator[Finding]:
    for child in sorted(results_dir.iterdir()):
        if child.name in run_ids or child.name in RESERVED or child.is_symlink():
            continue
        if (child / "cells").is_dir():
            yield Finding("foreign", child.name, "the plan has no such variation", "quarantine")


def _json(results_dir: Path, path: Path) -> Iterator[Finding]:
    """Yield a file of results that is made from the records, where it is none: it is written again."""
    try:
        ok = isinstance(read_json(path), dict)
        rule = "it must hold an object"
    except FileNotFoundError:
        return
    except UnreadableError as error:
        ok, rule = False, str(error)
    if not ok:
        yield Finding("damaged", _relative(path, results_dir), rule, "quarantine")


def _left(results_dir: Path, folder: Path) -> Iterator[Finding]:
    for path in of_dead(folder):
        kinds = {".lock": "a lock", SUFFIX: "the checkpoint"}
        what = "a temporary" if temporary_of(path) else kinds.get(path.suffix, "a log")
        where = _relative(path, results_dir)
        yield Finding("left over", where, f"{what} of a process that is dead", "remove")
    if folder.name != "cells":
        return
    for path in sorted(folder.glob("seed-*.partial.jsonl")):
        record = folder / path.name.replace(".partial.jsonl", ".json")
        live = is_held(record.with_suffix(".lock"))
        if not record.exists() and not live and path.is_file() and not path.is_symlink():
            where = _relative(path, results_dir)
            yield Finding("left over", where, "the log of a cell that was interrupted", "remove")


def _modes(results_dir: Path, folder: Path) -> Iterator[Finding]:
    for path in sorted(itertools.chain(folder.glob("*.json"), folder.glob("*.jsonl"))):
        if path.is_symlink() or not path.is_file() or path.name.endswith(".partial.jsonl"):
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if _readable(path) & ~mode:
            rule = f"mode {mode:04o}: whoever may list its folder should be able to read it"
            yield Finding("mode", _relative(path, results_dir), rule, "mode")


def _readable(path: Path) -> int:
    """Return the bits of reading that the folder of a file grants."""
    return stat.S_IMODE(path.parent.stat().st_mode) & 0o444


def _relative(path: Path, results_dir: Path) -> str:
    return path.relative_to(results_dir).as_posix()


def as_dict(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return findings as plain data, with whether the directory is healthy."""
    listed = list(findings)
    return {"healthy": not any(f.is_fault for f in listed), "findings": [asdict(f) for f in listed]}
