"""The command behind `experiments/task_*.py`: prepare, train, write one result."""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypernudge import console
from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.experiment import Experiment, UnavailableError
from hypernudge.experiments.training.results import (
    RunResult,
    UnreadableResultError,
    load_run_result,
    save_run_result,
)
from hypernudge.harness.cells.records import claim
from hypernudge.harness.running.progress import Progress
from hypernudge.results.jsonio import emit, plain


@console.forgiving()
def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """Run one experiment; returns the exit code. Events are JSON lines on stdout, all else is on stderr."""
    options = experiment.parser().parse_args(arguments)
    try:
        config = experiment.configure(options)
        output = options.output or experiment.default_output(config)
        if options.dry_run:
            return _dry_run(experiment, options, config, output)
        done = experiment.prepare(options)
        if done is not None:
            emit(dict(done))
            return 0
        with claim(output):
            if _finished(output, config, options):
                emit({"event": "kept", "output": output.as_posix()})
                return 0
            _train(experiment, options, config, output)
    except (InvalidArgumentError, UnreadableResultError) as error:
        return console.refuse(error)
    return 0


def _finished(output: Path, config: RunConfig, options: argparse.Namespace) -> bool:
    """Return whether the result to resume is there already.

    Raises:
        InvalidArgumentError: It is that of a run with other settings.
        UnreadableResultError: What is there is no result.
    """
    if not options.resume or options.overwrite or not output.exists():
        return False
    from hypernudge.episodes.lifecycle.persistence import differences

    saved = load_run_result(output)
    # Through JSON, as the saved one: tuples are lists, and whole numbers may be floats.
    found = differences(saved.config, json.loads(json.dumps(config.as_dict())))
    if found:
        raise InvalidArgumentError(
            f"--output: {output} is the result of a run with other settings ({'; '.join(found)}); "
            "choose another"
        )
    return True


def _set_aside(output: Path) -> None:
    """Rename a result that is there to the first free name that no report reads."""
    if not output.exists():
        return
    names = (output.with_name(f"{output.name}.{number}") for number in itertools.count(1))
    aside = next(path for path in names if not path.exists())
    output.rename(aside)
    sys.stderr.write(f"note: the earlier result is kept as {aside}\n")


def _warn(config: RunConfig, steps: int) -> list[str]:
    from hypernudge.experiments.training.schedules import schedule_warnings

    found = schedule_warnings(config, steps)
    for line in found:
        sys.stderr.write(f"warning: {line}\n")
    return found


def _train(experiment: Experiment, options: argparse.Namespace, config: RunConfig, output: Path) -> None:
    import torch

    from hypernudge.experiments.task_data import StepCosts
    from hypernudge.experiments.training.checkpoints import checkpoint_path
    from hypernudge.experiments.training.hardware import choose_device
    from hypernudge.experiments.training.trainer import CheckpointConfig, Trainer

    device = choose_device(options.device)
    data = experiment.load_data(options, config, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = experiment.model(options, skeleton=False).to(device)
    costs = StepCosts(experiment.model(options, skeleton=True), data.samples, experiment.lengths)
    checkpoint = checkpoint_path(output)
    trainer = Trainer(
        config,
        data,
        model,
        costs,
        device,
        checkpoints=CheckpointConfig(checkpoint, options.checkpoint_steps, options.resume),
        evaluate_test=options.evaluate_test,
        emit=emit,
    )
    total = config.epochs * trainer.steps_per_epoch
    warnings = _warn(config, trainer.steps_per_epoch)
    with Progress(total, unit="steps") as progress:
        progress.running(f"{config.task_name} {config.method_name} seed {config.seed}")

        def on_step(steps: int) -> None:
            progress.advance(steps - progress.done)

        trainer.on_step = on_step
        seen = trainer.run()
    result = _result(config, trainer, seen, options, warnings)
    if not options.overwrite:
        _set_aside(output)
    save_run_result(result, output)
    checkpoint.unlink(missing_ok=True)
    emit(
        {
            "event": "result",
            "output": output.as_posix(),
            "best_val_accuracy": result.best_val_accuracy,
            "final_val_accuracy": result.final_val_accuracy,
            "wall_clock_seconds": round(result.wall_clock_seconds, 3),
            "tflops": result.estimated_flops / 1e12,
        }
    )


def _result(
    config: RunConfig, trainer: Any, seen: Any, options: argparse.Namespace, warnings: list[str]
) -> RunResult:
    from hypernudge.experiments.training.runtime_metrics import runtime_metrics
    from hypernudge.harness.cells.provenance import provenance

    episodes, controllers = trainer.stepper.logs()
    flops = sum(seen.epoch_flops)
    best = max(seen.val_accuracies)
    return RunResult(
        method_name=config.method_name,
        task_name=config.task_name,
        seed=config.seed,
        model_name=trainer.data.model_name,
        dataset_name=trainer.data.dataset_name,
        config=config.as_dict(),
        best_val_accuracy=best,
        final_val_accuracy=seen.val_accuracies[-1],
        final_train_loss=seen.train_losses[-1],
        total_steps=seen.step,
        total_epochs=config.epochs,
        wall_clock_seconds=sum(seen.epoch_seconds),
        estimated_flops=flops,
        accuracy_per_tflop=best / (flops / 1e12),
        train_losses=list(seen.train_losses),
        train_accuracies=list(seen.train_accuracies),
        val_accuracies=list(seen.val_accuracies),
        epoch_wall_clock_seconds=list(seen.epoch_seconds),
        epoch_tflops=[value / 1e12 for value in seen.epoch_flops],
        episode_logs=episodes,
        controller_logs=controllers,
        run_tag=options.run_tag,
        runtime_metrics=runtime_metrics(trainer, warnings),
        provenance={
            **provenance(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    )


def _dry_run(experiment: Experiment, options: argparse.Namespace, config: RunConfig, output: Path) -> int:
    """Print what the run would be: configuration, steps, FLOPs, files."""
    import torch

    from hypernudge.experiments.batches import steps_per_epoch
    from hypernudge.experiments.task_data import StepCosts
    from hypernudge.experiments.training.checkpoints import checkpoint_path
    from hypernudge.experiments.training.trainer import planned_flops

    experiment.prepare(options)
    plan: dict[str, Any] = {"event": "dry_run", "config": config.as_dict()}
    data = None
    try:
        data = experiment.load_data(options, config, torch.device("cpu"))
        rows = {part: data.size(part) for part in data.samples.labels}
        plan["data"] = {"rows": rows, "source": "files"}
    except UnavailableError as error:
        rows, longest = experiment.declared(config)
        plan["data"] = {"rows": rows, "source": "published sizes", "missing": str(error)}
    plan["steps_per_epoch"] = steps_per_epoch(rows["train"], config.batch_size)
    plan["total_steps"] = config.epochs * plan["steps_per_epoch"]
    try:
        costs = StepCosts(experiment.model(options, skeleton=True), experiment.blank(), experiment.lengths)
        if data is not None:
            flops, basis = sum(planned_flops(config, data, costs)), "every batch"
        else:
            each = costs(rows["train"], longest, training=True)
            flops = config.epochs * (each + costs(rows["validation"], longest, training=False))
            basis = "every sample at its greatest length: an upper bound"
        plan["flops"] = {"estimated_flops": flops, "basis": basis}
    except UnavailableError as error:
        plan["flops"] = {"estimated_flops": None, "basis": str(error)}
    plan["files"] = {"result": output.as_posix(), "checkpoint": checkpoint_path(output).as_posix()}
    plan["warnings"] = _warn(config, plan["steps_per_epoch"])
    sys.stdout.write(json.dumps(plain(plan), indent=2, allow_nan=False) + "\n")
    return 0
