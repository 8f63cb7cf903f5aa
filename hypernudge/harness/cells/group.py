"""Cells of several seeds in one process: one study each, all training on one population."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hypernudge.engine.multi_study import run_studies
from hypernudge.engine.population import PopulationEngine
from hypernudge.harness.cells.build import Prepared, prepare
from hypernudge.harness.cells.cell import engine_of, logged, peak_memory, record_of
from hypernudge.harness.cells.described import describe
from hypernudge.harness.cells.metering import CellMeter, cluster_usage
from hypernudge.harness.cells.records import (
    Appender,
    StorageError,
    claim,
    crashed,
    header,
    partial_path,
    seal_record,
)
from hypernudge.results.plan import Variation
from hypernudge.results.records import cell_path, read_record
from hypernudge.tuner import iter_study


def run_group(variation: Variation, seeds: Sequence[int], run_dir: Path, attempt: int = 1) -> None:
    """Seal the record of every seed that has none yet; each as its study ends.

    Records are those that `run_cell` would seal with the serial engine, but for wall times and, for a task
    without a batched form of its own, rounding (see `hypernudge.engine.population`): `total_seconds`
    runs from the beginning of the group, `cells_together` says how many it trained.

    Raises:
        InvalidArgumentError: If the variation cannot be built; nothing is sealed then.
        StorageError: If a log or a record could not be written; all other cells are sealed first.
    """
    with contextlib.ExitStack() as stack:
        for seed in sorted(seeds):  # in one order everywhere, so that two runs never wait for each other
            stack.enter_context(claim(cell_path(run_dir, seed), attempt))
        missing = [
            seed for seed in seeds if read_record(cell_path(run_dir, seed), variation.planned(seed)) is None
        ]
        if missing:
            torch.set_num_threads(1)
            _run(variation, missing, run_dir, attempt)


def _run(variation: Variation, seeds: Sequence[int], run_dir: Path, attempt: int) -> None:
    meter = CellMeter(cell_path(run_dir, seeds[0]), attempt, len(seeds))
    prepared = prepare(variation.spec)
    first = engine_of(variation.spec, prepared, seeds[0])
    assert isinstance(first, PopulationEngine)  # the pool makes groups for nothing else
    population = first.population
    with contextlib.ExitStack() as stack:
        studies = {}
        failed: list[StorageError] = []
        for seed in seeds:
            appender = Appender(partial_path(cell_path(run_dir, seed)))
            stack.callback(appender.close)
            appender({"event": "cell", **header(variation, seed), "declared": prepared.declared})
            engine = engine_of(variation.spec, prepared, seed, population=population)
            assert isinstance(engine, PopulationEngine)  # as above
            studies[seed] = _study(prepared, engine, seed, appender), engine
        for seed, result in run_studies(studies, population):
            if isinstance(result, StorageError):  # says nothing about the method
                failed.append(result)
                continue
            if isinstance(result, Exception):
                reason = "".join(traceback.format_exception(result))
                record = crashed(variation, seed, prepared.declared, reason)
            else:
                record = record_of(variation, seed, prepared, result)
            used = meter.read(record["wall"].get("trials", ()))
            record["wall"] |= {"total_seconds": used.wall_seconds, "cells_together": len(seeds)}
            record["wall"] |= {"wall_fee": meter.fee(record["wall"], elsewhere=False)}
            record["wall"] |= {"peak_memory_bytes": peak_memory(), "resources": used.as_data()}
            record["wall"] |= cluster_usage()
            describe(record, prepared.task, variation.spec["task"]["name"])  # no part of what was measured
            try:
                seal_record(cell_path(run_dir, seed), record)
            except StorageError as error:
                failed.append(error)
    if failed:
        raise failed[0]


def _study(prepared: Prepared, engine: PopulationEngine, seed: int, append: Appender) -> Any:
    return iter_study(
        prepared.task,
        prepared.scheduler,
        engine,
        seed=seed,
        budget=prepared.declared["budget_seconds"],
        warm_start=prepared.warm_start,
        callback=lambda event: append(logged(event)),
    )
