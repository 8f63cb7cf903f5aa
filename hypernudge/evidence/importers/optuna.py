"""Optuna: every study of a storage is one cell, every finished trial one score.

A study's cell is found by its user attributes task, variation and seed, or by its name. The time of a trial
is when it was complete, counted from the start of the first one. Pruned and failed trials have no final value
and are left out; a study in which no trial has one stays, as a miss. Storages are only read: an SQLite file
is opened as such, a journal file is read line by line.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.runs import COUNT, Direction, Run, Score, Tried, idle_note, line

_SQLITE = b"SQLite format 3\x00"


def read(source: str, metric: str | None = None, clock: str = "wall") -> Iterator[Run]:
    """Yield one run per study.

    Args:
        source: Storage address (`sqlite:///study.db`), or the path of an SQLite or journal file.
        metric: Must be None: a study has one value per trial.
        clock: "wall", or "count" where times do not matter.

    Raises:
        InvalidArgumentError: Optuna is not installed, the storage does not exist or is none, or a study has
            several values.
    """
    try:
        import optuna
    except ImportError:
        raise InvalidArgumentError(
            "TOOL: reading Optuna studies needs optuna, which is not installed; install hypernudge[optuna]"
        ) from None
    require(metric is None, "--metric", "an Optuna study has one value per trial", metric, "leave it out")
    shown = _without_password(source)
    # Whatever a damaged storage makes of Optuna, SQLAlchemy and drivers of databases, it is one line here.
    try:
        storage = _storage(source, shown)
        names = sorted(optuna.study.get_all_study_names(storage=storage))
        require(bool(names), "SOURCE", "must hold at least one study", shown, "check the address")
        studies = [(name, optuna.load_study(study_name=name, storage=storage)) for name in names]
        read_out = [(name, study, study.get_trials(deepcopy=False)) for name, study in studies]
    except (InvalidArgumentError, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = line(error).replace(source, shown)[:300]
    else:
        for name, study, trials in read_out:
            yield _run(study, name, trials, clock != COUNT)
        return
    remedy = "check the address (`optuna storage upgrade` renews an old one)"
    raise InvalidArgumentError(f"SOURCE: {shown} must be a storage of Optuna, but: {reason}; {remedy}")


def _storage(source: str, shown: str) -> Any:
    """The storage behind an address or a path, opened so that nothing in it can change."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.pool import NullPool

    path = Path(source.removeprefix("sqlite:///")) if source.startswith("sqlite:///") else Path(source)
    if "://" in source and not source.startswith("sqlite:"):
        scheme = source.partition("://")[0]
        known = scheme.partition("+")[0] in ("mysql", "postgresql", "oracle", "mssql", "mariadb")
        require(known, "SOURCE", "must be the address of a database", shown, "name sqlite:///FILE or a file")
        return RDBStorage(source, skip_table_creation=True)
    remedy = "check the path" if not path.is_dir() else "name the storage file in it"
    # Connecting to SQLite creates what is not there: an empty file would read as "no studies".
    require(path.is_file(), "SOURCE", "must exist, as a file", shown, remedy)
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if head == _SQLITE:
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        return RDBStorage(
            "sqlite://",
            engine_kwargs={"creator": lambda: sqlite3.connect(address, uri=True), "poolclass": NullPool},
            skip_table_creation=True,
        )
    rule = "must be an SQLite file or a journal file of Optuna"
    require(head[:1] == b"{", "SOURCE", rule, shown, "check the path")
    return JournalStorage(JournalFileBackend(str(path)))


def _without_password(source: str) -> str:
    """An address as it may be shown."""
    scheme, separator, rest = source.partition("://")
    user, at, host = rest.rpartition("@")
    if not separator or not at:
        return source
    return f"{scheme}://{user.partition(':')[0]}:***@{host}" if ":" in user else source


def _run(study: Any, name: str, trials: list[Any], strict: bool) -> Run:
    single = len(study.directions) == 1
    require(single, "SOURCE", "a study must have one objective", name, "export the objective you mean as CSV")
    done = [t for t in trials if t.state.name == "COMPLETE" and t.datetime_complete is not None]
    spans = [
        (t.datetime_start.timestamp(), t.datetime_complete.timestamp(), t.number)
        for t in trials
        if t.datetime_start is not None and t.datetime_complete is not None
    ]
    for begin, end, trial in spans:
        rule = f"trial {trial} of study {name!r} must not end before it begins"
        remedy = "the clock was set back meanwhile, and nobody can tell by how much: pass --time count"
        require(not strict or end >= begin, "SOURCE", rule, f"{end - begin:g} s", remedy)
    starts = [t.datetime_start.timestamp() for t in trials if t.datetime_start is not None]
    direction: Direction = "minimise" if study.direction.name == "MINIMIZE" else "maximise"
    tried = [t for t in trials if t.state.is_finished()]
    return Run(
        name=name,
        attributes={str(key): str(value) for key, value in study.user_attrs.items()},
        begun=min(starts, default=0.0),
        scores=tuple(
            Score(str(t.number), t.datetime_complete.timestamp() if strict else float(place), float(t.value))
            for place, t in enumerate(sorted(done, key=_completed))
        ),
        direction=direction,
        unscored=len(trials) - len(done),
        ended=max((end for _, end, _ in spans), default=None),
        whole=True,
        absent="" if tried else "for none of their trials has ended",
        notes=idle_note(name, [(begin, end) for begin, end, _ in spans]) if strict else (),
        tried=tuple(_tried(t) for t in tried if t.params),
    )


def _tried(trial: Any) -> Tried:
    """Return a trial's configuration with its scores; Optuna counts steps from 0."""
    scores = {int(step) + 1: float(value) for step, value in sorted(trial.intermediate_values.items())}
    last = max(scores, default=1)
    if trial.state.name == "COMPLETE":
        scores[last] = float(trial.value)
    elif trial.state.name == "FAIL":
        scores[last + 1 if scores else 1] = math.nan
    log = (name for name, of in trial.distributions.items() if getattr(of, "log", False))
    return Tried(str(trial.number), dict(trial.params), scores, tuple(log))


def _completed(trial: Any) -> datetime:
    moment: datetime = trial.datetime_complete
    return moment
