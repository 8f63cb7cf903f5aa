"""The weights of the best unit so far, caught when it is scored: afterwards training has gone on.

An engine scores a unit before its report enters the history, perhaps long before. So what may become the best
is caught then, and dropped once a better unit was reported. At any time that is the best, and at most a few
units of trials whose reports are outstanding.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hypernudge.engine.scored import Scored, Weights
from hypernudge.errors import NotSavedError, one_line
from hypernudge.results.files import remove_abandoned, replacing
from hypernudge.trial import Report

logger = logging.getLogger("hypernudge")
FORMAT = 1
_NAME = re.compile(r"trial-(\d+)-unit-(\d+)\.pt")


@dataclass
class Kept:
    """What is kept of a unit: in memory, on disk, or as what can still be asked for."""

    score: float
    weights: Weights | None = None
    test: float = math.nan
    path: Path | None = None
    source: Scored | None = None
    looked: bool = False  # whether `test` was looked up in the file


class BestUnit:
    """Keeps the weights and the test score of a study's best unit.

    Args:
        sign: What scores are multiplied by so that larger is better.
        folder: Where files lie; None to keep them in memory.
        at_once: Whether a file is written when a unit is scored, before its trial goes on: so that a kill
            loses no weights that a trial on disk has left behind.
        score_test: Whether the test part is scored, too.
        weights: Whether weights are kept.
    """

    def __init__(
        self,
        sign: int = 1,
        folder: Path | None = None,
        *,
        at_once: bool = False,
        score_test: bool = True,
        weights: bool = True,
    ) -> None:
        self._sign, self._folder = sign, folder
        self._score_test, self._weights = score_test, weights
        self._at_once = at_once and folder is not None
        self._kept: dict[tuple[int, int], Kept] = {}
        self._most: dict[int, float] = {}  # best score of a trial that was caught
        self._best: tuple[float, float, int, int] | None = None  # ascending: -score, time, trial, unit
        self._settled: set[tuple[int, int]] = set()  # reported, or never to be: dropped by `prune`
        self._error: OSError | None = None
        self._lock = threading.Lock()

    def scored(self, unit: Scored) -> None:
        """Catch a unit if it may become the best. Engines call it, perhaps in several threads."""
        score = self._sign * unit.score
        if not math.isfinite(score):
            return
        with self._lock:
            if self._best is not None and score < -self._best[0]:
                return
            known = (unit.trial, unit.unit) in self._kept  # trained again after an interruption
            if known or score <= self._most.get(unit.trial, -math.inf):
                return
            self._most[unit.trial] = score
            try:
                self._kept[unit.trial, unit.unit] = self._caught(unit, score)
            except OSError as error:  # is raised when the report comes: the trial has not failed
                self._error = self._error or error

    def _caught(self, unit: Scored, score: float) -> Kept:
        path = self._path(unit.trial, unit.unit)
        if self._at_once and path is not None and path.exists():  # before an interruption
            return Kept(score, path=path)
        if unit.lasting and not self._at_once:
            return Kept(score, source=unit)
        kept = self._asked(unit, score)
        if self._at_once:
            self._write(kept, unit.trial, unit.unit)
        return kept

    def _asked(self, unit: Scored, score: float) -> Kept:
        kept = Kept(score)
        try:
            kept.weights = unit.weights() if self._weights else None
            gone = self._at_once and self._weights and kept.weights is None  # it would be trained again
            if self._score_test and not gone:
                kept.test = unit.test()
        except NotSavedError:  # asking may have made room for the trial in memory
            raise
        except Exception as error:  # a user's code; what the trial was trained for is its validation score
            where = f"trial {unit.trial}, unit {unit.unit}"
            logger.warning("%s: weights or test score: %s: %s", where, type(error).__name__, one_line(error))
        return kept

    def reported(self, report: Report, *, replay: bool = False) -> None:
        """Take in a report; the files of a new best are written, those of the one before are still there.

        Args:
            report: As the history has it: larger is better.
            replay: Whether it was reported before an interruption.

        Raises:
            OSError: If something could not be written, now or when a unit was scored.
        """
        with self._lock:
            if self._error is not None and not replay:
                error, self._error = self._error, None
                raise error
            before = self._best
            for unit in report.units:
                self._settled.add((report.job.trial, unit.unit))
                if math.isfinite(unit.validation):
                    most = max(self._most.get(report.job.trial, -math.inf), unit.validation)
                    self._most[report.job.trial] = most  # also where another process caught it
                    entry = (-unit.validation, unit.time, report.job.trial, unit.unit)
                    self._best = entry if self._best is None else min(self._best, entry)
            if self._best != before:
                if before is not None:
                    self._settled.add(before[2:])
                if not replay:
                    self._settle()

    def _settle(self) -> None:
        """Have the weights of the new best in hand, and on disk where files are kept."""
        assert self._best is not None
        kept = self._kept.get(self._best[2:])
        if kept is None:
            return
        if kept.source is not None:
            self._kept[self._best[2:]] = kept = self._asked(kept.source, kept.score)
        if self._folder is not None and kept.path is None:
            self._write(kept, *self._best[2:])

    def prune(self) -> None:
        """Drop everything that can no longer become the best."""
        with self._lock:
            if self._best is None:
                return
            for key, kept in list(self._kept.items()):
                if key != self._best[2:] and (kept.score < -self._best[0] or key in self._settled):
                    del self._kept[key]
                    if kept.path is not None:
                        kept.path.unlink(missing_ok=True)
            self._settled.clear()

    def test(self) -> float:
        """Return the test score of the best unit; NaN where it was not asked for, or its file is lost."""
        with self._lock:
            kept = None if self._best is None else self._kept.get(self._best[2:])
        if kept is not None and kept.path is not None and not kept.looked and math.isnan(kept.test):
            kept.looked = True
            try:
                kept.test = read_kept(kept.path, kept.score).test
            except ValueError as error:  # the study's file has everything else
                logger.warning("the best unit's test score is not known: %s", one_line(error))
        return math.nan if kept is None else kept.test

    def find(self) -> None:
        """Find the file of the best unit, after the reports of a study that is only read."""
        if self._best is not None:
            path = self._path(*self._best[2:])
            if path is not None and path.exists():
                self._kept[self._best[2:]] = Kept(-self._best[0], path=path)

    def resume(self, running: set[int] | frozenset[int]) -> None:
        """Find the files of an earlier run, after its reports: the best, and those of trials that still run.

        Others are removed.
        """
        self.find()
        if self._folder is None or not self._folder.is_dir():
            return
        remove_abandoned(self._folder)
        for path in self._folder.iterdir():
            found = _NAME.fullmatch(path.name)
            if found is None:
                continue
            key = int(found.group(1)), int(found.group(2))
            if (self._best is None or key != self._best[2:]) and key[0] not in running:
                path.unlink(missing_ok=True)

    def end(self) -> None:
        """Drop everything but the best: nothing will be reported any more."""
        with self._lock:
            best = None if self._best is None else self._best[2:]
            for key in [key for key in self._kept if key != best]:
                path = self._kept.pop(key).path
                if path is not None:
                    path.unlink(missing_ok=True)

    def best(self) -> Kept | None:
        """Return what is kept of the best unit, with its weights; None if there is nothing.

        Raises:
            ValueError: If its file cannot be read.
        """
        with self._lock:
            kept = None if self._best is None else self._kept.get(self._best[2:])
        if kept is None or kept.path is None:
            return kept
        return read_kept(kept.path, kept.score)

    def best_file(self) -> Path | None:
        """Return where the file of the best unit is, or was; None without one, or without a folder."""
        return None if self._best is None else self._path(*self._best[2:])

    def _path(self, trial: int, unit: int) -> Path | None:
        return None if self._folder is None else self._folder / f"trial-{trial:05d}-unit-{unit:05d}.pt"

    def _write(self, kept: Kept, trial: int, unit: int) -> None:
        path = self._path(trial, unit)
        assert path is not None
        weights = None if kept.weights is None else dict(kept.weights)
        content = {"format": FORMAT, "trial": trial, "unit": unit, "test": kept.test, "weights": weights}
        with replacing(path) as file:
            torch.save(content, file)
        kept.path, kept.weights = path, None


def read_kept(path: Path, score: float) -> Kept:
    """Return what a file holds: tensors and numbers, never code.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return Kept(score, content["weights"], float(content["test"]), path)
    except FileNotFoundError:
        raise ValueError(f"best_weights: {path} is not there; bring back a copy of it") from None
    except Exception as error:  # a damaged file fails in many ways
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"best_weights: {path} cannot be read ({reason}); bring back a copy of it") from None
