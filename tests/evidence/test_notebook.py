import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from hypernudge.cli.evidence import report as main
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.evidence.report.notebook import notebook, write_notebook

COMMITTED = Path(__file__).resolve().parents[2] / "examples" / "evidence.ipynb"


def test_the_committed_notebook_is_the_one_that_is_written_and_has_no_outputs():
    assert COMMITTED.read_text() == notebook("results/full")
    cells = json.loads(COMMITTED.read_text())["cells"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")
    assert COMMITTED.stat().st_size < 20_000


@pytest.mark.slow
def test_it_regenerates_everything_from_the_records(evaluated, tmp_path):
    """Run by a real kernel, on records alone: same numbers, tables and figures as the report command."""
    pytest.importorskip("nbclient", reason="running a notebook needs hypernudge[notebook]")
    root, _, evaluation = evaluated
    records = tmp_path / "records"
    shutil.copytree(root, records, ignore=shutil.ignore_patterns("evaluation.json", "tables", "figures"))
    file = tmp_path / "evidence.ipynb"
    write_notebook(records, file)
    environment = {key: value for key, value in os.environ.items() if key != "RESULTS_DIR"}
    command = [sys.executable, "-m", "jupyter_core", "execute", "--inplace", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    outputs = [cell["outputs"] for cell in json.loads(file.read_text())["cells"] if "outputs" in cell]
    kinds = [kind for cell in outputs for output in cell for kind in output.get("data", {})]
    assert kinds.count("image/svg+xml") == len(evaluation.figures)
    assert kinds.count("text/html") >= len(evaluation.tables)
    assert (records / "evaluation.json").read_bytes() == (root / "evaluation.json").read_bytes()
    for table in evaluation.tables:
        for name in table["files"]:
            assert (records / name).read_bytes() == (root / name).read_bytes()


def test_the_report_command_writes_it(study_copy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hypernudge.evidence.report.evaluate.evaluate", partial(evaluate, figures=False))
    file = tmp_path / "n.ipynb"
    assert main(["--results-dir", str(study_copy), "--notebook", str(file)]) == 0
    assert '"event": "notebook"' in capsys.readouterr().out
    assert str(study_copy) in file.read_text()
