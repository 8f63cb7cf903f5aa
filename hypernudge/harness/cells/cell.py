"""One cell: build what a variation describes, tune with one seed, and turn the history into a record."""

from __future__ import annotations

import contextlib
import resource
import statistics
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from hypernudge.engine.base import Engine
from hypernudge.errors import InvalidArgumentError, NotSavedError, UnavailableError
from hypernudge.harness.cells.build import Prepared, build_engine, prepare
from hypernudge.harness.cells.checkpoint import is_full, is_kept, remove_study, study_folder
from hypernudge.harness.cells.described import describe
from hypernudge.harness.cells.metering import CellMeter, cluster_usage, used_by_trials
from hypernudge.harness.cells.provenance import hardware
from hypernudge.harness.cells.records import (
    Appender,
    StorageError,
    claim,
    crashed,
    header,
    partial_path,
    seal_record,
)
from hypernudge.harness.planning.engines import has_real_workers
from hypernudge.random import Streams
from hypernudge.results.plan import Variation
from hypernudge.results.records import cell_path, read_record
from hypernudge.space import SearchSpace
from hypernudge.study.study import Study
from hypernudge.task import GradientTask, Task
from hypernudge.trial import Event, Job, Report, Started
from hypernudge.tuner import tune


def run_cell(
    variation: Variation, seed: int, run_dir: Path, attempt: int = 1, checkpoint: bool = False
) -> dict[str, Any]:
    """Return the sealed record of a cell, computing it if there is none yet.

    What the study raises (not a trial: those are caught one by one) is sealed as a crashed cell: it is
    censored at its budget, and counts. So is running out of memory, as far as Python gets to say it.

    Args:
        variation: What it is of.
        seed: Its seed.
        run_dir: Folder of the variation.
        attempt: At this cell, from 1, for whoever asks what runs.
        checkpoint: Whether what is reported is kept on disk, and a cell that was begun goes on.

    Raises:
        InvalidArgumentError: If the variation cannot be built; nothing is sealed then.
        StorageError: If the log or the record cannot be written; nothing is sealed then either.
    """
    path = cell_path(run_dir, seed)
    with claim(path, attempt):
        record = read_record(path, variation.planned(seed))
        if record is not None:
            return record
        torch.set_num_threads(1)
        meter = CellMeter(path, attempt)
        prepared = prepare(variation.spec)
        with contextlib.closing(Appender(partial_path(path))) as appender:
            appender({"event": "cell", **header(variation, seed), "declared": prepared.declared})
            try:
                if checkpoint:
                    record = _checkpointed(variation, seed, prepared, appender, path)
                else:
                    record = _record(variation, seed, prepared, appender)
            except (StorageError, UnavailableError):  # says nothing about the method
                raise
            except NotSavedError as error:  # of a trial, in whatever folder: nor does that
                reason = error.strerror or error
                raise StorageError(f"a trial's file could not be written: {reason}") from error
            except Exception:  # the harness goes on with the other cells, and says what happened
                record = crashed(variation, seed, prepared.declared, traceback.format_exc())
            except BaseException:  # asked to leave
                if checkpoint:
                    meter.keep(path)
                raise
        used = meter.read(record["wall"].get("trials", ()))
        record["wall"] |= {"total_seconds": used.wall_seconds, "peak_memory_bytes": peak_memory()}
        elsewhere = has_real_workers(variation.spec["engine"])
        record["wall"] |= {"wall_fee": meter.fee(record["wall"], elsewhere)}
        record["wall"] |= {"hardware": hardware(), "resources": used.as_data(), **cluster_usage()}
        describe(record, prepared.task, variation.spec["task"]["name"])  # no part of what was measured
        seal_record(path, record)
    return record


def peak_memory() -> int:
    """Peak resident memory of this process; the cell's, where it has a process of its own."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _checkpointed(
    variation: Variation, seed: int, prepared: Prepared, append: Appender, path: Path
) -> dict[str, Any]:
    """Return the record of a study that is kept beside it, and goes on where it was; see `_record`."""
    begun, folder = is_kept(path), study_folder(path)
    try:
        return _record(variation, seed, prepared, append, folder)
    except UnavailableError:
        raise
    except InvalidArgumentError as error:
        if not begun:
            raise
        sys.stderr.write(
            f"{variation.run_id}: seed {seed} begins anew, for its checkpoint is no use: {error}\n"
        )
        remove_study(path)
        return _record(variation, seed, prepared, append, folder)
    except OSError as error:
        if is_full(error):
            raise StorageError(f"{folder.name} could not be written: {error.strerror or error}") from error
        raise


def _record(
    variation: Variation, seed: int, prepared: Prepared, append: Appender, folder: Path | None = None
) -> dict[str, Any]:
    study = tune(
        prepared.task,
        prepared.scheduler,
        seed=seed,
        budget=prepared.declared["budget_seconds"],
        warm_start=prepared.warm_start,
        engine=engine_of(variation.spec, prepared, seed),
        study=folder,
        test="every",
        keep_weights=False,
        progress=False,
        callback=lambda event: append(logged(event)),
    )
    return record_of(variation, seed, prepared, study)


def engine_of(spec: dict[str, Any], prepared: Prepared, seed: int, **shared: Any) -> Engine:
    """Build the engine of a cell; `shared` goes to it besides what `spec` says.

    Raises:
        InvalidArgumentError: For an option that it does not take, or a value that breaks a rule.
    """
    seed_of, deadline = Streams(seed).trial_seed, prepared.declared["budget_seconds"]
    return build_engine(spec, prepared.task, seed_of, deadline, **shared)


def record_of(variation: Variation, seed: int, prepared: Prepared, study: Study) -> dict[str, Any]:
    """Return the record of a completed study."""
    kinds = [trial.nudge.kind for trial in study.history.trials]
    return {
        "format": 1,
        "description": {"kinds": kinds},  # begun; what else belongs to it `describe` adds
        "cell": header(variation, seed),
        "declared": prepared.declared,
        "status": "completed",
        **_contents(study, prepared.task.space),
        "bill": _bill(study, prepared.task),
        "wall": _wall(study, prepared.task)
        | {"curve": _work_seconds(study), "trials": used_by_trials(study)},
    }


def logged(event: Event) -> dict[str, Any]:
    """Return an event as the log of a running cell shows it."""
    if isinstance(event, Started):
        nudged = dict(event.nudge.config)
        return {"event": "start", "trial": event.trial, "time": event.time, "nudged": nudged}
    if isinstance(event, Job):
        return {"event": "job", "trial": event.trial, "since": event.since, "until": event.until}
    scores = [unit.validation for unit in event.units]
    return {"event": event.outcome, "trial": event.job.trial, "time": event.finished, "validation": scores}


def _contents(study: Study, space: SearchSpace) -> dict[str, Any]:
    trained: dict[int, int] = {}
    rows: list[tuple[float, int, int, float, float]] = []
    for report in study.reports:
        for unit in report.units:
            rows.append((unit.time, report.job.trial, unit.unit, unit.validation, unit.test))
            trained[report.job.trial] = unit.unit
    rows.sort(key=lambda row: row[:3])
    trials = []
    for trial in study.history.trials:
        nudge = trial.nudge
        trials.append(
            {
                "trial": trial.number,
                "sampled": dict(trial.sampled),
                "nudged": dict(trial.config),
                "nudge": {
                    "policy": nudge.policy,
                    "changed": nudge.changed,
                    "flagged": nudge.flagged,
                    "reason": nudge.reason,
                    "gradient": dict(nudge.gradient) if nudge.gradient is not None else None,
                    "gradient_norm": nudge.gradient_norm,
                    "z": nudge.z,
                    "flops": nudge.flops,
                    "measurements": dict(nudge.measurements),
                },
                "started": trial.started,
                "units": trained.get(trial.number, 0),
                "status": trial.status,
                "milestones": sorted(trial.milestones),
            }
        )
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), (), ()]
    names = ("time", "trial", "unit", "validation", "test")
    curve = {name: list(column) for name, column in zip(names, columns, strict=True)}
    scales = {p.name: bool(getattr(p, "log", False)) for p in space}
    errors = [
        {"trial": report.job.trial, "traceback": report.error} for report in study.reports if report.error
    ]
    return {"trials": trials, "curve": curve, "errors": errors, "log_scale": scales}


def _bill(study: Study, task: Task) -> dict[str, Any]:
    nudges = [trial.nudge for trial in study.history.trials]
    warm = sum(nudge.flops for nudge in nudges)
    total = sum(report.flops for report in study.reports)
    measured = [nudge.flops for nudge in nudges if nudge.flops > 0]
    price = None
    if measured and isinstance(task, GradientTask):
        price = statistics.median(measured) / task.step_flops
    return {
        "training_flops": total - warm,
        "warm_start_flops": warm,
        "total_flops": total,
        "measurements": len(measured),
        "price_in_training_steps": price,
    }


def _work_seconds(study: Study) -> dict[str, Any]:
    """Return the seconds of the wall that had been worked when each score of the curve was known.

    Measuring and training are counted, one after the other, in the order in which they were reported: what
    one worker would need. Entries are those of the curve, in its order; `end` is when all was done.
    """
    now = 0.0
    rows: list[tuple[float, int, int, float]] = []
    for event in study.history.events:
        if isinstance(event, Started):
            now += event.nudge.wall_seconds
        elif isinstance(event, Report):
            for place, unit in enumerate(event.units, 1):
                at = now + event.wall_seconds * place / len(event.units)
                rows.append((unit.time, event.job.trial, unit.unit, at))
            now += event.wall_seconds
    rows.sort(key=lambda row: row[:3])
    return {"seconds": [row[3] for row in rows], "end": now}


def _wall(study: Study, task: Task) -> dict[str, Any]:
    """Return wall times; the price compares a measurement with one training step as it really ran."""
    training = sum(report.wall_seconds for report in study.reports)
    nudges = [trial.nudge for trial in study.history.trials]
    measured = [nudge.wall_seconds for nudge in nudges if nudge.flops > 0]
    units = sum(len(report.units) for report in study.reports)
    price = None
    if measured and units and isinstance(task, GradientTask):
        step = training / (units * task.steps_per_unit)
        seconds = statistics.median(measured)
        price = {"seconds": seconds, "step_seconds": step, "in_training_steps": seconds / step}
    return {
        "training_seconds": training,
        "warm_start_seconds": sum(nudge.wall_seconds for nudge in nudges),
        "warm_start_price": price,
    }
