"""The prior of `informed`: which configurations did well on other tasks, as a Gaussian over linear weights.

It is learned from sufficient statistics of finished studies, one row per task, and the file keeps those rows:
so a task's own family can be left out, and a user's own studies are added to the shipped ones by joining two
files. The file states how its tasks are pooled: by `pooling.pool`, or, as `tables` and `language`, by the
ridge regression with which recorded studies ran.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require, unknown_name
from hypernudge.results.files import write_text
from hypernudge.warmstart.measurement.features import KNOTS, NAMES, SIZE
from hypernudge.warmstart.measurement.pooling import pool
from hypernudge.warmstart.prior_files import (
    BUILD_AGAIN,
    OF_RATES,
    RATES_FORMAT,
    Version,
    contents,
    require_once,
    unreadable,
    version_of,
)
from hypernudge.warmstart.prior_files import LANGUAGE as LANGUAGE
from hypernudge.warmstart.prior_files import NONE as NONE
from hypernudge.warmstart.prior_files import SHIPPED as SHIPPED
from hypernudge.warmstart.prior_files import TABLES as TABLES

POOLED_RIDGE = 3.0
TASK_RIDGE = 8.0
BORROWED = "SGD"  # whose rows speak for a rule that has none of its own
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

        A rule that no task was trained with borrows the prior of SGD, or of all where no task was trained by
        SGD either: rates are seen from the probe, which is along that rule's own direction.

        Raises:
            InvalidArgumentError: If no task is left.
        """
        left = self.without(exclude_families)
        of = (self.of(rule, exclude_families) for rule in (optimizer, BORROWED))
        return fit(next((found for found in of if found), left), self.pooling)

    def without(self, exclude_families: Sequence[str]) -> list[TaskStatistics]:
        """Return the tasks whose family is not left out.

        Raises:
            InvalidArgumentError: If there is none.
        """
        left = [task for task in self.tasks if task.family not in exclude_families]
        remedy = f"the file holds {sorted({t.family for t in self.tasks})}; choose another prior, or 'none'"
        require(bool(left), "prior", "needs a family that is not left out", list(exclude_families), remedy)
        return left

    def of(self, optimizer: str, exclude_families: Sequence[str] = ()) -> list[TaskStatistics]:
        """Return the tasks that were trained by `optimizer`, without those of some families."""
        rows = (task for task in self.tasks if task.optimizer == optimizer)
        return [task for task in rows if task.family not in exclude_families]

    def dump(self, path: Path) -> None:
        """Write the file: JSON, one line per task."""
        head = {"format": RATES_FORMAT, "pooling": self.pooling, "features": list(NAMES)}
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
    that, small ones do not: `tables` and `language` keep it, so that recorded studies stay what they are.
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


def load(name: str, version: Version | None = None) -> PriorFile:
    """Read a prior's file: one of `OF_RATES`, or a path; remembered until it is written anew.

    Args:
        name: Of the prior.
        version: What `version_of` said when it was read first, for a study that keeps what it began with.

    Raises:
        InvalidArgumentError: If it does not exist, or is not such a file.
    """
    return _load(name, version_of(name) if version is None else version)


@lru_cache(maxsize=8)
def _load(name: str, version: Version) -> PriorFile:
    del version
    data, file = contents(name), f"prior {name!r}"
    rule, remedy = "must be of learning rates", "it holds past studies: build it with --features probe"
    require(data["format"] == RATES_FORMAT, file, rule, "format 2", remedy)
    try:
        ok = data["features"] == list(NAMES)
        pooling = data.get("pooling", RIDGE)  # files without the word are of before it
        require(ok, "prior", f"must have these features: {list(KNOTS)}", name, "build it again")
        require(
            pooling in POOLINGS, "prior", f"must be pooled by one of {POOLINGS}", pooling, "build it again"
        )
        rows = [_statistics(file, row) for row in data["tasks"]]
        require_once(name, [(task.task, task.optimizer) for task in rows])
        return PriorFile(tuple(rows), data.get("provenance", {}), pooling)
    except InvalidArgumentError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(name, error) from None


def fitted(
    name: str, exclude_families: tuple[str, ...], optimizer: str, version: Version | None = None
) -> Prior:
    """Read a prior's file and fit it without some families; remembered as by `load`.

    Raises:
        InvalidArgumentError: As `load` and `PriorFile.prior`.
    """
    return _fitted(name, version_of(name) if version is None else version, exclude_families, optimizer)


@lru_cache(maxsize=64)
def _fitted(name: str, version: Version, exclude_families: tuple[str, ...], optimizer: str) -> Prior:
    return load(name, version).prior(exclude_families, optimizer)


@lru_cache(maxsize=64)
def fitting(asked: str, exclude_families: tuple[str, ...], optimizer: str) -> str:
    """Return the prior for a task that asks for one.

    `SHIPPED` serves where what a prior such as `language` has beyond it is of other optimizers.

    Args:
        asked: What the task's `shipped_prior` says.
        exclude_families: Families that may not speak; a prior of which nothing else is left knows nothing.
        optimizer: Name of the task's update rule.

    Raises:
        InvalidArgumentError: No such prior is shipped.
    """
    if asked not in OF_RATES:
        raise unknown_name("shipped_prior of the task", asked, OF_RATES)
    if asked == TABLES:  # all that it knows is in the shipped one, too
        return asked
    own, usual = (
        {task.task for task in load(name).of(optimizer, exclude_families)} for name in (asked, SHIPPED)
    )
    return asked if own - usual else SHIPPED


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


def _statistics(file: str, row: Mapping[str, Any]) -> TaskStatistics:
    of = f"{file}, task {row['task']!r}"
    upper = _numbers(f"{of}, a", row["a"], SIZE * (SIZE + 1) // 2)
    b = _numbers(f"{of}, b", row["b"], SIZE)
    (scale,) = _numbers(f"{of}, scale", [row["scale"]], 1)
    a = np.zeros((SIZE, SIZE))
    a[np.triu_indices(SIZE)] = upper
    rule = "must have no negative sum of squares"
    require(bool((np.diag(a) >= 0).all()), f"{of}, a", rule, float(np.diag(a).min()), BUILD_AGAIN)
    a = a + np.triu(a, 1).T
    names = str(row["task"]), str(row["family"]), str(row["optimizer"])
    return TaskStatistics(*names, int(row["configurations"]), float(scale), a, b)


def _numbers(argument: str, given: Any, count: int) -> np.ndarray:
    """Return finite numbers `(count,)`: another count would be spread over all of them in silence."""
    try:
        found = np.array(given, dtype=float)
    except (ValueError, TypeError):
        found = np.array(np.nan)
    rule = f"must be {count} finite number{'s' if count > 1 else ''}"
    require(found.shape == (count,) and bool(np.isfinite(found).all()), argument, rule, given, BUILD_AGAIN)
    return found
