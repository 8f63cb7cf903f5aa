"""`hypernudge prior build` for any space: past studies of any source, joined in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hypernudge.errors import require
from hypernudge.harness.cells.described import Facts, facts_of, noted_probe
from hypernudge.harness.cells.provenance import provenance
from hypernudge.harness.inspection.past_sources import Reading, kind_of, read_past
from hypernudge.registry import REGISTRY
from hypernudge.results.plan import read_manifest
from hypernudge.results.records import Record, cell_path, description_of, read_record
from hypernudge.space import Categorical, HyperParameter, Integer, Real, SearchSpace
from hypernudge.warmstart.measurement.probe import MEDIAN_SCALE
from hypernudge.warmstart.past.file import PastFile, load
from hypernudge.warmstart.past.studies import ABSENT, PastStudy
from hypernudge.warmstart.past.transfer import Transfer, transfer

Features = Literal["probe", "space"]


def features_for(sources: Sequence[str], add_to: str | None) -> Features:
    """Return which features a prior is learned on where the user does not say.

    Those of the probe where the prior that is added to has them, or all sources are results directories whose
    first finished cell notes effective learning rates; those of the space otherwise.
    """
    if add_to is not None:
        return "probe" if load(add_to) is None else "space"
    if any(kind_of(source) != "results" for source in sources):
        return "space"
    return "probe" if any(_has_rates(Path(source)) for source in sources) else "space"


def _has_rates(directory: Path) -> bool:
    """Whether the first cell that is finished has effective learning rates; so where nothing was noted."""
    manifest = read_manifest(directory)
    for variation in manifest.variations:
        for seed in variation.seeds:
            path = cell_path(directory / variation.run_id, seed)
            try:
                record = read_record(path, manifest.planned(variation, seed))
                description = None if record is None else description_of(record, path)
            except ValueError:  # damaged: is said when it is read
                continue
            if record is None or not record["trials"]:
                continue
            facts = None if description is None else facts_of(description, len(record["trials"]))
            return facts is None or _can_be_probed(facts, record, variation.spec)
    return True


def _can_be_probed(facts: Facts, record: Record, spec: Mapping[str, Any]) -> bool:
    """Whether a cell has effective rates of a rule that is probed, and a probe or a built-in task for one."""
    rates = facts.optimizer in MEDIAN_SCALE and any(rate is not None for rate in facts.nudged)
    noted = noted_probe(record) is not None or facts.probe is not None
    return rates and (noted or spec.get("task", {}).get("name") in REGISTRY["task"])


def build_past(
    sources: Sequence[str],
    how: Reading | None = None,
    add_to: str | None = None,
    replace_tasks: bool = False,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> PastFile:
    """Return the studies of several sources, joined to those of another file.

    Args:
        sources: As `hypernudge.harness.inspection.past_sources` lists them.
        how: What the sources do not say themselves.
        add_to: A file of past studies, or the name of one that is shipped.
        replace_tasks: Whether a new task may take the place of one of `add_to` with its name.
        aliases: Names of hyper-parameters to others that a space may use for them.

    Raises:
        InvalidArgumentError: A source is none or is given twice, nothing could be learned, or `add_to` is a
            prior of another kind, or holds a task that may not be replaced.
    """
    given = [str(Path(source).resolve()) if "://" not in source else source for source in sources]
    once = len(set(given)) == len(given)
    require(once, "SOURCE", "must each be given once, or their trials count twice", list(sources), "drop one")
    known = PastFile(())
    if add_to is not None:
        loaded = load(add_to)
        remedy = "leave out --add-to, or build with --features probe"
        require(loaded is not None, "--add-to", "must be a prior of past studies", add_to, remedy)
        assert loaded is not None  # for the type checker
        known = loaded
    studies, rows = read_past(sources, how or Reading())
    new = {study.task for study in studies}
    both = sorted(study.task for study in known.studies if study.task in new)
    rule = f"must share no task with the prior it is added to, but both have {', '.join(both)}"
    remedy = "pass --replace to have the new ones in their place, or name the new ones by --task"
    require(replace_tasks or not both, "--add-to", rule, add_to, remedy)
    kept = tuple(study for study in known.studies if study.task not in new)
    origin = {"sources": rows, "added_to": add_to, **provenance()}
    named = {**known.aliases, **(aliases or {})}
    return replace(known, studies=(*kept, *studies), provenance=origin, aliases=named)


def summary(file: PastFile) -> list[dict[str, Any]]:
    """Return a row per task: what it holds, and how well the others foretell it."""
    found = on_own_space(file)
    return [
        {
            "task": study.task,
            "family": study.family,
            "configurations": len(study),
            "hyper_parameters": list(study.columns),
            "agreement": _rounded(found.agreement.get(study.task)),
        }
        for study in file.studies
    ]


def on_own_space(file: PastFile) -> Transfer:
    """Return what the studies say about the space that they span themselves."""
    return transfer(space_of(file.studies), file.studies, file.aliases)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def space_of(studies: Sequence[PastStudy]) -> SearchSpace:
    """Return a space that holds all that was tried; constants are left out, unless nothing else is there."""
    names = dict.fromkeys(name for study in studies for name in study.columns)
    found = [_parameter(name, studies) for name in names]
    some = [parameter for parameter in found if parameter is not None]
    return SearchSpace(some or [Categorical(next(iter(names), "nothing"), (0,))])


def _parameter(name: str, studies: Sequence[PastStudy]) -> HyperParameter | None:
    values = [v for study in studies for v in study.columns.get(name, ()) if v != ABSENT]
    numeric = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numeric) == len(values):
        low, high = float(np.min(numeric)), float(np.max(numeric))
        if not low < high:
            return None
        log = low > 0 and any(name in study.log for study in studies)
        if all(float(v).is_integer() for v in numeric):
            return Integer(name, int(low), int(high), log)
        return Real(name, low, high, log)
    different = {repr(value): value for value in values}
    return Categorical(name, tuple(different.values())) if len(different) > 1 else None
