"""What is learned on a table, what trees descend on, and what is scored. Plans read it: nothing is imported.

Scores are larger-is-better. A regression's target is standardised by the training part before trees see it,
so that penalties mean the same on every table; the error of `"rmse"` is given in the target's own unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypernudge.errors import require, require_choice

CLASSIFICATION, REGRESSION = "classification", "regression"
PROBLEMS = (CLASSIFICATION, REGRESSION)
LOSSES: dict[str, tuple[str, ...]] = {
    CLASSIFICATION: ("cross_entropy", "hinge"),
    REGRESSION: ("squared_error", "absolute_error", "huber"),
}
"""Losses by problem, the usual one first."""
SCORES: dict[str, tuple[str, ...]] = {CLASSIFICATION: ("accuracy", "log_loss"), REGRESSION: ("r2", "rmse")}
"""Scores by problem, the usual one first."""
METRICS: dict[str, tuple[str, list[float | None]]] = {
    "accuracy": ("accuracy", [0.0, 1.0]),
    "log_loss": ("negative log loss", [None, 0.0]),
    "r2": ("R2", [None, 1.0]),
    "rmse": ("negative RMSE", [None, 0.0]),
}
"""What a score is called, and its lowest and highest value; None for an open end."""
SHIPPED: dict[str, str] = {
    "wine": CLASSIFICATION,
    "breast_cancer": CLASSIFICATION,
    "digits": CLASSIFICATION,
    "diabetes": REGRESSION,
}
"""Tables whose files ship inside scikit-learn, and the problem of each."""


@dataclass(frozen=True)
class Problem:
    """A problem with its loss and its score."""

    kind: str
    loss: str
    score: str

    @property
    def metric(self) -> str:
        """What the score is called."""
        return METRICS[self.score][0]

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest score, infinite for an open end."""
        low, high = METRICS[self.score][1]
        return -math.inf if low is None else low, math.inf if high is None else high

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number."""
        return self.kind == REGRESSION


def problem_of(dataset: Any, problem: str | None, loss: str | None, score: str | None) -> Problem:
    """Return the problem of a data set, with the usual loss and score where none is given.

    Raises:
        InvalidArgumentError: For an unknown name, or one of another problem.
    """
    known = SHIPPED.get(dataset) if isinstance(dataset, str) else None
    if problem is not None:
        require_choice("problem", problem, PROBLEMS)
        rule = f"must be that of {dataset!r}, {known}"
        require(known in (None, problem), "problem", rule, problem, "leave it out")
    kind = problem or known or CLASSIFICATION
    for argument, value, names in (("loss", loss, LOSSES[kind]), ("score", score, SCORES[kind])):
        if value is not None:
            require_choice(argument, value, names)
    found = Problem(kind, loss or LOSSES[kind][0], score or SCORES[kind][0])
    rule = "must be 'accuracy' with the loss 'hinge', which knows no probabilities"
    fits = found.loss != "hinge" or found.score == "accuracy"
    require(fits, "score", rule, found.score, "leave it out, or take the loss 'cross_entropy'")
    return found


def metric_of(task: Mapping[str, Any]) -> tuple[str, list[float | None]]:
    """Return name and range of the score of a task as a configuration describes it.

    Raises:
        InvalidArgumentError: As `problem_of`.
    """
    given = (task.get(name) for name in ("problem", "loss", "score"))
    name, ends = METRICS[problem_of(task.get("dataset"), *given).score]
    return name, list(ends)
