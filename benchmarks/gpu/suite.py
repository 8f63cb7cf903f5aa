"""The tests that are marked `cuda`, in a process of their own; on a CPU, their twins on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

ROOT = Path(__file__).resolve().parents[2]
TWINS = "tests/tasks/module/test_devices.py"


def measure(device: torch.device, limit: float, tiny: bool) -> dict[str, Any]:
    """Run the tests; return how many passed, were skipped, failed, with names and reasons.

    Raises:
        RuntimeError: If a test failed, or they took longer than `limit` seconds.
    """
    if not (ROOT / TWINS).exists():
        return {"skipped": "the tests are in the repository, not in the package"}
    chosen = [TWINS, "-m", "not cuda and not slow"]
    if device.type == "cuda":
        chosen = [*marked(), "-m", "cuda"]
    if tiny:
        chosen += ["-k", "mini_batches"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *chosen,
        ]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": paths},
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the tests took longer than {limit:.0f} s") from None
        if not report.exists():
            raise RuntimeError(f"pytest wrote no report: {(done.stdout + done.stderr)[-500:]}")
        found = read(report)
    if done.returncode not in (0, 5):
        raise RuntimeError(f"tests failed: {found['failed']}")
    return found


def marked() -> list[str]:
    """Return the files with such tests: collecting all others takes longer, and needs every extra."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if "pytest.mark.cuda" in file.read_text()]


def read(report: Path) -> dict[str, Any]:
    """Return what a JUnit report says, by outcome."""
    passed, skipped, failed = 0, {}, {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        wrong = case.find("failure") if case.find("failure") is not None else case.find("error")
        if wrong is not None:
            failed[name] = (wrong.get("message") or "")[:500]
        elif (left := case.find("skipped")) is not None:
            skipped[name] = left.get("message") or ""
        else:
            passed += 1
    return {"passed": passed, "skipped": skipped, "failed": failed}
