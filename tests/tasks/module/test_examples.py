"""The examples of ModuleTask run, find something, and are as short as they are said to be."""

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("name", "needs", "lines", "least"),
    [
        ("own_module", "sklearn", 25, 0.9),
        pytest.param("hugging_face_classifier", "transformers", 30, 0.6, marks=pytest.mark.slow),
    ],
)
def test_an_example_is_short_and_finds_a_good_configuration(name, needs, lines, least, monkeypatch, capsys):
    pytest.importorskip(needs)
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < lines
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    trial, unit = module.study.best()
    assert unit.validation >= least and unit.test > 0
    assert not any(trial.nudge.flagged for trial in module.study.history.trials), trial.nudge.reason
    assert not any(report.error for report in module.study.reports)
    assert "validation" in capsys.readouterr().out
