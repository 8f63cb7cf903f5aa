"""Run a whole experiment: every variation as a subprocess, one after the other, then the evaluation."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness import forked
from hypernudge.harness.declare import (
    changes,
    is_recorded,
    power_rows,
    record_deviation,
    runnable,
)
from hypernudge.harness.launch import FORK_SERVER
from hypernudge.harness.plan import Plan
from hypernudge.harness.progress import Progress
from hypernudge.harness.resolve import load_plan
from hypernudge.results.files import write_text
from hypernudge.results.plan import ResultsError, read_manifest

Child = subprocess.Popen[str] | forked.Forked


def parse_with_overrides(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """Parse a command line whose `KEY=VALUE` overrides may stand anywhere among its options.

    `argparse` cannot: once it has met an option it takes a list of positional arguments for finished.
    """
    options, rest = parser.parse_known_args(arguments)
    stray = [argument for argument in rest if argument.startswith("-") or "=" not in argument]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}; overrides have the form KEY=VALUE")
    return options, rest


def run_experiment(
    config_file: Path,
    results_dir: Path,
    overrides: Sequence[str],
    train_command: Sequence[str] | None,
    evaluate_command: Sequence[str],
    deviate: str | None = None,
) -> int:
    """Run an experiment into `results_dir`; return 0 only if every variation and the evaluation ran.

    Where `results_dir` holds a declared plan, that plan is what is run and judged; where it is empty and
    targets are `pilot`, the plan is declared first, as `hypernudge plan` does. `deviate`, a reason, lets
    a changed one run all the same: the change is recorded, and every report shows it. Variations are trained
    by `train_command`, or, without one, in processes forked from one server: nothing is imported twice.

    Raises:
        InvalidArgumentError: Before any work, if the configuration is invalid or `results_dir` holds the
            results of another plan.
    """
    plan = runnable(load_plan(config_file, overrides), results_dir)
    _claim_directory(plan, results_dir, deviate)
    _warn(plan)
    write_text(results_dir / "experiment.yaml", plan.as_yaml())
    failed = []
    with Progress(sum(len(variation.seeds) for variation in plan.variations)) as progress:
        for index, variation in enumerate(plan.variations):
            run_dir = results_dir / variation.run_id
            progress.running(f"[{index + 1}/{len(plan.variations)}] {variation.run_id}")
            own = run_dir / "config.yaml"  # hundreds of others need not be read for every one
            write_text(own, plan.as_yaml(variation))
            arguments = ["--run-id", variation.run_id, "--config-file", str(own)]
            arguments += ["--run-dir", str(run_dir)]
            if not _succeeds(variation.run_id, _trainer(train_command, arguments), run_dir, progress):
                failed.append(variation.run_id)
        progress.running("evaluation")
        command = [*evaluate_command, "--results-dir", str(results_dir)]
        if not _succeeds("evaluation", partial(_process, command), results_dir / "evaluation", progress):
            failed.append("evaluation")
    _say("failed: " + ", ".join(failed) if failed else f"done: results in {results_dir}")
    return 1 if failed else 0


def _trainer(command: Sequence[str] | None, arguments: Sequence[str]) -> Callable[[], Child]:
    if command is None and FORK_SERVER:
        from hypernudge.harness import train

        return partial(forked.Forked, train.main, arguments)
    return partial(_process, [*(command or (sys.executable, "-m", "hypernudge.cli", "train")), *arguments])


def _process(command: Sequence[str]) -> Child:
    pipe = subprocess.PIPE
    # Between processes and in logs it is UTF-8, whatever this terminal can show.
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        encoding="utf-8",
        errors="backslashreplace",
        env={**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"},
    )


def _succeeds(what: str, start: Callable[[], Child], log_dir: Path, progress: Progress) -> bool:
    code = run_child(start, log_dir, progress)
    if code != 0:
        progress.say(f"{what}: FAILED with exit code {code}, see {log_dir / 'stderr.log'}")
    return code == 0


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _warn(plan: Plan) -> None:
    """Say what no result of this plan could show, before it costs anything."""
    for row in power_rows(plan):
        if row["least_p_holm"] >= plan.evidence["alpha"]:
            _say(
                f"warning: {row['run_id']} cannot be significant: {row['pairs']} pairs give a Holm p "
                f"of {row['least_p_holm']:.3g} at best in a family of {row['family_size']}"
            )


def _claim_directory(plan: Plan, results_dir: Path, deviate: str | None) -> None:
    """Write the manifest, or make sure that the one there is of the same plan."""
    manifest = results_dir / "plan.json"
    if manifest.exists():
        try:
            found = read_manifest(results_dir)
        except ResultsError as error:
            raise InvalidArgumentError(f"--results-dir: holds a plan that cannot be read: {error}") from None
        if found.hash == plan.hash or is_recorded(results_dir, plan):
            return
        listed = changes(found, plan)
        shown = "; ".join(f"{c['path']}: {c['planned']!r} -> {c['run']!r}" for c in listed[:4])
        more = f"; and {len(listed) - 4} more" if len(listed) > 4 else ""
        remedy = (
            "choose an empty directory, or pass --deviate REASON to have the change recorded and reported"
        )
        rule = f"holds another plan ({shown}{more})"
        require(deviate is not None, "--results-dir", rule, str(results_dir), remedy)
        record_deviation(results_dir, found, plan, str(deviate))
        return
    occupied = results_dir.is_dir() and any(results_dir.iterdir())
    require(
        not occupied, "--results-dir", "must be empty or hold this plan", str(results_dir), "choose another"
    )
    write_text(manifest, json.dumps(plan.as_dict(), indent=2) + "\n")


def run_child(start: Callable[[], Child], log_dir: Path, progress: Progress) -> int:
    """Start a child; forward its stdout and stderr live, and keep each in a file of its own."""
    log_dir.mkdir(parents=True, exist_ok=True)
    with (
        (log_dir / "stdout.log").open("w", encoding="utf-8", errors="backslashreplace") as out,
        (log_dir / "stderr.log").open("w", encoding="utf-8", errors="backslashreplace") as err,
        start() as child,
    ):
        assert child.stdout is not None and child.stderr is not None  # both are pipes
        streams = [(child.stdout, sys.stdout, out), (child.stderr, sys.stderr, err)]
        threads = [
            threading.Thread(target=_forward, args=(source, terminal, log, progress))
            for source, terminal, log in streams
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return child.wait()


def _forward(source: IO[str], terminal: IO[str], log: IO[str], progress: Progress) -> None:
    for line in source:
        log.write(line)
        log.flush()
        progress.forward(terminal, line)
        if line.startswith("{") and '"event": "cell"' in line:
            progress.advance()


def refuse(error: InvalidArgumentError) -> int:
    """Say on one line why nothing was done; return the exit code."""
    _say(f"error: {error}")
    return 2
