"""`Study`: what `tune` returns, and what is read back from disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hypernudge.engine.scored import Weights
from hypernudge.errors import require_path
from hypernudge.space import Config
from hypernudge.study import display, frames, optuna_export, reading
from hypernudge.study.about import About, Direction
from hypernudge.study.analysis.importance import Importance, Method
from hypernudge.study.analysis.importance import importance as importance_of
from hypernudge.study.analysis.pictures import Plots
from hypernudge.study.best import BestUnit, Kept
from hypernudge.study.events import signed
from hypernudge.study.results import TrialResult, none_scored, table_of
from hypernudge.trial import History, Report, Trial, UnitResult
from hypernudge.warmstart.failures import total_failure


@dataclass(eq=False)
class Study:
    """The outcome of a tuning run, finished or not.

    Scores have the user's sign everywhere but in `history`, where larger is better.

    Attributes:
        history: Its events, and what schedulers ask of them.
        seed: Its seed.
        budget: Seconds on the study's clock.
        about: What it is of.
        folder: Where it is kept; None if it is not.
        ended: Why it is done: "scheduler" (nothing was left to do) or "budget"; None if it can go on, as
            after a timeout.
    """

    history: History
    seed: int
    budget: float
    about: About = field(default_factory=About)
    folder: Path | None = None
    ended: str | None = None
    kept: BestUnit | None = field(default=None, repr=False)
    _stopping: bool = field(default=False, init=False, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Study:
        """Read a study that is kept: the folder of `tune(study=...)`, or a record of `hypernudge run`.

        Nothing is changed, and the study may be running meanwhile: it is read as far as it has come.

        Args:
            path: `runs/mine`, or a file such as `results/asha/cells/seed-0003.json`.

        Raises:
            InvalidArgumentError: If there is no study, or it is damaged.
        """
        require_path("path", path, "must be the path of a study's folder, or of a cell's record")
        return reading.open_study(Path(path), cls)

    @property
    def direction(self) -> Direction:
        """Whether a larger or a smaller score is better."""
        return self.about.direction

    @property
    def reports(self) -> list[Report]:
        """All reports in clock order."""
        events = self.history.events
        return [signed(event, self.about.sign) for event in events if isinstance(event, Report)]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before the study is believed, such as a warm start that failed at every trial."""
        of_warm_start = total_failure(self.history)
        lost = any(trial.status == "failed" for trial in self.trials) and self._best_unit() is None
        said = (of_warm_start, none_scored(list(self.trials)) if lost else "")
        return tuple(line for line in said if line)

    @property
    def trials(self) -> Sequence[TrialResult]:
        """All trials with their units, in the order of their starts. Read only."""
        return table_of(self.history, self.about.sign).trials

    def best(self) -> tuple[Trial, UnitResult]:
        """Return the trial and unit with the best validation score, the earliest on ties.

        Raises:
            ValueError: If no unit has a score; with the number of trials that failed, and the first cause.
        """
        unit = self._best_unit()
        if unit is None:
            raise ValueError(f"best: {none_scored(list(self.trials))}")
        number, best = unit
        kept = self.kept.test() if self.kept is not None and math.isnan(best.test) else math.nan
        return self.history.trials[number], best if math.isnan(kept) else replace(best, test=kept)

    def _best_unit(self) -> tuple[int, UnitResult] | None:
        return table_of(self.history, self.about.sign).best

    @property
    def best_trial(self) -> TrialResult:
        """The trial with the best unit; errors are those of `best`."""
        return self.trials[self.best()[0].number]

    @property
    def best_config(self) -> Config:
        """The configuration of the best trial, as it was trained; errors are those of `best`."""
        return self.best()[0].config

    @property
    def best_value(self) -> float:
        """The best validation score; errors are those of `best`."""
        return self.best()[1].validation

    @property
    def best_test(self) -> float:
        """The test score of the best unit; NaN where it was not asked for. Errors are those of `best`."""
        return self.best()[1].test

    def best_weights(self) -> Weights:
        """Return the weights that had the best score, bit by bit, on the CPU.

        Those of a `ModuleTask` are a state dictionary: `task.recipe.model(config).load_state_dict(weights)`.

        Raises:
            ValueError: If there is no best unit, or its weights are not kept: of a task without `weights`, of
                an engine that does not show them, or where `keep_weights` was off.
        """
        trial, unit = self.best()
        kept: Kept | None = self.kept.best() if self.kept is not None else None
        gone = self.kept.best_file() if self.kept is not None and kept is None else None
        if gone is not None:
            raise ValueError(
                f"best_weights: {gone} must hold those of trial {trial.number}, unit {unit.unit}, but is not "
                "there; bring back a copy of it, or tune with keep_weights=True if they were never kept"
            )
        if kept is None or kept.weights is None:
            raise ValueError(
                f"best_weights: those of trial {trial.number}, unit {unit.unit} are not kept; tune with "
                "keep_weights=True, and a task that has `weights(state)`, as every GradientTask has"
            )
        return kept.weights

    def stop(self) -> None:
        """End the study before its next decision; called by a callback. It can go on later."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def to_frame(self, per: Literal["trial", "unit"] = "trial") -> Any:
        """Return a pandas frame with a row per trial, or per trained unit.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        return frames.to_frame(self, per)

    @property
    def plot(self) -> Plots:
        """Pictures: `study.plot.incumbent(path="incumbent.pdf")`, `study.plot.slices()`, ..."""
        return Plots(self)

    def importance(self, method: Method = "fanova", unit: int | None = None, seed: int = 0) -> Importance:
        """Return which hyper-parameters matter, with intervals that say how sure that is.

        A random forest learns the ranks of the scores, where failed and diverged trials come last. It is
        grown anew on 30 draws of the trials, with replacement, and judged by the trials left out.

        Args:
            method: `"fanova"`: what each explains alone, over the whole space (Hutter et al. 2014);
                `"permutation"`: what it explains alone and together with others, where trials lie, if the
                trials' values are independent (Breiman 2001).
            unit: Scores after so many units of training are compared; by default after the last one that
                three quarters of the trials with a score have reached.
            seed: Of the draws.

        Raises:
            MissingExtraError: If scikit-learn is not installed.
            InvalidArgumentError: If there are fewer than 8 trials, or their scores do not differ.
        """
        return importance_of(self, method, unit, seed)

    def to_long_form(self, variation: str | None = None) -> Any:
        """Return the scores in the form that `hypernudge compare` reads: a row per trained unit.

        Args:
            variation: What the study is called in a comparison; the warm start's name if absent.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        return frames.to_long_form(self, variation)

    def to_optuna(self, storage: Any = None, name: str | None = None) -> Any:
        """Return this study as one of Optuna, with values, intermediate values, states and distributions.

        `study.to_optuna("sqlite:///study.db")`, then `optuna-dashboard sqlite:///study.db`. Called again
        after more trials, it brings the study in the storage up to date.

        Args:
            storage: An address or a storage of Optuna; in memory if absent.
            name: Of the study there; task, scheduler, warm start and seed if absent.

        Raises:
            MissingExtraError: If Optuna is not installed.
            InvalidArgumentError: If the storage has another study of that name, or is a path.
        """
        return optuna_export.to_optuna(self, storage, name)

    def __repr__(self) -> str:
        return display.text(self)

    def _repr_html_(self) -> str:
        return display.html(self)
