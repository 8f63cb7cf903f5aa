"""What the tests on a cluster share."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.harness.tools import ENV, ROOT, compute_here, experiment

VARIATION = {"asha": {}}
PATIENCE = 240


def command(config, results, folder, *more, **launcher):
    """Return a run on the cluster, as typed."""
    # Without a limit of memory a job has a node of its own.
    usual = {"name": "slurm", "poll_seconds": 0.5, "max_parallel": 4, "memory": 1, "folder": folder}
    options = usual | launcher
    set_ = [f"+launcher.{name}={value}" for name, value in options.items()]
    program = [
        sys.executable,
        "-m",
        "hypernudge.cli",
        "run",
        config,
        "--results-dir",
        results,
        "--no-figures",
    ]
    return [str(part) for part in (*program, *set_, *more)]


def environment(pace=0.0, **more):
    return {
        **ENV,
        **{k: os.environ[k] for k in ("SLURM_CONF", "PATH")},
        "HYPERNUDGE_TEST_PACE": str(pace),
    } | more


def run(config, results, folder, *more, pace=0.0, **launcher):
    """Run to the end; return the finished process."""
    return subprocess.run(
        command(config, results, folder, *more, **launcher),
        env=environment(pace),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


class Driver:
    """A run in the background, whose output goes to a file."""

    def __init__(self, config, results, folder, *more, pace=0.0, **launcher):
        self.log = Path(f"{results}.log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command(config, results, folder, *more, **launcher),
                env=environment(pace),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def said(self):
        return self.log.read_text(errors="replace")


def computed_here(config, folder):
    """Compute the cells of an experiment in this process; return the digests of their records."""
    compute_here(config, folder)
    return digests(folder)


def wait_for(condition, seconds):
    """Return whether `condition()`, which may ask Slurm, came true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def jobs_of(results):
    """Return the names of all arrays that were submitted for a directory, with how many jobs each."""
    path = results / "jobs.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["name"]: len(line["jobs"]) for line in lines if line["event"] == "submit"}


def digests(results):
    return {
        str(path.relative_to(results)): json.loads(path.read_text())["digest"]
        for path in sorted(results.glob("*/cells/seed-*.json"))
    }


def leftovers(results, folder):
    left = [path for path in results.rglob("*") if path.suffix in (".lock", ".study")]
    left += [path for path in results.rglob("*") if path.name.endswith(".partial.jsonl")]
    return left + (list(folder.iterdir()) if folder.exists() else [])


def paced(tmp_path, seeds, **common):
    """An experiment of one variation whose units wait as long as the environment says."""
    return experiment(tmp_path, "own:Paced", seeds, VARIATION, **common)


__all__ = [
    "Driver",
    "computed_here",
    "digests",
    "environment",
    "jobs_of",
    "leftovers",
    "paced",
    "run",
    "wait_for",
]
