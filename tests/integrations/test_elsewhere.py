"""Checks that need an environment of their own: run there when its interpreter is given.

How to make the environments is said in docs/integrations.md.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = Path(__file__).resolve().parent
LENIENT = ("-o", "filterwarnings=default")  # old packages warn
# Environment variable with the interpreter -> what is run there, and how many tests that are at least.
ELSEWHERE = {
    "HYPERNUDGE_PYTHON_NEPS": (
        [
            *(f"{TESTS}/{name}.py" for name in ("test_neps", "test_tools_effect")),
            *(f"{ROOT}/tests/laws/test_arguments_in_tools.py", "-k", "neps"),
        ],
        51,
    ),
    "HYPERNUDGE_PYTHON_TUNEBOHB": ([f"{TESTS}/test_ray_tune.py", "-k", "bohb"], 1),
    "HYPERNUDGE_PYTHON_SYNE_TUNE_0_14": ([f"{TESTS}/test_syne_tune_legacy.py"], 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("variable", ELSEWHERE)
def test_in_an_environment_of_its_own(variable, tmp_path):
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"set {variable} to an interpreter: see docs/integrations.md")
    arguments, least = ELSEWHERE[variable]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *LENIENT, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= least and "skipped" not in done.stdout
