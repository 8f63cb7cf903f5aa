"""What all importers share: runs of another tool, their names, and the long form they become."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.longform_files import SUFFIXES
from hypernudge.results.files import write_text

Direction = Literal["maximise", "minimise", "unknown"]
Clock = Literal["wall", "count"]

# What tools call the three parts of a cell, beside our own names.
_ALIASES = {"task": ("benchmark", "dataset"), "variation": ("algorithm", "method"), "seed": ("random_seed",)}
_PATTERNS = {"task": r".+?", "variation": r".+?", "seed": r"[0-9]+"}


@dataclass(frozen=True)
class Score:
    """One score: which trial of the run, when (seconds, on the clock of `Run.begun`), and its value."""

    trial: str
    at: float
    value: float


@dataclass(frozen=True)
class Run:
    """One run of another tool: a whole tuning run, or one training run of several that make up a cell.

    Attributes:
        name: Its name there.
        attributes: Attributes, tags, parameters or configuration, as text.
        begun: When it began, seconds, on any clock.
        scores: In any order.
        direction: What the tool says about the metric.
        unscored: Trials without a usable score: failed, pruned before the first value, still running.
    """

    name: str
    attributes: Mapping[str, str]
    begun: float
    scores: tuple[Score, ...]
    direction: Direction = "unknown"
    unscored: int = 0


@dataclass(frozen=True)
class Naming:
    """How the cell of a run is found.

    Attributes carry it (task, variation, seed, or what Syne Tune and others call them); else the name is
    read by a template such as `{task}-{variation}-{seed}`.

    Attributes:
        template: How names are built.
        task: Task of all runs that do not say it themselves.
    """

    template: str = "{task}-{variation}-{seed}"
    task: str | None = None

    def cell(self, run: Run) -> tuple[str, str, int]:
        """Return (task, variation, seed).

        Raises:
            InvalidArgumentError: A part is neither among the attributes nor in the name, or the seed is no
                whole number.
        """
        lowered = {key.lower(): value for key, value in run.attributes.items()}
        found: dict[str, str] = {}
        for part, aliases in _ALIASES.items():
            for key in (part, *aliases):
                if key in lowered:
                    found.setdefault(part, lowered[key])
        if len(found) < 3:
            match = self._pattern().fullmatch(run.name)
            for part, value in (match.groupdict() if match else {}).items():
                found.setdefault(part, value)
        if self.task is not None:
            found.setdefault("task", self.task)
        missing = [part for part in _ALIASES if part not in found]
        remedy = (
            f"pass --name with a template that fits (now {self.template!r}), pass --task, "
            "or store the three as attributes of the run"
        )
        require(not missing, "--name", f"must say {', '.join(missing)} of every run", run.name, remedy)
        ok = re.fullmatch(r"[0-9]+", found["seed"]) is not None
        require(ok, "--name", f"the seed of {run.name!r} must be a whole number", found["seed"], remedy)
        return found["task"], found["variation"], int(found["seed"])

    def _pattern(self) -> re.Pattern[str]:
        text = re.escape(self.template)
        for part, pattern in _PATTERNS.items():
            text = text.replace(re.escape("{" + part + "}"), f"(?P<{part}>{pattern})", 1)
        return re.compile(text)


def long_form(runs: Iterable[Run], naming: Naming, clock: Clock = "wall") -> tuple[pd.DataFrame, str]:
    """Return the long form, and one line on what was found.

    Runs of one cell are merged; its time counts from the earliest of them. An attribute `scheduler` tells
    cells apart as well, and becomes a column where any run has one.

    Args:
        runs: What an importer read.
        naming: How cells are found.
        clock: "wall", seconds since the cell began, or "count", the number of scores so far.

    Raises:
        InvalidArgumentError: No run has a score, a cell cannot be told, or metrics disagree on direction.
    """
    cells: dict[tuple[str, str, int, str], list[Run]] = {}
    directions: set[Direction] = set()
    unscored = 0
    for run in runs:
        cells.setdefault((*naming.cell(run), _scheduler(run)), []).append(run)
        directions.add(run.direction)
        unscored += run.unscored
    agree = len(directions) <= 1
    require(
        agree, "--metric", "all runs must agree on its direction", sorted(directions), "import them apart"
    )
    rows = []
    for (task, variation, seed, scheduler), members in cells.items():
        begun = min(run.begun for run in members)
        # Several runs of one cell are its trials, unless they tell trials apart themselves.
        scores = sorted(
            (
                (s.at - begun, f"{run.name}/{s.trial}" if len(members) > 1 else s.trial, s.value)
                for run in members
                for s in run.scores
            ),
            key=lambda score: score[0],
        )
        for count, (time, trial, value) in enumerate(scores, 1):
            when = time if clock == "wall" else float(count)
            rows.append((task, variation, seed, trial, when, value, scheduler))
    require(bool(rows), "SOURCE", "must hold at least one score", 0, "check --metric and the source")
    columns = ["task", "variation", "seed", "trial", "time", "score", "scheduler"]
    frame = pd.DataFrame(rows, columns=columns)
    if not frame["scheduler"].any():
        frame = frame.drop(columns="scheduler")
    direction = directions.pop()
    hint = {"minimise": "; smaller is better: compare with --minimise", "maximise": "", "unknown": ""}[
        direction
    ]
    dropped = f"; {unscored} trials without a score left out" if unscored else ""
    return frame, f"{len(frame)} scores of {len(cells)} cells{dropped}{hint}"


def _scheduler(run: Run) -> str:
    return next((value for key, value in run.attributes.items() if key.lower() == "scheduler"), "")


def write_long_form(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV, JSONL or Parquet, by suffix; never over a file that exists.

    Raises:
        InvalidArgumentError: Another suffix, or the file exists.
    """
    suffix = path.suffix.lower()
    require(suffix in SUFFIXES, "--output", f"must end in one of {SUFFIXES}", path.name, "rename it")
    require(not path.exists(), "--output", "must not exist yet", str(path), "choose another name")
    if suffix == ".csv":
        write_text(path, frame.to_csv(index=False, lineterminator="\n"))
    elif suffix == ".jsonl":
        write_text(path, frame.to_json(orient="records", lines=True, double_precision=15))
    else:
        try:
            frame.to_parquet(path, index=False)
        except ImportError:
            raise InvalidArgumentError(
                "--output: writing Parquet needs pyarrow, which is not installed; "
                "install hypernudge[parquet], or write CSV"
            ) from None


def pick_metric(given: str | None, known: Iterable[str]) -> str:
    """Return the metric to read: the one given, or the only one there is.

    Raises:
        InvalidArgumentError: It is not there, or several are and none was given.
    """
    names = sorted(known)
    if given is not None:
        require(given in names, "--metric", f"must be among {names}", given, "choose one of them")
        return given
    require(len(names) == 1, "--metric", "must be given where there are several", names, "choose one of them")
    return names[0]
