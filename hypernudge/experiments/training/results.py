"""Results of runs: the record, its JSON file, and the published schema that every file is held to."""

from __future__ import annotations

import functools
import importlib.resources
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hypernudge.results.files import write_text
from hypernudge.results.jsonio import plain

SCHEMA_VERSION = 1
SCHEMA_FILE = "run_result.schema.json"


class UnreadableResultError(ValueError):
    """A file that is no usable result; the message names the file, what is wrong with it and the remedy."""


@dataclass(frozen=True)
class RunResult:
    """One finished run. Accuracies are shares of 1, losses mean cross entropies, times seconds.

    Attributes:
        method_name: Baseline, AdamW, AdaptiveScheduler or RandomScheduler.
        task_name: cifar100, sst2 or agnews.
        seed: Seed of the run.
        model_name: As given on the command line.
        dataset_name: Name of the data set.
        config: Every setting that determines the result; no paths.
        best_val_accuracy: Largest of `val_accuracies`.
        final_val_accuracy: Last of them.
        final_train_loss: Last of `train_losses`; None if it was not finite.
        total_steps: Optimizer steps.
        total_epochs: Epochs.
        wall_clock_seconds: Training and evaluation; loading, checkpoints and the test set are not in it.
        estimated_flops: FLOPs of training and of the validation after each epoch, by operator.
        accuracy_per_tflop: `best_val_accuracy` over `estimated_flops / 1e12`.
        train_losses: Per epoch, the mean over its samples as they were trained on.
        train_accuracies: Per epoch, against the labels that were trained on.
        val_accuracies: Per epoch.
        epoch_wall_clock_seconds: Per epoch.
        epoch_tflops: Per epoch.
        episode_logs: Columns of the closed episodes; None for the baseline.
        controller_logs: Per axis: kind, arms, pulls and value estimates; None for the baseline.
        run_tag: Free text.
        runtime_metrics: Throughput, hardware, episodes, test accuracy, label-noise diagnostics.
        provenance: Commit, versions, machine and date.
        schema_version: Version of this format.
    """

    method_name: str
    task_name: str
    seed: int
    model_name: str
    dataset_name: str
    config: dict[str, Any]
    best_val_accuracy: float
    final_val_accuracy: float
    final_train_loss: float | None
    total_steps: int
    total_epochs: int
    wall_clock_seconds: float
    estimated_flops: float
    accuracy_per_tflop: float
    train_losses: list[float | None]
    train_accuracies: list[float]
    val_accuracies: list[float]
    epoch_wall_clock_seconds: list[float]
    epoch_tflops: list[float]
    episode_logs: dict[str, list[Any]] | None
    controller_logs: dict[str, Any] | None
    run_tag: str | None
    runtime_metrics: dict[str, Any]
    provenance: dict[str, Any]
    schema_version: int = SCHEMA_VERSION


def save_run_result(result: RunResult, path: Path) -> None:
    """Write a result atomically: strict JSON, two blanks of indent, sorted keys.

    Raises:
        UnreadableResultError: The result does not satisfy the schema; nothing is written.
    """
    data = plain(asdict(result))
    _check(data, path)
    write_text(path, json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n")


def load_run_result(path: Path) -> RunResult:
    """Read a result.

    Raises:
        UnreadableResultError: The file is truncated, edited, of another version or no result at all.
        FileNotFoundError: There is no such file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise UnreadableResultError(f"{path}: is not JSON ({error}); move it aside and run again") from None
    _check(data, path)
    return RunResult(**{entry.name: data[entry.name] for entry in fields(RunResult)})


@functools.cache
def schema() -> dict[str, Any]:
    """Return the published JSON schema (draft 2020-12) of a result."""
    folder = importlib.resources.files("hypernudge.experiments.training")
    text = folder.joinpath(SCHEMA_FILE).read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _check(data: Any, path: Path) -> None:
    if not isinstance(data, dict) or "method_name" not in data:
        raise UnreadableResultError(f"{path}: is not the result of a run; move it out of this directory")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        written = "before versions were noted" if version is None else f"in version {version} of the format"
        raise UnreadableResultError(
            f"{path}: was written {written}, and this is version {SCHEMA_VERSION}; run it again"
        )
    import jsonschema

    error = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "the record"
        raise UnreadableResultError(f"{path}: {where}: {error.message[:200]}; move it aside and run again")


@functools.cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(schema())
