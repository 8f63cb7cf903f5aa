"""Past studies as data: which configurations were tried, and how each ranked among the study's own.

Ranks are kept, not scores: so studies of any metric can be joined. A trial is ranked at up to four shares of
the longest training, because what leads early need not lead in the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hypernudge.errors import require
from hypernudge.parameters import same
from hypernudge.warmstart.measurement.ranks import normal_scores

SHARES = (1 / 27, 1 / 9, 1 / 3, 1.0)
"""Shares of the longest training at which trials are ranked."""
LEAST = 8  # trials below which a study is not worth a regression

Column = tuple[Any, ...]
"""Values of one hyper-parameter, one per trial: plain data, `ABSENT` where a trial has none."""
ABSENT = "\0absent"


@dataclass(frozen=True, eq=False)
class PastStudy:
    """What one task contributes.

    Attributes:
        task: Its name.
        family: What it shares with tasks on the same data; left out together.
        columns: Values of each hyper-parameter, `n` of each.
        scores: Normal scores among the study's own trials at each of `SHARES`, shape `(len(SHARES), n)`; a
            share that nobody recorded has those of the nearest that somebody did.
        log: Hyper-parameters known to live on a logarithmic scale.
    """

    task: str
    family: str
    columns: Mapping[str, Column]
    scores: np.ndarray
    log: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.scores.shape[1])

    def numbers(self, name: str) -> np.ndarray:
        """Return a hyper-parameter's values, shape `(n,)`; NaN where there is none or it is no number."""
        return numbers(self.columns.get(name, (ABSENT,) * len(self)))


@dataclass(frozen=True)
class PastTrial:
    """One trial of a finished study: its configuration, and its scores by unit of training.

    Scores are larger-is-better; a trial that diverged has minus infinity or NaN at its last unit.
    """

    config: Mapping[str, Any]
    scores: Mapping[int, float]


def past_study(
    task: str,
    trials: Sequence[PastTrial],
    *,
    family: str | None = None,
    log: Sequence[str] = (),
    max_units: int | None = None,
) -> PastStudy | None:
    """Return what a study contributes; None where fewer than `LEAST` trials have a score, or all are equal.

    Args:
        task: Its name.
        trials: Those that were trained.
        family: As `PastStudy.family`; the task's name if absent.
        log: Hyper-parameters declared on a logarithmic scale.
        max_units: Units of the longest training; the furthest unit reached if absent.
    """
    scored = [trial for trial in trials if trial.scores]
    units = sorted({unit for trial in scored for unit in trial.scores})
    if len(scored) < LEAST or not units:
        return None
    longest = max_units or units[-1]
    at = [_nearest(units, share * longest) for share in SHARES]
    rows = {unit: _ranked(scored, unit) for unit in dict.fromkeys(at)}
    scores = np.stack([rows[unit] for unit in at])
    if not scores.any():
        return None
    names = list(dict.fromkeys(name for trial in scored for name in trial.config))
    columns = {name: tuple(stored(trial.config.get(name, ABSENT)) for trial in scored) for name in names}
    declared = tuple(name for name in names if name in log)
    return PastStudy(task, family or task, columns, scores, declared)


def _nearest(units: Sequence[int], wanted: float) -> int:
    """Return the recorded unit nearest to another, by their ratio."""
    return min(units, key=lambda unit: abs(math.log(max(unit, 1e-9) / wanted)))


def _ranked(trials: Sequence[PastTrial], unit: int) -> np.ndarray:
    """Return the normal scores at a unit, `(n,)`.

    A trial counts with its score at the last unit up to this one. One that was dropped earlier ranks below
    all that went on; one that diverged ranks below all.
    """
    reached = np.array([max((u for u in t.scores if u <= unit), default=0) for t in trials])
    last = np.array([t.scores.get(int(r), math.nan) for t, r in zip(trials, reached, strict=True)])
    lost = ~np.isfinite(last)
    pairs = np.stack([np.where(lost, -1, reached), np.where(lost, 0.0, last)], axis=1)
    _, place = np.unique(pairs, axis=0, return_inverse=True)
    return normal_scores(place.ravel().astype(float))


def stored(value: Any) -> Any:
    """Return a value as plain data; what JSON does not have is told by its representation."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, list | tuple):
        return [stored(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): stored(entry) for key, entry in value.items()}
    return repr(value)


def numbers(values: Sequence[Any]) -> np.ndarray:
    """Return values as float64, `(n,)`; NaN for what is no number."""
    return np.array([_number(value) for value in values], dtype=float)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def matches(choice: Any, value: Any) -> bool:
    """Whether a recorded value is a choice of a space; tables hold text where a space has a flag or None."""
    choice = stored(choice)
    if isinstance(choice, bool) != isinstance(value, bool) and not isinstance(value, str):
        return False
    return same(choice, value) or (isinstance(value, str) and str(choice) == value)


def joined(a: PastStudy, b: PastStudy) -> PastStudy:
    """Return two studies of one task as one: each trial keeps its rank among its own study's.

    Raises:
        InvalidArgumentError: If their families differ.
    """
    rule = f"task {a.task!r} must be of one family"
    require(a.family == b.family, "SOURCE", rule, [a.family, b.family], "give the two different names")
    names = list(dict.fromkeys([*a.columns, *b.columns]))
    columns = {
        name: (*a.columns.get(name, (ABSENT,) * len(a)), *b.columns.get(name, (ABSENT,) * len(b)))
        for name in names
    }
    log = tuple(dict.fromkeys([*a.log, *b.log]))
    return replace(a, columns=columns, scores=np.concatenate([a.scores, b.scores], axis=1), log=log)
