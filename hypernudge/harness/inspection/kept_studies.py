"""What `status`, `report`, `explain` and `doctor` say of a study that `tune(study=DIR)` keeps. Only read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, one_line, require
from hypernudge.harness.inspection.doctor import Finding
from hypernudge.pages.rendering import asset, content_security, markup, render
from hypernudge.results.files import abandoned, is_held, remove_unheld
from hypernudge.results.jsonio import plain
from hypernudge.results.reading import UnreadableError, read_text
from hypernudge.study.display import status as shown
from hypernudge.study.store import BEST, FILE, LOCK, TRIALS
from hypernudge.study.study import Study

TO_COMPARE = "to compare studies, write `Study.open(DIR).to_long_form()` of each into one CSV for `compare`"


def status_of(folder: Path) -> dict[str, Any]:
    """Return how far a study is.

    Returns:
        Trials by state and by the units that they have, the best unit, when the last report came on the
        study's clock, why it ended, and who is at work on it.

    Raises:
        InvalidArgumentError: If its file is damaged.
    """
    study = Study.open(folder)
    best = study._best_unit()
    reports = study.reports
    counts = Counter(shown(study, trial) for trial in study.trials)
    rungs = Counter(trial.units[-1].unit if trial.units else 0 for trial in study.trials)
    return {
        "study": str(folder),
        "of": repr(study).partition("\n")[0],
        "trials": dict(sorted(counts.items())),
        "trials_by_units": dict(sorted(rungs.items())),
        "best": None
        if best is None
        else {"trial": best[0], "unit": best[1].unit, "score": best[1].validation},
        "last_report_seconds": reports[-1].finished if reports else None,
        "ended": study.ended,
        "held_by": _holder(folder),
    }


def _holder(folder: Path) -> str | None:
    if not is_held(folder / LOCK):
        return None
    try:
        return one_line(read_text(folder / LOCK)) or "another process"
    except (UnreadableError, OSError):
        return "another process"


def status_text(found: dict[str, Any]) -> str:
    """Return `status_of` for people."""
    counts = ", ".join(f"{count} {status}" for status, count in found["trials"].items()) or "none yet"
    rungs = ", ".join(f"{count} after {units}" for units, count in found["trials_by_units"].items())
    lines = [found["of"], f"trials: {counts}", *([f"trials by units: {rungs}"] if rungs else [])]
    if found["best"] is not None:
        best = found["best"]
        lines.append(f"best: {best['score']:.6g}, trial {best['trial']}, unit {best['unit']}")
    if found["last_report_seconds"] is not None:
        lines.append(f"last report: at {found['last_report_seconds']:.6g} s on its clock")
    if found["ended"]:
        state = f"ended by its {found['ended']}"
    elif found["held_by"]:
        state = f"{found['held_by']} is at work on it"
    else:
        state = "nobody is at work on it; the script that began it goes on"
    return "\n  ".join([*lines, f"state: {state}"])


def text_of(folder: Path) -> str:
    """Return a study's summary for people."""
    return repr(Study.open(folder))


def page_of(folder: Path) -> str:
    """Return a study's summary and its best trials as a page of HTML."""
    study = Study.open(folder)
    return render(
        "study.html",
        title=f"Study in {folder}",
        policy=content_security(),
        style=markup(asset("page.css")),
        body=markup(study._repr_html_()),
    )


def explained(
    results_dir: Path, run_id: str | None = None, seed: int | None = None, trial: int | None = None
) -> list[dict[str, Any]]:
    """Return what happened to trials of a study, in the rows of `explain`.

    Effective rates are not in a study's file, so that `rate` and `z_started` are None.

    Raises:
        InvalidArgumentError: If it is damaged, or has no such trial; for a variation or a seed, which a study
            does not have.
    """
    for option, given in (("--run-id", run_id), ("--seed", seed)):
        require(given is None, option, "must be left out for a single study", given, "leave it out")
    study = Study.open(results_dir)
    count = len(study.trials)
    known = trial is None or 0 <= trial < count
    require(known, "--trial", f"must be one of the study's {count} trials", trial, "see `status`")
    rows: list[dict[str, Any]] = []
    for one in study.trials:
        if trial is not None and one.number != trial:
            continue
        nudge = one.nudge
        moved = {
            name: {"sampled": value, "nudged": one.config.get(name)}
            for name, value in one.sampled.items()
            if one.config.get(name) != value
        }
        row = {
            **{"run_id": results_dir.name, "seed": study.seed, "trial": one.number},
            **{"policy": nudge.policy, "changed": nudge.changed, "flagged": nudge.flagged},
            **{"reason": nudge.reason, "z": nudge.z, "flops": nudge.flops},
            **{"measurements": dict(nudge.measurements), "kind": nudge.kind},
            **{"z_started": None, "moved": moved, "rate": None},
            **{"units": len(one.units), "status": shown(study, one)},
        }
        rows.append(plain(row))
    return rows


def examined(results_dir: Path) -> list[Finding]:
    """Return what is to be said about a study's folder; nothing is changed."""
    found = []
    try:
        study = Study.open(results_dir)
    except (InvalidArgumentError, OSError) as error:
        found.append(Finding("damaged", FILE, one_line(error), "none"))
    else:
        best = study.kept.best_file() if study.kept is not None else None
        if best is not None and best.exists():
            try:
                study.best_weights()
            except ValueError as error:
                found.append(Finding("damaged", f"{BEST}/{best.name}", one_line(error), "none"))
        if _holder(results_dir) is not None:
            found.append(Finding("running", FILE, "a process is at work on it", "none"))
    for place in (results_dir, results_dir / BEST, results_dir / TRIALS):
        for path in abandoned(place):
            name = path.relative_to(results_dir).as_posix()
            found.append(Finding("left over", name, "a temporary of a process that died", "remove"))
    return found


def mended(results_dir: Path) -> list[Finding]:
    """Remove what dead processes left; return what was found, and what was done about it."""
    found = []
    for finding in examined(results_dir):
        removed = finding.fix == "remove" and remove_unheld(results_dir / finding.path)
        found.append(replace(finding, done="removed") if removed else finding)
    return found
