"""Where past studies are read from: our records, and those of other tools. Nothing is executed or unpickled.

- a results directory of `hypernudge run` (it holds `plan.json`), or a sealed cell;
- a kept study's folder, or its `study.jsonl`;
- a table in the long form of `hypernudge compare` (.csv, .csv.gz, .jsonl, .parquet) with columns
  `config.NAME` and, if it likes, `unit` (of training, after which a trial had the score) and `family`;
- a storage of Optuna: an address, an SQLite file, a journal file;
- an experiment folder of Syne Tune or Ray Tune, or one that holds several.
"""

from __future__ import annotations

import gzip
import math
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hypernudge.errors import InvalidArgumentError, is_real, one_line, require
from hypernudge.evidence.importers.runs import Run, typed
from hypernudge.harness.cells.described import facts_of
from hypernudge.harness.inspection.explain import say
from hypernudge.results.plan import FILE as PLAN
from hypernudge.results.plan import Manifest, Variation, read_manifest
from hypernudge.results.records import (
    DamagedRecordError,
    Record,
    cell_path,
    description_of,
    read_record,
)
from hypernudge.space import Real, SearchSpace
from hypernudge.trial import Event, Report, Started
from hypernudge.warmstart.past.studies import LEAST, PastStudy, PastTrial, joined, past_study, stored

if TYPE_CHECKING:
    from hypernudge.evidence.loading.longform_files import RawRows

PACKED = ".csv.gz"
Kind = Literal["results", "study", "table", "optuna", "syne-tune", "ray-tune"]


@dataclass(frozen=True)
class Reading:
    """How sources are read that do not say everything themselves.

    Attributes:
        task: Name of the task of all of them; their own where None.
        family: Family of the task; its own, or the task's name, where None.
        metric: Which metric, where a tool recorded several.
        mode: "min" or "max", what is better, for sources that do not say.
    """

    task: str | None = None
    family: str | None = None
    metric: str | None = None
    mode: Literal["min", "max"] | None = None

    def sign(self, source: str) -> float:
        """Return what scores of a source that does not say are multiplied by so that larger is better.

        Raises:
            InvalidArgumentError: If nobody says.
        """
        remedy = "pass --mode min or --mode max"
        require(self.mode is not None, "--mode", f"must say what is better in {source}", self.mode, remedy)
        return -1.0 if self.mode == "min" else 1.0


def kind_of(source: str) -> Kind:
    """Return what a source is, by what lies there.

    Raises:
        InvalidArgumentError: If nothing does, or nothing that is known.
    """
    path = Path(source)
    if "://" in source:
        return "optuna"
    if path.is_dir():
        if (path / PLAN).exists():  # whatever is wrong with it is said by who reads it
            return "results"
        if (path / "study.jsonl").is_file():
            return "study"
        if any(any(path.rglob(name)) for name in ("results.csv.zip", "results.csv")):
            return "syne-tune"
        if any(path.rglob("result.json")):
            return "ray-tune"
    elif path.is_file():
        if path.name == "study.jsonl" or (path.suffix == ".json" and path.parent.name == "cells"):
            return "study"
        if path.suffix.lower() in (".csv", ".jsonl", ".parquet") or path.name.lower().endswith(PACKED):
            return "table"
        return "optuna"
    rule = (
        "must hold a study: a results directory, a kept study, a table with columns config.NAME, a storage "
        "of Optuna, or an experiment of Syne Tune or Ray Tune"
    )
    remedy = "check the path" if path.exists() else "check the path; there is nothing"
    raise InvalidArgumentError(f"SOURCE: {rule}, but got {source!r}; {remedy}")


def read_past(sources: Sequence[str], how: Reading) -> tuple[list[PastStudy], list[dict[str, Any]]]:
    """Return past studies, one per task in order, and a row of provenance for each source.

    Raises:
        InvalidArgumentError: A source is none, is damaged, or no study of it can be learned from.
    """
    found: dict[str, PastStudy] = {}
    rows = []
    for source in sources:
        kind = kind_of(source)
        used = list(_READERS[kind](source, how))
        for study in used:
            found[study.task] = joined(found[study.task], study) if study.task in found else study
        name = Path(source).name if "://" not in source else source.partition("://")[0]
        rows.append({"source": name, "kind": kind, "studies": len(used), "trials": sum(map(len, used))})
    given = [str(source) for source in sources]
    rule = f"must hold finished studies of at least {LEAST} trials whose scores differ"
    require(bool(found), "SOURCE", rule, given, "run them, or longer ones")
    return list(found.values()), rows


def trials_of(events: Sequence[Event]) -> list[PastTrial]:
    """Return the trials of a study's events that were trained, with their scores by unit."""
    configs: dict[int, Mapping[str, Any]] = {}
    scores: dict[int, dict[int, float]] = {}
    for event in events:
        if isinstance(event, Started):
            configs[event.trial] = dict(event.nudge.config)
        elif isinstance(event, Report):
            own = scores.setdefault(event.job.trial, {})
            own |= {unit.unit: unit.validation for unit in event.units}
            if event.outcome in ("diverged", "failed"):
                own[event.job.until] = math.nan
    return [PastTrial(configs[trial], own) for trial, own in scores.items() if own]


def _results(source: str, how: Reading) -> Iterator[PastStudy]:
    manifest = read_manifest(Path(source))
    for variation in manifest.variations:
        for seed in variation.seeds:
            study = _cell(manifest, variation, seed, how)
            if study is not None:
                yield study


def _cell(manifest: Manifest, variation: Variation, seed: int, how: Reading) -> PastStudy | None:
    from hypernudge.study.reading import record_events

    path = cell_path(manifest.results_dir / variation.run_id, seed)
    try:
        record = read_record(path, manifest.planned(variation, seed))
        if record is None or record["status"] != "completed":
            return None
        spec = manifest.spec_of(variation, record) or {}
        longest = record["declared"].get("max_units") or spec.get("scheduler", {}).get("max_units")
        return past_study(
            how.task or variation.task,
            trials_of(record_events(record)),
            family=how.family or _family(record, path),
            log=_logarithmic(spec),
            max_units=longest,
        )
    except DamagedRecordError as error:
        say(f"left out: {error}")
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        say(f"left out: record {path}: cannot be learned from: {type(error).__name__}: {error}")
    return None


def _family(record: Record, path: Path) -> str | None:
    """Return the family that was noted, None where it was not."""
    description = description_of(record, path)
    facts = None if description is None else facts_of(description, len(record["trials"]))
    return None if facts is None else facts.family


def _logarithmic(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hyper-parameters that a configuration declares on a logarithmic scale."""
    from hypernudge.tasks.spaces import build_space

    try:
        return logarithmic(build_space(spec["space"]))
    except (KeyError, InvalidArgumentError):  # a task of one's own has a space of its own
        return ()


def logarithmic(space: SearchSpace | None) -> tuple[str, ...]:
    """Return the hyper-parameters of a space that are on a logarithmic scale."""
    return tuple(p.name for p in space or () if isinstance(p, Real) and p.log) if space is not None else ()


def _kept(source: str, how: Reading) -> Iterator[PastStudy]:
    from hypernudge.study.study import Study

    study = Study.open(source)
    task, family = how.task or study.about.task, how.family or study.about.family or None
    trials = trials_of(study.history.events)
    log = logarithmic(study.about.space)
    found = past_study(task, trials, family=family, log=log, max_units=study.about.max_units)
    if found is not None:
        yield found


def _imported(tool: str) -> Any:
    def read(source: str, how: Reading) -> Iterator[PastStudy]:
        from hypernudge.evidence.importers import READERS
        from hypernudge.evidence.importers.runs import COUNT

        try:
            runs = list(READERS[tool](source, how.metric, COUNT))
        except OSError as error:
            where = error.filename if error.filename is not None else source
            raise InvalidArgumentError(
                f"SOURCE: {where} cannot be read: {error.strerror or error}; check the path"
            ) from None
        for run in runs:
            study = _run(run, how)
            if study is not None:
                yield study

    return read


def _run(run: Run, how: Reading) -> PastStudy | None:
    from hypernudge.evidence.importers.naming import task_of

    known = [tried for tried in run.tried if tried.config]
    if run.tried and not known:
        say(f"left out: {run.name}: its trials have no configurations")
    sign = how.sign(run.name) if run.direction == "unknown" else -1.0 if run.direction == "minimise" else 1.0
    trials = [PastTrial(t.config, {unit: sign * score for unit, score in t.scores.items()}) for t in known]
    log = tuple(dict.fromkeys(name for tried in known for name in tried.log))
    return past_study(how.task or task_of(run), trials, family=how.family, log=log)


def _table(source: str, how: Reading) -> Iterator[PastStudy]:
    from hypernudge.evidence.loading.longform import CELL, check_long_form
    from hypernudge.evidence.loading.longform_files import CONFIG
    from hypernudge.results.printable import from_csv

    raw = _rows(Path(source))
    frame = check_long_form(raw, wall_clock=False).frame
    given = raw.frame.reset_index(drop=True)
    columns = [name for name in given.columns if str(name).startswith(CONFIG)]
    rule = f"must have columns {CONFIG}NAME, one for each hyper-parameter"
    remedy = "`hypernudge import --configurations` writes them"
    require(bool(columns), "SOURCE", rule, sorted(map(str, given.columns))[:20], remedy)
    sign = how.sign(Path(source).name)
    for rows in frame.groupby(CELL, sort=False, observed=True).indices.values():
        configs: dict[Any, dict[str, Any]] = {}
        scores: dict[Any, dict[int, float]] = {}
        for row in np.sort(rows):
            trial = given["trial"][row] if "trial" in given else row
            if trial not in configs:
                values = {str(name).removeprefix(CONFIG): given[name][row] for name in columns}
                configs[trial] = {
                    name: typed(from_csv(value) if isinstance(value, str) else value)
                    for name, value in values.items()
                    if not (value == "" or value is None or value != value)
                }
            own = scores.setdefault(trial, {})
            unit = _unit(given["unit"][row], raw.lines[row]) if "unit" in given else len(own) + 1
            own[unit] = sign * float(frame["score"][row])
        trials = [PastTrial(configs[trial], own) for trial, own in scores.items() if configs[trial]]
        family = how.family or (str(given["family"][min(rows)]) if "family" in given else None)
        task = how.task or str(frame["task"][min(rows)])
        study = past_study(task, trials, family=family)
        if study is not None:
            yield study


def _rows(path: Path) -> RawRows:
    from hypernudge.evidence.loading.longform_files import read_rows

    if not path.name.lower().endswith(PACKED):
        return read_rows(path)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name[: -len(".gz")]
        try:
            plain.write_bytes(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, zlib.error) as error:
            reason = one_line(error)
            raise InvalidArgumentError(
                f"SOURCE: {path} must be packed by gzip, but: {reason}; pack it again"
            ) from None
        return read_rows(plain)


def _unit(value: Any, line: int) -> int:
    number = stored(typed(value))
    whole = is_real(number) and number >= 1 and float(number).is_integer()
    rule = "unit must be a whole number >= 1"
    require(whole, f"SOURCE, row {line}", rule, value, "count units of training")
    return int(number)


_READERS: dict[Kind, Any] = {
    "results": _results,
    "study": _kept,
    "table": _table,
    "optuna": _imported("optuna"),
    "syne-tune": _imported("syne-tune"),
    "ray-tune": _imported("ray-tune"),
}
