"""The file of past studies: JSON, one line per task, so that families can be left out and files be joined."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import require
from hypernudge.results.files import write_text
from hypernudge.space import SearchSpace
from hypernudge.warmstart.past.studies import ABSENT, SHARES, PastStudy
from hypernudge.warmstart.past.transfer import Transfer, features_of, transfer
from hypernudge.warmstart.prior_files import (
    NONE,
    OF_RATES,
    STUDIES_FORMAT,
    Version,
    contents,
    require_once,
    unreadable,
    version_of,
)


@dataclass(frozen=True, eq=False)
class PastFile:
    """Past studies, and where they come from.

    Attributes:
        studies: One per task.
        provenance: Of the file.
        aliases: Names of hyper-parameters to others that a space may use for them.
    """

    studies: tuple[PastStudy, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def without(self, families: Sequence[str]) -> tuple[PastStudy, ...]:
        """Return the studies whose family is not among `families`.

        Raises:
            InvalidArgumentError: If there are studies, and none is left.
        """
        left = tuple(study for study in self.studies if study.family not in families)
        known = sorted({study.family for study in self.studies})
        remedy = f"the file holds {known}; choose another prior, 'none', or include_own_family=True"
        ok = bool(left) or not self.studies
        require(ok, "prior", "needs a family that is not left out", list(families), remedy)
        return left

    def dump(self, path: Path) -> None:
        """Write the file."""
        head = {"format": STUDIES_FORMAT, "shares": [round(share, 6) for share in SHARES]}
        head |= {"aliases": {name: list(other) for name, other in self.aliases.items()}}
        head |= {"provenance": dict(self.provenance)}
        rows = ",\n".join("  " + json.dumps(_row(study), allow_nan=False) for study in self.studies)
        write_text(path, json.dumps(head, indent=1)[:-2] + ',\n "studies": [\n' + rows + "\n ]\n}\n")


def _row(study: PastStudy) -> dict[str, Any]:
    columns = {
        name: [None if value is ABSENT or value == ABSENT else _short(value) for value in column]
        for name, column in study.columns.items()
    }
    nothing = {
        name: [i for i, value in enumerate(column) if value is None]
        for name, column in study.columns.items()
        if any(value is None for value in column)
    }
    row: dict[str, Any] = {"task": study.task, "family": study.family, "log": list(study.log)}
    if nothing:  # None is a value, and no value at all is none
        row["none"] = nothing
    return row | {"columns": columns, "scores": [[round(float(v), 3) for v in at] for at in study.scores]}


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def load(name: str, version: Version | None = None) -> PastFile | None:
    """Read a file of past studies: a shipped one by name, or a path; None for a prior of another kind.

    Args:
        name: Of the prior. What is read is remembered until it is written anew.
        version: What `version_of` said when it was read first, for a study that keeps what it began with.

    Raises:
        InvalidArgumentError: If it cannot be read, or is not such a file.
    """
    if name in OF_RATES or name == NONE:
        return None
    return _load(name, version_of(name) if version is None else version)


@lru_cache(maxsize=8)
def _load(name: str, version: Version) -> PastFile | None:
    del version
    data = contents(name)
    if data["format"] != STUDIES_FORMAT:
        return None
    try:
        studies = tuple(_study(row) for row in data["studies"])
        aliases = {str(known): tuple(map(str, other)) for known, other in data.get("aliases", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise unreadable(name, error) from None
    require_once(name, [study.task for study in studies])
    return PastFile(studies, data.get("provenance", {}), aliases)


def _study(row: Mapping[str, Any]) -> PastStudy:
    scores = np.array(row["scores"], dtype=float)
    nothing = {name: set(places) for name, places in row.get("none", {}).items()}
    columns = {
        name: tuple(
            ABSENT if value is None and place not in nothing.get(name, ()) else value
            for place, value in enumerate(column)
        )
        for name, column in row["columns"].items()
    }
    fits = scores.ndim == 2 and len(scores) == len(SHARES) and bool(np.isfinite(scores).all())
    if not fits or any(len(column) != scores.shape[1] for column in columns.values()):
        raise ValueError(f"the columns of {row['task']!r} do not fit its scores")
    strange = [name for name, column in columns.items() if any(map(_not_finite, column))]
    if strange:
        raise ValueError(f"the values of {row['task']!r} under {strange} must be finite")
    return PastStudy(str(row["task"]), str(row["family"]), columns, scores, tuple(map(str, row["log"])))


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def transferred(
    name: str, exclude_families: tuple[str, ...], space: SearchSpace, version: Version | None = None
) -> Transfer:
    """Return what a file of past studies says about a space; remembered as by `load`.

    Raises:
        InvalidArgumentError: As `load` and `PastFile.without`; or the past shares no hyper-parameter with the
            space.
    """
    version = version_of(name) if version is None else version
    return _transferred(name, version, exclude_families, space)


@lru_cache(maxsize=16)
def _transferred(
    name: str, version: Version, exclude_families: tuple[str, ...], space: SearchSpace
) -> Transfer:
    file = load(name, version)
    assert file is not None  # the caller has asked
    studies = file.without(exclude_families)
    if studies:
        ours = sorted({name for study in studies for name in study.columns})
        some = bool(features_of(space, studies, file.aliases).axes)
        rule = f"must know a hyper-parameter of the space, {list(space.names)}"
        remedy = "pass names= where a tool's space has other names, choose another prior, or 'none'"
        require(some, "prior", rule, ours, remedy)
    return transfer(space, studies, file.aliases)
