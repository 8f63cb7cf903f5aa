"""The experiment files of the package: found from everywhere, copied for editing, composed with own ones."""

import tomllib
from pathlib import Path

import pytest
import yaml

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.planning import shipped
from hypernudge.harness.planning.resolve import load_plan
from tests.harness.tools import ROOT

NAMES = {"smoke_test", "full_experiment", "template", "studies/workers"}


def study(folder, **changes):
    """Write what docs/experiments.md shows, and return its path."""
    experiment = {
        "defaults": [{"engine": "population"}, {"launcher": "local"}, "_self_"],
        "name": "mine",
        "common": {"task": "digits_mlp", "scheduler": "asha", "budget": {"units": 9}, "target": 0.9},
        "variations": {"plain": {"warm_start": "none"}, "nudged": {"warm_start": "curvature_band"}},
    }
    experiment["common"] |= {"seeds": {"first": 0, "count": 6}, **changes}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(experiment, sort_keys=False))
    return path


def test_a_study_is_the_same_plan_wherever_it_lies(tmp_path, monkeypatch):
    (tmp_path / "a folder, of 'mine'").mkdir()
    monkeypatch.chdir(tmp_path)
    elsewhere = load_plan(study(tmp_path / "a folder, of 'mine'"))
    assert main(["init", "config"]) == 0
    assert load_plan(study(Path("config"))).hash == elsewhere.hash
    spec = elsewhere["nudged"].spec
    assert spec["engine"]["name"] == "population" and elsewhere.launcher["processes"] == 2
    shown = yaml.safe_load((ROOT / "config" / "warm_start" / "curvature_band.yaml").read_text())
    assert {key: spec["warm_start"][key] for key in shown} == shown


def test_a_group_of_ones_own_wins_over_the_shipped_one(tmp_path):
    for group, text in {
        "engine/population.yaml": "name: serial\n",
        "launcher/local.yml": "processes: 5\n",
        "scheduler/asha.yaml": "name: asha\neta: 4\n",
    }.items():
        (tmp_path / group).parent.mkdir()
        (tmp_path / group).write_text(text)
    plan = load_plan(study(tmp_path))
    assert (plan["plain"].spec["engine"]["name"], plan.launcher["processes"]) == ("serial", 5)
    # It replaces the file of that name: nothing of the shipped one is mixed in.
    assert plan["plain"].spec["scheduler"] == {"name": "asha", "eta": 4, "label": "asha"}
    assert plan["plain"].spec["task"]["label"] == "digits_mlp"  # of the package


def test_what_was_resolved_is_not_resolved_anew(tmp_path):
    """A plan that a user's own group shaped is read back from its results, where that group is not."""
    source, results = tmp_path / "source", tmp_path / "results"
    (source / "scheduler").mkdir(parents=True)
    (source / "scheduler" / "asha.yaml").write_text("name: asha\neta: 4\n")
    results.mkdir()
    plan = load_plan(study(source))
    for name, only in (("experiment.yaml", None), ("config.yaml", plan["plain"])):
        (results / name).write_text(plan.as_yaml(only))
    assert load_plan(results / "experiment.yaml").hash == plan.hash
    assert load_plan(results / "config.yaml")["plain"].spec == plan["plain"].spec


def test_a_group_that_nobody_has_is_refused(tmp_path):
    path = study(tmp_path)
    path.write_text(path.read_text().replace("engine: population", "engine: populous"))
    with pytest.raises(InvalidArgumentError, match=r"find 'engine/populous' Available .* population"):
        load_plan(path)


def test_shipped_experiments_go_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert set(shipped.shipped_experiments()) > NAMES
    for name in NAMES - {"template"}:
        assert load_plan(shipped.experiment_file(Path(name))).name == Path(name).name
    (tmp_path / "smoke_test").mkdir()  # a results directory, say
    assert shipped.experiment_file(Path("smoke_test")).is_file()
    values = ["DATASET_PLACEHOLDER=digits", "MODEL_PLACEHOLDER=mlp", "SPECIFIC_CONFIG_PLACEHOLDER=0.8"]
    assert main(["derive", "template", *(f"--set={value}" for value in values), "--output", "mine.yaml"]) == 0
    assert load_plan(Path("mine.yaml"))["asha"].spec["target"] == 0.8
    comments = [line for line in Path("mine.yaml").read_text().splitlines() if line.startswith("#")]
    assert comments and not any("derive" in line or "digits=digits" in line for line in comments)
    (tmp_path / "template").write_text("name: X_PLACEHOLDER\n")  # a file comes first
    capsys.readouterr()
    assert main(["derive", "template", "--set=X_PLACEHOLDER=y"]) == 0
    assert capsys.readouterr().out == "name: y\n"


def test_derive_leaves_no_placeholder_behind(tmp_path, capsys):
    output = tmp_path / "mine.yaml"
    given = ["derive", "template", "--output", str(output), "--set=DATASET_PLACEHOLDER=digits"]
    assert main(given) == 2
    assert capsys.readouterr().err == (
        "error: --set: must fill every placeholder, but left MODEL_PLACEHOLDER at common.model; "
        "SPECIFIC_CONFIG_PLACEHOLDER at common.target; "
        "add --set MODEL_PLACEHOLDER=VALUE --set SPECIFIC_CONFIG_PLACEHOLDER=VALUE\n"
    )
    again = ["--set=MODEL_PLACEHOLDER=OTHER_PLACEHOLDER", "--set=SPECIFIC_CONFIG_PLACEHOLDER=0.8"]
    assert main([*given, *again]) == 2  # one that a value brought
    assert "OTHER_PLACEHOLDER at common.model" in capsys.readouterr().err
    assert not output.exists()
    (tmp_path / "t.yaml").write_text("# SOME_PLACEHOLDER of old\nvariations: {KEY_PLACEHOLDER: {}}\n")
    assert main(["derive", str(tmp_path / "t.yaml")]) == 2
    assert "KEY_PLACEHOLDER at variations.KEY_PLACEHOLDER;" in capsys.readouterr().err
    assert (
        main(["derive", str(tmp_path / "t.yaml"), "--set=KEY_PLACEHOLDER=a"]) == 0
    )  # a comment may hold one


@pytest.mark.parametrize("command", ["run", "plan", "pilot", "derive"])
def test_a_name_that_is_none_is_refused_with_those_that_are(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    place = ["--results-dir", "r"] if command in ("run", "plan") else []
    assert main([command, "smoke_tets", *place]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: FILE: ") and "did you mean 'smoke_test'" in said and said.count("\n") == 1
    assert main([command, "smoke_test.yaml", *place]) == 2  # with a suffix it is a path
    assert "must exist, but got 'smoke_test.yaml'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_init_writes_the_set_and_says_what_comes_next(tmp_path, capsys):
    folder = tmp_path / "my files"
    assert main(["init", str(folder)]) == 0
    said = capsys.readouterr().out
    written = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert written == set(shipped.shipped_files()) and f"wrote {len(written)} files" in said
    assert f"  hypernudge run '{folder}/smoke_test.yaml' --results-dir results/smoke\n" in said
    for path in written:
        assert (folder / path).read_bytes() == (ROOT / "config" / path).read_bytes()
    (folder / "smoke_test.yaml").write_text("mine: now\n")
    (folder / "task" / "digits_mlp.yaml").unlink()
    assert main(["init", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "error: DIR: must hold no file that would be written over (it has smoke_test.yaml"
    )
    assert error.count("\n") == 1 and (folder / "smoke_test.yaml").read_text() == "mine: now\n"
    assert not (folder / "task" / "digits_mlp.yaml").exists()  # refused before anything was written


def test_init_leaves_other_files_alone_and_takes_no_file_for_a_folder(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert main(["init", str(tmp_path / "notes.txt")]) == 2
    assert "error: DIR: must be a folder, or absent" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "template.yaml").symlink_to(tmp_path / "nowhere")
    assert main(["init", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "nowhere").exists()


def test_the_wheel_holds_the_set_and_every_group():
    forced = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    held = {f"config/{name}": f"hypernudge/config/{name}" for name in (*shipped.FILES, *shipped.FOLDERS)}
    assert forced["force-include"] == held
    ignored = {"aees", "confirmation"}  # of the repository: run by its own commands, on its own modules
    assert {path.name for path in (ROOT / "config").iterdir() if path.is_dir()} - ignored == {
        *shipped.FOLDERS
    }
