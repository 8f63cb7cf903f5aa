"""Boosted trees on a table, by XGBoost: a task without gradients (extra `tabular`).

    from hypernudge import ASHA, tune
    from hypernudge.tasks.tabular.task import XGBoostTask

    study = tune(task := XGBoostTask("wine"), ASHA(task.space), seed=0, max_trials=50)

Chen and Guestrin: XGBoost, KDD 2016. Early stopping is the scheduler's business.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hypernudge.errors import require, require_whole
from hypernudge.random import integer, stream
from hypernudge.space import Value
from hypernudge.task import Split
from hypernudge.tasks.module.checkpoints import Checkpoints
from hypernudge.tasks.spaces import build_space
from hypernudge.tasks.tabular.boosters import Boosters, BoosterState, xgboost
from hypernudge.tasks.tabular.cost import boosting_flops
from hypernudge.tasks.tabular.loading import Stamp, Table, key_of, load_table
from hypernudge.tasks.tabular.parameters import Shrinkage, canonical, check_parameters
from hypernudge.tasks.tabular.problems import Problem, problem_of
from hypernudge.tasks.tabular.scoring import loss_of, score_of

SHORT_ROWS, SHORT_ROUNDS = 1024, 5
"""Rows and rounds of a short training: a tree on the 128 rows of a mini-batch hardly splits."""
_OBJECTIVES = {
    "squared_error": "reg:squarederror",
    "absolute_error": "reg:absoluteerror",
    "huber": "reg:pseudohubererror",
    "hinge": "binary:hinge",
}


class XGBoostTask:
    """Tunes gradient-boosted trees on a table.

    The score is accuracy or, for a regression, R2; a unit is `rounds_per_unit` boosting rounds, and rungs
    continue training. A trial that is resumed equals one that never stopped, to the bit. Cost is declared by
    `hypernudge.tasks.tabular.cost`.

    Args:
        dataset: `"wine"`, `"breast_cancer"`, `"digits"`, `"diabetes"`, or the description of a table in CSV
            files (`TreeTable`).
        label: Name in records.
        problem: `"classification"` or `"regression"`; where absent that of the data, else classification.
        loss: What trees descend on: `"cross_entropy"`, `"hinge"` (two classes), `"squared_error"`,
            `"absolute_error"` or `"huber"`.
        score: `"accuracy"` or `"log_loss"`, `"r2"` or `"rmse"`; losses are negated, for larger is better.
        space: The search space: XGBoost's names or their second names (`learning_rate`, `reg_lambda`, ...).
        fixed: Values that are not tuned.
        rounds_per_unit: Boosting rounds of a unit.
        split_seed: Of the split into parts, see `load_table`.
        rows: At most so many rows of the table, drawn by `split_seed`; all if absent.
        max_bin: Bins of a column's histogram.
        threads: Of XGBoost; results are repeatable for a given number.
        resident: Live boosters at a time, about 20 MB each on a table of 50,000 rows and 20 columns; None for
            all of a study. One that had to leave is trained again when its trial goes on, at no charge.

    Raises:
        InvalidArgumentError: An unknown name, a value that breaks a rule, or data that are not what they must
            be; see `load_table`.
        MissingExtraError: XGBoost or pandas is not installed.
    """

    def __init__(
        self,
        dataset: str | Mapping[str, Any],
        *,
        label: str | None = None,
        problem: str | None = None,
        loss: str | None = None,
        score: str | None = None,
        space: str | Mapping[str, Any] = "xgboost",
        fixed: Mapping[str, Any] | None = None,
        rounds_per_unit: int = 3,
        split_seed: int = 0,
        rows: int | None = None,
        max_bin: int = 256,
        threads: int = 1,
        resident: int | None = 16,
    ) -> None:
        self.problem = problem_of(dataset, problem, loss, score)
        named = label is None or (isinstance(label, str) and label != "")
        require(named, "label", "must be text", label, "leave it out for the name of the table")
        mapping = fixed is None or isinstance(fixed, Mapping)
        require(mapping, "fixed", "must be a mapping of names to values", fixed, "write {max_depth: 6}")
        require_whole("rounds_per_unit", rounds_per_unit, 1, 10_000)
        require_whole("split_seed", split_seed, 0)
        require_whole("max_bin", max_bin, 2, 65_536, "256 is usual")
        require_whole("threads", threads, 1, 1024)
        for name, number, least in (("rows", rows, 10), ("resident", resident, 1)):
            if number is not None:
                require_whole(name, number, least, remedy="raise it, or leave it out")
        self.space, self.fixed = build_space(space), dict(fixed or {})
        check_parameters(self.space, self.fixed)
        self.optimizer = Shrinkage.of(self.space)  # what warm starts compare rates by
        xgboost()  # before anything is read
        self.table = load_table(dataset, self.problem, split_seed, rows)
        two = self.problem.loss != "hinge" or self.table.classes == 2
        rule = "'hinge' must have two classes"
        require(two, "loss", rule, f"{self.table.classes} classes", "take 'cross_entropy'")
        self.name = label or f"{self.table.name}_xgboost"
        self.family, self.metric = self.table.name, self.problem.metric
        self.metric_range = self.problem.ends
        self.rounds_per_unit, self.max_bin, self.threads = rounds_per_unit, max_bin, threads
        self._parts = _binned(*key_of(dataset), self.problem, split_seed, rows, max_bin, threads)
        described = {"table": key_of(dataset), "rounds": rounds_per_unit, "max_bin": max_bin}
        described |= {
            "split_seed": split_seed,
            "row limit": rows,
            "threads": threads,
            "xgboost": xgboost().__version__,
        }
        checkpoints = Checkpoints(None, keep=False)
        self._boosters = Boosters(
            self._parts["train"], described, self.parameters, rounds_per_unit, checkpoints, resident
        )
        self.settings = {
            "problem": self.problem,
            "data": [part[split] for part in (self.table.x, self.table.y) for split in sorted(part)],
            "rounds_per_unit": rounds_per_unit,
            "split_seed": split_seed,
            "rows": rows,
            "max_bin": max_bin,
            "threads": threads,
        }
        self._studies = 0
        self._subsample: tuple[tuple[int, int, int, bool], Any, Any, np.ndarray] | None = None
        self._bins = sum(
            min(max_bin, len(np.unique(column))) for column in self.table.x["train"].T
        )  # those of a column with few values are few
        sizes = {part: len(y) for part, y in self.table.y.items()}
        self.data_source = {
            "table": self.table.name,
            "rows": sizes,
            "columns": len(self.table.columns),
            "categories": self.table.kinds.count("c"),
            "split": self.table.split,
            "split_seed": split_seed,
        }

    def start(self, seed: int) -> BoosterState:
        """Return an untrained trial; the draws of its rows and columns follow from `seed`."""
        return BoosterState(seed)

    def advance(self, state: BoosterState, hp: Mapping[str, Value]) -> bool:
        """Grow the trees of one unit; trees do not diverge, scores may (`evaluate`)."""
        self._boosters.advance(state, hp)
        return True

    def evaluate(self, state: BoosterState, split: Split) -> float:
        """Return the score after the trial's unit; NaN where a prediction is not finite.

        Raises:
            InvalidArgumentError: The trial has not begun.
        """
        require(state.unit > 0, "state", "must have been trained for a unit", state.unit, "advance it")
        predicted = self._boosters.predict(state, self._parts[split])
        return score_of(self.problem, predicted, self.table.y[split], self.table.unit)

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return the declared cost of a unit, see `hypernudge.tasks.tabular.cost`."""
        return self._flops(hp, len(self.table.y["train"]), self.rounds_per_unit)

    def stated_flops(self, hp: Mapping[str, Value]) -> float:
        """Return the same: the model of cost is a formula."""
        return self.unit_flops(hp)

    def weights(self, state: BoosterState) -> dict[str, Tensor] | None:
        """Return the trees as they were scored: XGBoost's binary format in a tensor of bytes."""
        return self._boosters.weights(state)

    def booster(self, weights: Mapping[str, Tensor]) -> Any:
        """Return the `xgboost.Booster` of `weights`, such as a study's best."""
        booster = xgboost().Booster()
        booster.load_model(bytearray(weights["booster"].numpy().tobytes()))
        return booster

    @contextlib.contextmanager
    def kept_in(self, folder: Path) -> Iterator[bool]:
        """Keep trials in a folder while entered; yield True."""
        before = self._boosters.checkpoints
        self._boosters.checkpoints = Checkpoints(folder, keep=False)
        try:
            yield True
        finally:
            self._boosters.checkpoints = before

    @contextlib.contextmanager
    def study(self, units: int) -> Iterator[None]:
        """Be trained by a study; what is in memory is dropped at its end, and so are its files."""
        del units
        self._studies += 1
        ended = False
        try:
            yield
            ended = True
        finally:
            self._studies -= 1
            if ended and not self._studies:
                self._boosters.close()

    def short_loss(
        self, hp: Mapping[str, Value], seed: int, batch_size: int, index: int, held_out: bool
    ) -> tuple[float, float]:
        """Return the loss after five rounds on a subsample of the training part, and its FLOPs.

        Rows and random numbers follow from `seed` and `index` alone, so that differences are of values only.

        Args:
            hp: The configuration.
            seed: Of the trial.
            batch_size: Rows of the subsample, at least 1,024 (or half of all).
            index: Another number has other rows.
            held_out: Whether the loss is that of as many other rows, not of those that trained.
        """
        size = min(max(batch_size, SHORT_ROWS), len(self.table.y["train"]) // 2)
        key = (seed, size, index, held_out)
        if self._subsample is None or self._subsample[0] != key:  # all differences of a trial share it
            self._subsample = key, *self._drawn(*key)
        _, train, scored, target = self._subsample
        parameters = {**self.parameters(hp), "seed": integer(seed, "short rounds", index, bits=31)}
        booster = xgboost().train(parameters, train, SHORT_ROUNDS)
        return loss_of(self.problem, booster.predict(scored), target), self._flops(hp, size, SHORT_ROUNDS)

    def parameters(self, hp: Mapping[str, Value]) -> dict[str, Any]:
        """Return XGBoost's parameters of a configuration."""
        objective = _OBJECTIVES.get(self.problem.loss) or (
            "multi:softprob" if self.table.classes > 2 else "binary:logistic"
        )
        several = {"num_class": self.table.classes} if objective == "multi:softprob" else {}
        return {
            "objective": objective,
            **several,
            "tree_method": "hist",
            "max_bin": self.max_bin,
            "nthread": self.threads,
            "verbosity": 0,
            "disable_default_eval_metric": True,
            **canonical({**self.fixed, **hp}),
        }

    def _drawn(self, seed: int, size: int, index: int, held_out: bool) -> tuple[Any, Any, np.ndarray]:
        """Return a subsample to train on, one to score, and the target of the latter."""
        x, y = self.table.x["train"], self.table.y["train"]
        order = stream(seed, "short", index, len(y)).permutation(len(y))
        train, other = order[:size], order[size : 2 * size]
        scored = other if held_out else train
        data = _quantile(self.table, x[train], y[train], self.max_bin, self.threads)
        return data, _plain(self.table, x[scored], y[scored], self.threads), y[scored]

    def _flops(self, hp: Mapping[str, Value], rows: int, rounds: int) -> float:
        return boosting_flops(
            canonical({**self.fixed, **hp}),
            rows=rows,
            columns=len(self.table.columns),
            outputs=self.table.outputs,
            rounds=rounds,
            bins=self._bins,
        )


@lru_cache(maxsize=2)
def _binned(
    described: str,
    stamp: Stamp,
    problem: Problem,
    split_seed: int,
    rows: int | None,
    max_bin: int,
    threads: int,
) -> dict[str, Any]:
    """Return the parts of a table as XGBoost reads them, the training part binned: once in a process."""
    del stamp
    table = load_table(json.loads(described), problem, split_seed, rows)
    parts = {"train": _quantile(table, table.x["train"], table.y["train"], max_bin, threads)}
    held = {part: _plain(table, table.x[part], table.y[part], threads) for part in ("validation", "test")}
    return {**parts, **held}


def _quantile(table: Table, x: np.ndarray, y: np.ndarray, max_bin: int, threads: int) -> Any:
    return xgboost().QuantileDMatrix(
        x, y, max_bin=max_bin, nthread=threads, feature_types=list(table.kinds), enable_categorical=True
    )


def _plain(table: Table, x: np.ndarray, y: np.ndarray, threads: int) -> Any:
    return xgboost().DMatrix(x, y, nthread=threads, feature_types=list(table.kinds), enable_categorical=True)
