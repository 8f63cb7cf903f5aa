"""Which cell a run of another tool is: by its attributes, or by its name. No two become one unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.runs import SHOWN, Run
from hypernudge.evidence.loading.wording import is_text, whole_number_remedy
from hypernudge.results.printable import abridged

# What tools call the three parts of a cell, beside our own names.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "task": ("benchmark", "dataset"),
    "variation": ("algorithm", "method"),
    "seed": ("random_seed",),
}
_PATTERNS = {"task": r".+?", "variation": r".+?", "seed": r"[0-9]+"}

Cell = tuple[str, str, int, str]
"""Task, variation, seed, scheduler."""


@dataclass(frozen=True)
class Naming:
    """How the cell of a run is found.

    Attributes carry it (task, variation, seed, or what Syne Tune and others call them); else the name is
    read by a template such as `{task}-{variation}-{seed}`.

    Attributes:
        template: How names are built. Without `{seed}`, runs that do not say their seed are numbered.
        task: Task of all runs that do not say it themselves.
    """

    template: str = "{task}-{variation}-{seed}"
    task: str | None = None

    def cell(self, run: Run) -> tuple[str, str, int | None]:
        """Return (task, variation, seed); the seed is None where runs are to be numbered.

        Raises:
            InvalidArgumentError: A part is neither among the attributes nor in the name, or the seed is no
                whole number.
        """
        found = _said(run)
        if len(found) < 3:
            match = self._pattern().fullmatch(run.name)
            for part, value in (match.groupdict() if match else {}).items():
                found.setdefault(part, value)
        if self.task is not None:
            found.setdefault("task", self.task)
        numbered = "{seed}" not in self.template
        missing = [part for part in ALIASES if part not in found and not (part == "seed" and numbered)]
        remedy = (
            f"pass --name with a template that fits (now {self.template!r}; one without {{seed}} numbers "
            "the runs), pass --task, or store the three as attributes of the run"
        )
        require(not missing, "--name", f"must say {', '.join(missing)} of every run", run.name, remedy)
        for part in ("task", "variation"):
            good = bool(found[part].strip()) and is_text(found[part])
            require(good, "--name", f"{part} must be a name, in UTF-8", found[part], f"give it a {part}")
        if "seed" not in found:
            return found["task"], found["variation"], None
        seed = found["seed"].strip()
        # Tables turn whole numbers into decimals where another row of the column has none.
        seed = re.sub(r"\.0+$", "", seed)
        ok = re.fullmatch(r"[0-9]{1,15}", seed) is not None
        rule = f"the seed of {run.name!r} must be a whole number below 10^15"
        require(ok, "--name", rule, found["seed"], whole_number_remedy(found["seed"]))
        return found["task"], found["variation"], int(seed)

    def _pattern(self) -> re.Pattern[str]:
        text = re.escape(self.template)
        for part, pattern in _PATTERNS.items():
            text = text.replace(re.escape("{" + part + "}"), f"(?P<{part}>{pattern})", 1)
        return re.compile(text)


def task_of(run: Run, naming: Naming | None = None) -> str:
    """Return the task of a run: what it says, what its name says by the template, or its whole name."""
    said = _said(run).get("task")
    match = (naming or Naming())._pattern().fullmatch(run.name)
    return said or (match.groupdict().get("task") if match else None) or run.name


def assign(runs: Iterable[Run], naming: Naming) -> tuple[dict[Cell, list[Run]], list[str]]:
    """Return the runs of every cell, and what must be said about how they were told apart.

    Runs that say their seed themselves and agree in all of the cell are its trials, which is said; runs that
    agree by their names are refused, for nobody can tell what they are; runs without a seed are numbered, in
    the order given, where the template asks for that.

    Raises:
        InvalidArgumentError: As `Naming.cell`; or several runs are one cell that are not its trials; or only
            some runs of a variation have a seed.
    """
    cells: dict[Cell, list[Run]] = {}
    unseeded: dict[tuple[str, str, str], list[Run]] = {}
    absent: dict[str, list[str]] = {}
    for run in runs:
        if run.absent:
            absent.setdefault(run.absent, []).append(run.name)
            continue
        task, variation, seed = naming.cell(run)
        if seed is None:
            unseeded.setdefault((task, variation, _scheduler(run)), []).append(run)
        else:
            cells.setdefault((task, variation, seed, _scheduler(run)), []).append(run)
    notes = [f"{len(names)} runs left out, {why}: {abridged(names, SHOWN)}" for why, names in absent.items()]
    notes += _merged(cells)
    for (task, variation, scheduler), members in unseeded.items():
        seeded = [cell[2] for cell in cells if (cell[0], cell[1], cell[3]) == (task, variation, scheduler)]
        what = f"runs of {_title(task, variation, scheduler)}"
        remedy = "give a seed to all of them, or to none"
        require(not seeded, "--name", f"all {what} must say their seed", members[0].name, remedy)
        for number, run in enumerate(members):
            cells[task, variation, number, scheduler] = [run]
        many = f"seeds 0 to {len(members) - 1}" if len(members) > 1 else "seed 0"
        notes.append(
            f"{len(members)} {what} say no seed and are given {many} in the order in which they stand: "
            "pairs share no seed in truth"
        )
    return cells, notes


def _merged(cells: Mapping[Cell, list[Run]]) -> list[str]:
    several = {cell: members for cell, members in cells.items() if len(members) > 1}
    for (task, variation, seed, scheduler), members in several.items():
        named = [run for run in members if "seed" not in _said(run)]
        title = _title(task, variation, scheduler, seed)
        shown = abridged([f"{run.name!r}" + (f" ({run.mark})" if run.mark else "") for run in members], SHOWN)
        # Paths are long, and what tells runs apart must not be cut short.
        if named or any(run.whole for run in members):
            raise InvalidArgumentError(
                f"SOURCE: one cell must be one run, but {len(members)} are {title}: {shown}; give each a "
                "seed of its own (an attribute `seed`), drop or import apart what repeats another, or have "
                "runs numbered by a --name without {seed}"
            )
    if not several:
        return []
    (task, variation, seed, scheduler), members = next(iter(several.items()))
    example = f"{_title(task, variation, scheduler, seed)}: {abridged([run.name for run in members], 3)}"
    return [f"{len(several)} cells have several runs each, taken as trials of one tuning run ({example})"]


def _said(run: Run) -> dict[str, str]:
    """The parts of the cell that the attributes of a run say."""
    lowered = {key.lower(): value for key, value in run.attributes.items()}
    found: dict[str, str] = {}
    for part, aliases in ALIASES.items():
        for key in (part, *aliases):
            if key in lowered:
                found.setdefault(part, lowered[key])
    return found


def _scheduler(run: Run) -> str:
    return next((value for key, value in run.attributes.items() if key.lower() == "scheduler"), "")


def _title(task: str, variation: str, scheduler: str, seed: int | None = None) -> str:
    parts = [task, scheduler, variation, "" if seed is None else f"seed {seed}"]
    return ", ".join(part for part in parts if part)
