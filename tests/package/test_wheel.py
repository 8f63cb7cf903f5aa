"""The wheel as a user gets it: bare, and with the extra harness, started in an empty directory."""

import json
import tarfile
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hypernudge.harness.planning.shipped import shipped_files
from tests.harness.tools import ROOT
from tests.package.environments import Environment, build, closure, members, requirements_of

pytest.importorskip("hatchling", reason="builds the wheel; in the group dev")
pytestmark = pytest.mark.slow

NEED_HARNESS = {
    "run": ("smoke_test", "--results-dir", "r"),
    "plan": ("smoke_test", "--results-dir", "r"),
    "pilot": ("smoke_test",),
    "derive": ("template",),
    "report": ("r",),
    "compare": ("runs.csv", "--baseline", "a", "--target", "1"),
    "import": ("optuna", "sqlite:///runs.db", "--output", "runs.csv"),
    "export": ("r", "--to", "mlflow"),
    "simulate": ("--scheduler", "asha", "--curves", "curves.npz"),
}
COMMANDS = {*NEED_HARNESS, "init", "status", "doctor", "explain", "prior"}
TASK = """
from settings import ROWS
from hypernudge.tasks.builtin import breast_cancer_mlp

def Mine(**options):
    return breast_cancer_mlp(batch_size=ROWS, **options)
"""
STUDY = """
defaults: [engine: population, launcher: local, _self_]
name: mine
common:
  task: my_task:Mine
  scheduler: {name: asha, max_units: 3}
  training: {steps_per_unit: 2}
  budget: {units: 6}
  target: 0.5
  seeds: {first: 0, count: 6}
variations:
  plain: {warm_start: none}
  nudged: {warm_start: fixed_band}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("bare"), wheel)


@pytest.fixture(scope="module")
def harness(wheel, tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("harness"), wheel, ["harness"])


def test_the_wheel_holds_the_package_and_its_experiments_alone(wheel):
    held = members(wheel)
    tops = {name.split("/")[0] for name in held}
    assert tops == {"hypernudge", next(top for top in tops if top.endswith(".dist-info"))}
    config = {
        name.removeprefix("hypernudge/config/") for name in held if name.startswith("hypernudge/config/")
    }
    assert config == {path.as_posix() for path in shipped_files()}
    assert all(held[f"hypernudge/config/{name}"] == (ROOT / "config" / name).read_bytes() for name in config)
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hypernudge").rglob("*.py")}
    assert sources | {"hypernudge/py.typed", "hypernudge/warmstart/prior.json"} <= set(held)


def test_what_is_under_the_gpl_is_asked_for_by_one_extra_and_held_by_nobody(wheel):
    """ale-py, GPL-2: named by the extra `rl` alone, and no game of it in the wheel."""
    asked = [text for text in requirements_of(wheel) if canonicalize_name(Requirement(text).name) == "ale-py"]
    assert [text.partition(";")[2].replace("'", '"').strip() for text in asked] == ['extra == "rl"']
    assert not [name for name in members(wheel) if "ale_py" in name or name.endswith(".bin")]


def test_a_source_distribution_builds_the_same_wheel(wheel, tmp_path):
    with tarfile.open(build(ROOT, tmp_path, "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    assert {path.name for path in source.iterdir()} >= {
        "CITATION.cff",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
    }
    assert not (source / "tests").exists() and not (source / "benchmarks").exists()
    (tmp_path / "wheel").mkdir()
    assert members(build(source, tmp_path / "wheel")) == members(wheel)


def test_the_core_needs_three_packages(wheel):
    names = set(closure(requirements_of(wheel)))
    assert names >= {"torch", "numpy", "scipy"}
    assert not names & {
        "hydra-core",
        "omegaconf",
        "pandas",
        "matplotlib",
        "scikit-learn",
        "rich",
        "jsonschema",
    }


def test_a_bare_install_answers_and_names_what_a_command_needs(bare, tmp_path):
    said, _ = bare.run("--help", cwd=tmp_path)
    assert said.startswith("usage: hypernudge") and all(command in said for command in COMMANDS)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert bare.run("--version", cwd=tmp_path)[0] == f"hypernudge {version}\n"
    for command, arguments in NEED_HARNESS.items():
        out, error = bare.run(command, *arguments, cwd=tmp_path, code=2)
        assert out == "" and error.count("\n") == 1
        assert error.startswith(f"error: hypernudge {command}: needs the extra harness, but ")
        assert error.endswith("is not installed; pip install 'hypernudge[harness]'\n")
    assert list(tmp_path.iterdir()) == []
    assert "wrote" in bare.run("init", "config", cwd=tmp_path)[0]
    tune = (
        "import hypernudge; from hypernudge import ASHA, Informed, Real, SearchSpace\n"
        f"assert hypernudge.__version__ == {version!r}\n"
        "print(ASHA(SearchSpace([Real('lr', 1e-4, 1.0, log=True)])).max_units, Informed().name)"
    )
    assert bare.run("-c", tune, cwd=tmp_path, program="python")[0] == "27 informed\n"


def test_the_documented_commands_from_an_empty_directory(harness, tmp_path):
    files = tmp_path / "files"
    said, _ = harness.run("init", "config", cwd=tmp_path)
    assert "hypernudge run config/smoke_test.yaml --results-dir results/smoke" in said
    filled = ("DATASET_PLACEHOLDER=digits", "MODEL_PLACEHOLDER=mlp", "SPECIFIC_CONFIG_PLACEHOLDER=0.95")
    values = [text for value in filled for text in ("--set", value)]
    harness.run("derive", "template", *values, "--output", "mine.yaml", cwd=tmp_path)
    harness.run("plan", "smoke_test", "--results-dir", "planned", cwd=tmp_path)
    files.mkdir()
    (files / "my_task.py").write_text(TASK)
    (files / "settings.py").write_text("ROWS = 16\n")
    (files / "study.yaml").write_text(STUDY)
    harness.run("run", "files/study.yaml", "--results-dir", "results", "--no-figures", cwd=tmp_path)
    evaluation = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    assert evaluation["status"] == "complete"
    assert "6" in harness.run("status", "results", cwd=tmp_path)[0]
    assert harness.run("doctor", "results", cwd=tmp_path)[0] == "healthy\n"
    harness.run("report", "results", "--html", "report.html", cwd=tmp_path)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    rows = [f"t,{name},{seed},{time + seed},1" for name, time in (("a", 9), ("b", 4)) for seed in range(6)]
    (tmp_path / "runs.csv").write_text("\n".join(["task,variation,seed,time,score", *rows]) + "\n")
    said, _ = harness.run("compare", "runs.csv", "--baseline", "a", "--target", "1", cwd=tmp_path)
    assert "improved" in said
    out, _ = harness.run("explain", "results", "--run-id", "nudged", "--trial", 0, cwd=tmp_path)
    assert out
