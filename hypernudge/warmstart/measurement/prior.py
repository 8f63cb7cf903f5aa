"""The prior of `informed`: which configurations did well on other tasks, as a Gaussian over linear weights.

It is learned from sufficient statistics of finished studies, one row per task, and the file keeps those rows:
so a task's own family can be left out, and a user's own studies are added to the shipped ones by joining two
files. The file states how its tasks are pooled: by `pooling.pool`, or, as shipped ones, by the ridge
regression with which recorded studies ran.
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
from hypernudge.warmstart.measurement.pooling import pool

POOLED_RIDGE = 3.0
TASK_RIDGE = 8.0
SHIPPED = "shipped"
LANGUAGE = "language"
NONE = "none"
NAMED = {SHIPPED: "prior.json", LANGUAGE: "prior_language.json"}
"""Priors of learning rates that are shipped, by name: of tables, and with language models beside them."""
HIERARCHICAL, RIDGE = POOLINGS = "hierarchical", "ridge"


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
    """The contents of a prior's file: statistics by task, where they come from, and how they are pooled."""

    tasks: tuple[TaskStatistics, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    pooling: str = HIERARCHICAL

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
        return fit([task for task in left if task.optimizer == optimizer] or left, self.pooling)

    def dump(self, path: Path) -> None:
        """Write the file: JSON, one line per task."""
        head = {"format": 1, "pooling": self.pooling, "features": list(NAMES)}
        head["provenance"] = dict(self.provenance)
        rows = ",\n".join("  " + json.dumps(_row(task)) for task in self.tasks)
        write_text(path, json.dumps(head, indent=1)[:-2] + ',\n "tasks": [\n' + rows + "\n ]\n}\n")


def fit(tasks: Sequence[TaskStatistics], pooling: str = HIERARCHICAL) -> Prior:
    """Return what tasks say of the next one; the middle of the ranks is for its study to find out.

    Args:
        tasks: At least one.
        pooling: `"hierarchical"`, or `"ridge"`.
    """
    if pooling == RIDGE:
        return _ridge(tasks)
    mean, covariance = pool(np.array([t.a for t in tasks]), np.array([t.b for t in tasks]))
    covariance[0, 0] += 1.0
    return Prior(mean, covariance, tuple(t.task for t in tasks))


def _ridge(tasks: Sequence[TaskStatistics]) -> Prior:
    """Pooled ridge for the mean, and the second moment of each task's ridge residual for the covariance.

    It takes studies of one seed, which have the same configurations, for independent ones. Large studies bear
    that, small ones do not: shipped priors keep it, so that recorded studies stay what they are.
    """
    pooled = sum(t.a for t in tasks) + POOLED_RIDGE * np.eye(SIZE)
    mean = np.linalg.solve(pooled, sum(t.b for t in tasks))
    residuals = [np.linalg.solve(t.a + TASK_RIDGE * np.eye(SIZE), t.b - t.a @ mean) for t in tasks]
    covariance = sum(np.outer(r, r) for r in residuals) / len(tasks) + 0.01 * np.eye(SIZE)
    covariance[0, 0] += 1.0
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
        pooling = data.get("pooling", RIDGE)  # files without the word are of before it
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = ", ".join(f"'{known}'" for known in (*NAMED, NONE))
        remedy = f"{known}, or a file that `hypernudge prior build` wrote"
        raise InvalidArgumentError(f"prior: {name!r} must be readable, but: {error}; give {remedy}") from None
    require(ok, "prior", f"must have these features: {list(KNOTS)}", name, "build it again")
    require(pooling in POOLINGS, "prior", f"must be pooled by one of {POOLINGS}", pooling, "build it again")
    return PriorFile(tuple(rows), data.get("provenance", {}), pooling)


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
