"""`deviations.jsonl`: what was run otherwise than planned, on record, and with which configurations."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.results.digests import plan_digest
from hypernudge.results.reading import UnreadableError, parse_json, read_text

FILE = "deviations.jsonl"


@dataclass(frozen=True)
class Deviation:
    """One line of the file.

    Attributes:
        line: Its number, from 1.
        entry: What it says; None where it cannot be read.
        why: Why it cannot be read.
    """

    line: int
    entry: Mapping[str, Any] | None
    why: str = ""


def read_deviations(results_dir: Path) -> Iterator[Deviation]:
    """Yield the recorded deviations of a results directory; nothing where there are none."""
    try:
        text = read_text(results_dir / FILE)
    except FileNotFoundError:
        return
    except UnreadableError as error:
        yield Deviation(1, None, str(error))
        return
    for number, line in enumerate(text.splitlines(), 1):
        try:
            yield Deviation(number, _checked(parse_json(line)))
        except UnreadableError as error:
            yield Deviation(number, None, str(error))


def _checked(entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise UnreadableError("must be an object")
    changes: Any = entry.get("changes")
    listed = isinstance(changes, list) and all(isinstance(change, dict) for change in changes)
    if not listed or any(not isinstance(change.get("path"), str) for change in changes):
        raise UnreadableError("changes must list what was changed, each with its path")
    if not isinstance(entry.get("reason"), str):
        raise UnreadableError("must have a reason")
    return entry


def deviating_specs(
    results_dir: Path, planned: Mapping[str, Any]
) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Return, by run id, the configurations of runs that were recorded as deviations.

    The changes of an entry are applied to the plan, and believed if the hash that it recorded comes out.
    """
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    variations = planned["variations"]
    specs = {
        run_id: entry["spec"]
        for run_id, entry in variations.items()
        if isinstance(entry, dict) and isinstance(entry.get("spec"), dict)
    }
    if len(specs) != len(variations):
        return found
    for deviation in read_deviations(results_dir):
        if deviation.entry is None:
            continue
        run = _applied({"variations": specs, "evidence": planned.get("evidence", {})}, deviation.entry)
        if plan_digest(run["variations"], run["evidence"]) != deviation.entry.get("to_hash"):
            continue
        for run_id, spec in run["variations"].items():
            if spec != specs.get(run_id):
                found[run_id] = (*found.get(run_id, ()), spec)
    return found


def _applied(plan: dict[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan with the changes made: leaves by dotted path, null for one that went."""
    result: dict[str, Any] = copy.deepcopy(plan)
    ids = sorted(result["variations"], key=len, reverse=True)  # run ids may have dots in them
    for change in entry["changes"]:
        head, _, rest = change["path"].partition(".")
        keys = [head, *rest.split(".")] if rest else [head]
        if head == "variations":
            run_id = next((name for name in ids if rest == name or rest.startswith(f"{name}.")), None)
            if run_id is not None:
                below = rest[len(run_id) + 1 :]
                keys = [head, run_id, *(below.split(".") if below else [])]
        _set(result, keys, change.get("run"))
    return result


def _set(plan: dict[str, Any], keys: list[str], value: Any) -> None:
    nodes = [plan]
    for key in keys[:-1]:
        below = nodes[-1].get(key)
        if not isinstance(below, dict):
            below = nodes[-1][key] = {}
        nodes.append(below)
    if value is not None:
        nodes[-1][keys[-1]] = value
        return
    nodes[-1].pop(keys[-1], None)
    for node, key in zip(reversed(nodes[:-1]), reversed(keys[:-1]), strict=True):
        if node[key]:
            break
        del node[key]
