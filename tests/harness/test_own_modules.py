"""`module:attribute` is found beside the YAML file, in every process; and never beside results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.planning import own_modules
from hypernudge.harness.planning.resolve import load_plan
from tests.harness.tools import ROOT, json_lines

TASK = """
from beside_sibling import options
from hypernudge.tasks.builtin import breast_cancer_mlp

def Task(**given):
    import beside_later  # while it is built, in whichever process
    return breast_cancer_mlp(**options, **given)
"""


def written(folder, module="beside_task", **changes):
    """Write a task of one's own in three modules, and a study that names it; return the study's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(TASK)
    (folder / "beside_sibling.py").write_text("options = {'batch_size': 16}\n")
    (folder / "beside_later.py").write_text("")
    common = {"task": f"{module}:Task", "target": 0.5, "scheduler": {"name": "asha", "max_units": 3}}
    common |= {"budget": {"units": 4}, "training": {"steps_per_unit": 1}, "seeds": {"first": 0, "count": 6}}
    experiment = {"common": {**common, **changes}, "variations": {"a": {"warm_start": "none"}}}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def started(cwd, *command):
    """Run Python elsewhere, as an installed command: the working directory is not on its path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    given = [sys.executable, *map(str, command)]
    return subprocess.run(given, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_a_task_beside_the_file_runs_in_worker_processes(tmp_path, engine):
    path = written(tmp_path / "study", engine=engine)
    (tmp_path / "elsewhere").mkdir()
    given = ("-m", "hypernudge.cli", "run", path, "--results-dir", "results", "--no-figures")
    done = started(tmp_path / "elsewhere", *given)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "elsewhere" / "results" / "a" / "results.json").read_text())
    assert results["summary"]["seeds"] == 6


def test_trainers_that_are_started_as_commands_find_it_too(tmp_path):
    path = written(tmp_path / "study")
    code = (
        "import sys; from pathlib import Path\n"
        "from hypernudge.harness.running.run import run_experiment\n"
        "trainer = [sys.executable, '-m', 'hypernudge.cli', 'train']\n"
        "evaluation = [sys.executable, '-c', '']\n"
        f"sys.exit(run_experiment(Path({str(path)!r}), Path('results'), [], trainer, evaluation))\n"
    )
    done = started(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    cells = [line for line in json_lines(done.stdout) if line["event"] == "cell"]
    assert [cell["status"] for cell in cells] == ["completed"] * 6


@pytest.fixture
def path_as_it_was(monkeypatch):
    """Forget modules and path entries of a test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(own_modules, "_used", [])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("beside_"):
            del sys.modules[name]


def test_a_folder_goes_on_the_path_only_for_a_module_that_it_holds(tmp_path, path_as_it_was):
    path = written(tmp_path / "study")
    before = list(sys.path)
    registered = written(tmp_path / "other", task="digits_mlp")
    load_plan(registered)
    assert sys.path == before and own_modules.child_environment() == {}
    load_plan(path)
    assert sys.path == [str(tmp_path / "study"), *before]
    assert own_modules.child_environment()["PYTHONPATH"].startswith(str(tmp_path / "study"))


def test_nested_names_packages_and_files_of_groups_are_found(tmp_path, path_as_it_was):
    path = written(tmp_path / "study", task="own")
    (tmp_path / "study" / "beside_package").mkdir()
    (tmp_path / "study" / "beside_package" / "inner.py").write_text(TASK)
    (tmp_path / "study" / "task").mkdir()
    (tmp_path / "study" / "task" / "own.yaml").write_text("name: 'beside_package.inner:Task'\nlabel: own\n")
    assert load_plan(path)["a"].spec["task"]["name"] == "beside_package.inner:Task"


def test_a_file_in_a_sub_folder_finds_what_lies_beside_it(tmp_path, path_as_it_was):
    path = written(tmp_path / "config" / "studies")
    path.write_text("# @package _global_\n" + path.read_text())
    assert load_plan(path)["a"].spec["task"]["label"] == "beside_task:Task"


def test_what_is_derived_lies_where_its_modules_are(tmp_path, path_as_it_was, monkeypatch, capsys):
    template = written(tmp_path / "study", target="SPECIFIC_CONFIG_PLACEHOLDER")
    monkeypatch.chdir(tmp_path)
    given = ["derive", str(template), "--set=SPECIFIC_CONFIG_PLACEHOLDER=0.5", "--output"]
    assert main([*given, "mine.yaml"]) == 2 and not Path("mine.yaml").exists()
    error = capsys.readouterr().err
    assert error.startswith(
        "error: --output: must lie beside the modules that the template names, beside_task"
    )
    assert error.count("\n") == 1
    assert main([*given, "study/mine.yaml"]) == 0
    assert load_plan(Path("study/mine.yaml"))["a"].spec["task"]["name"] == "beside_task:Task"


@pytest.mark.parametrize("taken", ["json", "sys"])
def test_a_name_that_python_uses_already_is_refused(tmp_path, path_as_it_was, taken):
    path = written(tmp_path / "study", module=taken)
    with pytest.raises(
        InvalidArgumentError, match=rf"^{taken}: the module in .* must have a name of its own"
    ):
        load_plan(path)


def test_nothing_is_found_beside_the_results_of_a_run(tmp_path, path_as_it_was):
    plan = load_plan(written(tmp_path / "study"))
    run = tmp_path / "results" / "a"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(plan.as_yaml(plan["a"]))
    (run / "beside_task.py").write_text("raise SystemExit('a trap')\n")
    del sys.modules["beside_task"]
    sys.path.remove(str(tmp_path / "study"))
    with pytest.raises(InvalidArgumentError, match=r"No module named 'beside_task'.* put the module beside"):
        load_plan(run / "config.yaml")
