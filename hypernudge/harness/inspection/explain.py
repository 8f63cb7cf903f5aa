"""Why a trial was started as it was: read from the records, one row per trial; nothing is imported."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.cells.described import facts_of, kinds_of, rates_of, rebuilt_rule
from hypernudge.results.plan import Manifest, Variation, read_manifest
from hypernudge.results.printable import printable
from hypernudge.results.reading import check_output
from hypernudge.results.records import (
    DamagedRecordError,
    Record,
    cell_path,
    description_of,
    read_record,
)
from hypernudge.study.results import shown_status

Rates = list[tuple[float | None, float | None]]


def explanations(
    results_dir: Path, run_id: str | None = None, seed: int | None = None, trial: int | None = None
) -> list[dict[str, Any]]:
    """Return what happened to trials: sampled and nudged values that differ, `z`, reason, its kind, cost.

    Args:
        results_dir: Results of `hypernudge run`.
        run_id: A variation; all with a warm start if absent.
        seed: A cell; the first one that has a record if absent.
        trial: A trial's number; all if absent.

    Returns:
        One row per trial. Its `z` is the sampled configuration's, `z_started` the trained one's. Its `rate`,
        `log10` of the effective learning rates (sampled, started), is None where nobody noted it and the
        optimizer is not registered by name.

    Raises:
        InvalidArgumentError: If there is no such experiment, variation, record or trial.
    """
    manifest = read_manifest(results_dir)
    rows: list[dict[str, Any]] = []
    for variation in _chosen(manifest, run_id):
        for number in _seeds(variation, seed):
            found = _cell(manifest, variation, number)
            if found is not None:
                rows += [row for row in found if trial is None or row["trial"] == trial]
                break
    rule = "needs a finished cell" + (" that holds this trial" if trial is not None else "")
    asked = {"--run-id": run_id, "--seed": seed, "--trial": trial}
    given = " ".join(f"{option} {value}" for option, value in asked.items() if value is not None)
    if not rows:
        asked_for = given or results_dir
        raise InvalidArgumentError(f"explain: {rule}, but got none for {asked_for}; see `status`")
    return rows


def _chosen(manifest: Manifest, run_id: str | None) -> Iterator[Variation]:
    if run_id is not None:
        yield manifest[run_id]
        return
    baseline = manifest.evidence.get("baseline", "none") if isinstance(manifest.evidence, dict) else "none"
    for variation in manifest.variations:
        policy = variation.spec.get("warm_start")
        unchanged = (
            policy.get("name") == "none" if isinstance(policy, dict) else variation.warm_start == baseline
        )
        if not unchanged:
            yield variation


def _seeds(variation: Variation, seed: int | None) -> tuple[int, ...]:
    if seed is None:
        return variation.seeds
    if seed not in variation.seeds:
        raise InvalidArgumentError(
            f"--seed: must be one of {variation.run_id}'s {list(variation.seeds)}, but got {seed}; choose one"
        )
    return (seed,)


def _cell(manifest: Manifest, variation: Variation, seed: int) -> list[dict[str, Any]] | None:
    """Return the rows of a cell, None where it has no record that can be believed."""
    path = cell_path(manifest.results_dir / variation.run_id, seed)
    try:
        record = read_record(path, manifest.planned(variation, seed))
        if record is None:
            return None
        description = description_of(record, path)
        rates = _rates(manifest, variation, record, description)
        rows = zip(record["trials"], kinds_of(record, description), rates, strict=True)
        longest = record["declared"].get("max_units")
        longest = longest if isinstance(longest, int) else None
        return [_row(record["cell"], trial, kind, rate, path, longest) for trial, kind, rate in rows]
    except DamagedRecordError as error:
        say(f"left out: {error}")
        return None


def _rates(
    manifest: Manifest, variation: Variation, record: Record, description: Mapping[str, Any] | None
) -> Rates:
    facts = facts_of(description, len(record["trials"])) if description is not None else None
    if facts is not None:
        return list(zip(facts.sampled, facts.nudged, strict=True))
    spec = manifest.spec_of(variation, record)
    try:
        require(spec is not None, "plan.json", "must hold its configuration", variation.run_id, "run it anew")
        found = rates_of(record, rebuilt_rule(spec or {}))
    except (InvalidArgumentError, KeyError, TypeError, AttributeError) as error:
        remedy = "run the cell again with this version to have them noted"
        say(f"{variation.run_id}: without effective rates, which its records do not hold: {error}; {remedy}")
        return [(None, None)] * len(record["trials"])
    return list(zip(found["sampled"], found["nudged"], strict=True))


def say(line: str) -> None:
    """Print one line on stderr, whatever is in it."""
    sys.stderr.write(printable(" ".join(line.split())) + "\n")


def draw_cells(rows: list[dict[str, Any]], directory: Path, results_dir: Path) -> list[Path]:
    """Draw the trials of each cell in `rows` into `directory`; return the files.

    Raises:
        InvalidArgumentError: No trial has effective rates to draw, or `directory` lies in `results_dir` and
            leads out of it by a link.
    """
    from hypernudge.evidence.figures import decisions
    from hypernudge.plotting import style

    cells: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        if row["rate"] is not None:
            cells.setdefault((row["run_id"], row["seed"]), []).append(row)
    require(
        bool(cells), "--figures", "needs effective rates", "none", "run the cell again to have them noted"
    )
    written = []
    for (run_id, seed), own in cells.items():
        with style.context():
            name = f"{style.file_name('decisions', run_id, f'seed{seed}')}.pdf"
            path = check_output(directory / name, results_dir)
            style.save(decisions.draw(own, f"{run_id}, seed {seed}"), path)
        written.append(path)
    return written


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "policy": str,
    "changed": bool,
    "flagged": bool,
    "reason": str,
    "z": (int, float, type(None)),
    "flops": (int, float),
    "measurements": dict,
}


def _row(
    cell: Mapping[str, Any],
    trial: Mapping[str, Any],
    kind: str,
    rate: tuple[float | None, float | None],
    path: Path,
    longest: int | None,
) -> dict[str, Any]:
    nudge = trial.get("nudge") or {}
    for key, expected in _FIELDS.items():
        if key not in nudge or not isinstance(nudge[key], expected):
            raise DamagedRecordError(
                path, f"trial {trial['trial']}: nudge.{key} is missing or of another type"
            )
    moved = {
        name: {"sampled": value, "nudged": trial["nudged"].get(name)}
        for name, value in trial["sampled"].items()
        if trial["nudged"].get(name) != value
    }
    identity = {"run_id": cell["run_id"], "seed": cell["seed"], "trial": trial["trial"]}
    before, after = rate
    known = None if before is None or after is None else [before, after]
    why = {**{key: nudge[key] for key in _FIELDS}, "kind": kind}
    fate = {"units": trial["units"], "status": shown_status(trial["status"], trial["units"], longest)}
    started = None if known is None or nudge["z"] is None else nudge["z"] + known[1] - known[0]
    return {**identity, **why, "z_started": started, "moved": moved, "rate": known, **fate}


def sentence(row: dict[str, Any]) -> str:
    """Return one row for people."""
    moves = ", ".join(f"{name} {_move(m['sampled'], m['nudged'])}" for name, m in row["moved"].items())
    why = _whose(row["reason"], row) or ("" if row["moved"] else "left as sampled")
    units = "1 unit" if row["units"] == 1 else f"{row['units']} units"
    flag = " [flagged]" if row["flagged"] else ""
    return printable(
        f"{row['run_id']} seed {row['seed']} trial {row['trial']}: {why}{flag}"
        f"{'; ' + moves if moves else ''}; then {units}, {row['status']}"
    )


def _whose(reason: str, row: Mapping[str, Any]) -> str:
    """Return a reason in which every z says whose it is: the sampled configuration's or the started one's.

    What was drawn may lie outside the space; then the trial started at its edge.
    """
    sampled, started = row["z"], row["z_started"]
    if sampled is None:
        return reason

    def named(match: re.Match[str]) -> str:
        if not match[1]:
            return f"sampled z = {match[2]}"
        reached = started is None or abs(float(match[2]) - started) < 0.0051
        return f"at {'started' if reached else 'drawn'} z = {match[2]}"

    text = _Z.sub(named, reason)
    others = [
        f"{whose} z = {z:.2f}"
        for whose, z in (("sampled", sampled), ("started", started))
        if z is not None and f"{whose} z" not in text and (whose == "sampled" or row["moved"])
    ]
    return " ".join(filter(None, [text, f"({', '.join(others)})" if others else ""]))


_Z = re.compile(r"\b(at )?z = (-?\d+\.\d+)")
"""As the policies write it: `z = -2.30 is below -1.25: redrawn at z = -0.77`."""

LEGEND = "z: decades from its policy's centre to an effective learning rate; below 0 is slower"


def _move(before: Any, after: Any) -> str:
    """Return both values, with as many digits as show the size of the change."""
    if not (isinstance(before, float) and isinstance(after, float) and math.isfinite(before - after)):
        return f"{_short(before)} -> {_short(after)}"
    larger, change = max(abs(before), abs(after)), abs(after - before)
    # Two digits of the change itself, and never less than three of the value.
    places = math.floor(math.log10(larger)) - math.floor(math.log10(change)) if change > 0 else math.inf
    digits = int(min(max(3, places + 2), 17))
    return f"{_plain(before, digits)} -> {_plain(after, digits)}"


def _plain(value: float, digits: int) -> str:
    return f"{value:#.{digits}g}".removesuffix(".")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
