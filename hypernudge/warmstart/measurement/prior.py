"""The prior of `informed`: which configurations did well on other tasks, as a Gaussian over linear weights.

It is learned from sufficient statistics of finished studies, one row per task, and the file keeps those rows:
so a task's own family can be left out, and a user's own studies are added to the shipped ones by joining two
files. Pooled ridge regression gives the mean; what single tasks deviate from it gives the covariance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.results.files import write_text
from hypernudge.warmstart.measurement.features import KNOTS, NAMES, SIZE

POOLED_RIDGE = 3.0
TASK_RIDGE = 8.0
SHIPPED = "shipped"
LANGUAGE = "language"
NONE = "none"
NAMED = {SHIPPED: "prior.json", LANGUAGE: "prior_language.json"}
"""Priors of learning rates that are shipped, by name: of tables, and with language models beside them."""


@dataclass(frozen=True)
class TaskStatistics:
    """What one task contributes: `a = Phi'Phi` `(SIZE, SIZE)`, `b = Phi'y` `(SIZE,)`, and its origin."""

    task: str
    family: str
    optimizer: str
    configurations: int
    scale: float  # mean log10 of the probe
    a: np.ndarray
    b: np.ndarray


@dataclass(frozen=True)
class Prior:
    """A Gaussian over the weights of `features`: mean `(SIZE,)` and covariance `(SIZE, SIZE)`."""

    mean: np.ndarray
    covariance: np.ndarray
    tasks: tuple[str, ...] = ()

    @cached_property
    def precision(self) -> np.ndarray:
        """The inverse of the covariance, `(SIZE, SIZE)`."""
        return np.linalg.inv(self.covariance)

    @cached_property
    def weighted_mean(self) -> np.ndarray:
        """`precision @ mean`, `(SIZE,)`."""
        found: np.ndarray = self.precision @ self.mean
        return found


@dataclass(frozen=True)
class PriorFile:
    """The contents of a prior's file: statistics by task, and where they come from."""

    tasks: tuple[TaskStatistics, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def prior(self, exclude_families: Sequence[str] = (), optimizer: str = "SGD") -> Prior:
        """Fit the prior to the tasks of `optimizer` whose family is not in `exclude_families`.

        A rule that no task was trained with borrows the prior of the others: rates are seen from the probe,
        which is along that rule's own direction.

        Raises:
            InvalidArgumentError: If no task is left.
        """
        left = [task for task in self.tasks if task.family not in exclude_families]
        remedy = f"the file holds {sorted({t.family for t in self.tasks})}; choose another prior, or 'none'"
        require(bool(left), "prior", "needs a family that is not left out", list(exclude_families), remedy)
        return fit([task for task in left if task.optimizer == optimizer] or left)

    def dump(self, path: Path) -> None:
        """Write the file: JSON, one line per task."""
        head = {"format": 1, "features": list(NAMES), "provenance": dict(self.provenance)}
        rows = ",\n".join("  " + json.dumps(_row(task)) for task in self.tasks)
        write_text(path, json.dumps(head, indent=1)[:-2] + ',\n "tasks": [\n' + rows + "\n ]\n}\n")


def fit(tasks: Sequence[TaskStatistics]) -> Prior:
    """Pooled ridge for the mean, and the second moment of each task's ridge residual for the covariance."""
    pooled = sum(t.a for t in tasks) + POOLED_RIDGE * np.eye(SIZE)
    mean = np.linalg.solve(pooled, sum(t.b for t in tasks))
    residuals = [np.linalg.solve(t.a + TASK_RIDGE * np.eye(SIZE), t.b - t.a @ mean) for t in tasks]
    covariance = sum(np.outer(r, r) for r in residuals) / len(tasks) + 0.01 * np.eye(SIZE)
    covariance[0, 0] += 1.0  # where the middle of the ranks lies is for the study to find out
    return Prior(mean, covariance, tuple(t.task for t in tasks))


@lru_cache(maxsize=1)
def flat() -> Prior:
    """The prior that knows nothing: mean zero, independent weights."""
    return Prior(np.zeros(SIZE), 0.25 * np.eye(SIZE) + np.diag([1.0, *np.zeros(SIZE - 1)]))


@lru_cache(maxsize=8)
def load(name: str) -> PriorFile:
    """Read a prior's file: one of `NAMED`, or a path.

    Raises:
        InvalidArgumentError: If it does not exist, or is not such a file.
    """
    source = files("hypernudge.warmstart") / NAMED[name] if name in NAMED else Path(name)
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
        ok = data["format"] == 1 and data["features"] == list(NAMES)
        rows = [_statistics(row) for row in data["tasks"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = ", ".join(f"'{known}'" for known in (*NAMED, NONE))
        remedy = f"{known}, or a file that `hypernudge prior build` wrote"
        raise InvalidArgumentError(f"prior: {name!r} must be readable, but: {error}; give {remedy}") from None
    require(ok, "prior", f"must have these features: {list(KNOTS)}", name, "build it again")
    return PriorFile(tuple(rows), data.get("provenance", {}))


@lru_cache(maxsize=64)
def fitted(name: str, exclude_families: tuple[str, ...], optimizer: str) -> Prior:
    """Read a prior's file and fit it without some families; remembered.

    Raises:
        InvalidArgumentError: As `load` and `PriorFile.prior`.
    """
    return load(name).prior(exclude_families, optimizer)


def _row(task: TaskStatistics) -> dict[str, Any]:
    upper = task.a[np.triu_indices(SIZE)]
    return {
        "task": task.task,
        "family": task.family,
        "optimizer": task.optimizer,
        "configurations": task.configurations,
        "scale": round(task.scale, 4),
        "b": [float(f"{value:.5g}") for value in task.b],
        "a": [float(f"{value:.5g}") for value in upper],
    }


def _statistics(row: Mapping[str, Any]) -> TaskStatistics:
    a = np.zeros((SIZE, SIZE))
    a[np.triu_indices(SIZE)] = row["a"]
    a = a + np.triu(a, 1).T
    b = np.array(row["b"], dtype=float)
    require(b.shape == (SIZE,), "prior", f"b must have {SIZE} entries", len(b), "build it again")
    of = str(row["task"]), str(row["family"]), str(row["optimizer"])
    return TaskStatistics(*of, int(row["configurations"]), float(row["scale"]), a, b)
