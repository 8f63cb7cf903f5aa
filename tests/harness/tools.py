"""What the end-to-end tests share: an experiment on a task of their own, and the command line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hypernudge.cli import main
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import load_plan

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ENV = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"}


# The task's own batch has eight samples; a measurement on 128 would cost more than the whole budget.
BOTH = {"asha": {}, "asha-literal": {"warm_start": {"name": "literal", "batch_size": 8}}}


def experiment(tmp_path, task="own:Small", seeds=6, variations=BOTH, **common):
    shared = {
        "task": task,
        "target": -0.05,
        "budget": {"units": 30},
        "scheduler": {"name": "asha", "max_units": 9},
        "seeds": {"first": 0, "count": seeds},
        **common,
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({"name": "test", "common": shared, "variations": variations}))
    return path


def compute_here(config, folder):
    """Compute the cells of an experiment in this process: the quickest way to undisturbed records."""
    find_own_tasks()
    for variation in load_plan(config).variations:
        for seed in variation.seeds:
            run_cell(variation, seed, folder / variation.run_id)


def find_own_tasks():
    """Have this process find `own:...` as those that `hypernudge` starts do."""
    for place in (HERE, HERE.parent):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))


def hypernudge_here(capsys, *arguments, check=True):
    """Do what `hypernudge` does in this process, which has imported PyTorch: a third of the time."""
    find_own_tasks()
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    done = subprocess.CompletedProcess(arguments, code, *capsys.readouterr())
    assert not check or done.returncode == 0, done.stderr
    return done


def hypernudge(*arguments, check=True, **env):
    command = [sys.executable, "-m", "hypernudge.cli", *map(str, arguments)]
    done = subprocess.run(command, env={**ENV, **env}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def wait_for(condition, seconds):
    """Return whether `condition()` came true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def processes_with(value):
    """Return the running processes with `value` in their environment: a run's, children and orphans."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc to find a run's processes")
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if value.encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return found


def contents(results):
    """Return every record without what may differ between two runs."""
    records = {}
    for path in sorted(results.glob("*/cells/seed-*.json")):
        record = json.loads(path.read_text())
        records[str(path.relative_to(results))] = {k: v for k, v in record.items() if k != "wall"}
    return records


def json_lines(text):
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("{"))
    return [json.loads(line) for line in lines[first:]]
