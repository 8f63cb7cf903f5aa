"""Where cells run: names and options, what is refused, and what of it is in the plan."""

import json
import os
import sys

import pytest
import yaml

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.launchers.choose import sole_driver
from hypernudge.harness.launchers.slurm_checks import check_slurm, private_folder
from hypernudge.harness.planning.launchers import LAUNCHERS, PROPERTIES
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.planning.shipped import shipped_root
from hypernudge.harness.slurm.options import SlurmOptions
from tests.harness.tools import ENV, experiment, hypernudge


@pytest.fixture
def plan_with(tmp_path):
    path = experiment(tmp_path, "digits_mlp", target=0.9)

    def load(launcher, *overrides):
        data = yaml.safe_load(path.read_text())
        data |= {} if launcher is None else {"launcher": launcher}
        path.write_text(yaml.safe_dump(data))
        return load_plan(path, overrides)

    return load


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_name_is_enough_and_changes_no_plan(plan_with, name):
    plain = plan_with(None)
    named = plan_with(name)
    assert plain.launcher == {"name": "local", **LAUNCHERS["local"]}
    assert named.launcher == {"name": name, **LAUNCHERS[name]} and named.hash == plain.hash
    assert yaml.safe_load(named.as_yaml())["launcher"] == named.launcher
    assert plan_with({"name": name}).launcher == named.launcher


@pytest.mark.parametrize("name", ["slurm", "ray"])
def test_the_shipped_file_of_a_launcher_lists_every_option_with_its_default(name):
    shipped = yaml.safe_load((shipped_root() / "launcher" / f"{name}.yaml").read_text())
    assert shipped == {"name": name, **LAUNCHERS[name]}
    assert set(PROPERTIES) == {"name", *(option for options in LAUNCHERS.values() for option in options)}


def test_a_file_beside_the_experiment_is_a_launcher_of_its_own_name(plan_with, tmp_path):
    (tmp_path / "launcher").mkdir()
    (tmp_path / "launcher" / "ours.yaml").write_text("name: slurm\npartition: long\n")
    assert plan_with("ours").launcher["partition"] == "long"


WRONG = {
    "an unknown name": (
        "slrum",
        "launcher: must be one of 'local', 'slurm', 'ray', but got 'slrum'; did you",
    ),
    "an option of another": (
        {"name": "slurm", "processes": 2},
        "launcher.processes: is an option of local, not of slurm; slurm has max_parallel",
    ),
    "an option of slurm": ({"partition": "gpu"}, "launcher.partition: is an option of slurm, not of local"),
    "an unknown option": ({"name": "slurm", "partiton": "a"}, "did you mean 'partition'"),
    "half a GPU": ({"name": "slurm", "gpus": 0.5}, "launcher.gpus: Slurm gives whole GPUs, but got 0.5"),
    "a type of GPU for ray": ({"name": "ray", "gpus": "a100:1"}, "launcher.gpus: must be a number"),
    "a time": ({"name": "slurm", "time": "1 h"}, 'must be whole minutes, or "D-HH:MM:SS"'),
    "no time": ({"name": "slurm", "time": 0}, 'must be whole minutes, or "D-HH:MM:SS"'),
    "memory": ({"name": "slurm", "memory": "8G"}, "launcher.memory: must be gigabytes, a positive number"),
    "ours": (
        {"name": "slurm", "sbatch": {"array": "0-3"}},
        "launcher.sbatch: must leave these to the launcher",
    ),
    "two lines": ({"name": "slurm", "sbatch": {"comment": "a\n#SBATCH --x"}}, "must be one line of text"),
    "a short option": ({"name": "slurm", "sbatch": {"A": "mine"}}, "must be a long option of sbatch"),
    "false": ({"name": "slurm", "sbatch": {"exclusive": False}}, "an option without a value is true"),
    "no time to work": (
        {"name": "slurm", "time": 1},
        "launcher.grace: must leave a job some of its time limit, 60 s, although Slurm may tell it to leave",
    ),
    "none, if the signal is early": (
        {"name": "slurm", "time": 2, "grace": 60},
        "launcher.grace: must leave a job some of its time limit, 120 s, although Slurm may tell it to leave "
        "another 60 s earlier, but got 60; raise launcher.time, or lower it",
    ),
    "no polling": ({"name": "slurm", "poll_seconds": 0}, "must be seconds in [0.2, 3600]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_launcher_does_not_take_is_refused_in_one_line(plan_with, case):
    launcher, said = WRONG[case]
    with pytest.raises(InvalidArgumentError) as refused:
        plan_with(launcher)
    assert said in str(refused.value) and "\n" not in str(refused.value), refused.value


@pytest.mark.parametrize(
    ("given", "minutes"), [(60, 60), ("1:00:00", 60), ("00:00:01", 1), ("2-01:30:30", 2971)]
)
def test_time_is_minutes_rounded_up(given, minutes):
    assert SlurmOptions.of({**LAUNCHERS["slurm"], "time": given}).minutes == minutes


def test_options_become_those_of_sbatch():
    given = {
        "partition": "gpu",
        "memory": 1.5,
        "gpus": "a100:2",
        "sbatch": {"account": "us", "exclusive": True},
    }
    flags = SlurmOptions.of({**LAUNCHERS["slurm"], **given}).flags()
    assert flags == [
        *("--time=60", "--cpus-per-task=1", "--partition=gpu", "--mem=1536M", "--gpus-per-node=a100:2"),
        *("--requeue", "--account=us", "--exclusive"),
    ]


def test_without_slurm_nothing_is_begun(tmp_path):
    config = experiment(tmp_path, variations={"asha": {}})
    empty = tmp_path / "bin"
    empty.mkdir()
    path = {"PATH": str(empty)}
    done = hypernudge(
        "run", config, "--results-dir", tmp_path / "r", "+launcher.name=slurm", check=False, **path
    )
    assert done.returncode == 2 and not (tmp_path / "r").exists()
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(
        "error: launcher: slurm needs the commands of Slurm on the path, but got ['sbatch',"
    )
    assert line.endswith("run it on a machine of the cluster, or use launcher: local")


def test_without_submitit_the_extra_is_named(tmp_path):
    (tmp_path / "submitit.py").write_text("raise ModuleNotFoundError('none', name='submitit')\n")
    config = experiment(tmp_path, variations={"asha": {}})
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), ENV["PYTHONPATH"], *sys.path])}
    done = hypernudge(
        "run", config, "--results-dir", tmp_path / "r", "+launcher.name=slurm", check=False, **path
    )
    assert done.returncode == 2 and not (tmp_path / "r").exists()
    assert done.stderr == (
        "error: hypernudge run: needs the extra slurm, but submitit is not installed; "
        "pip install 'hypernudge[slurm]'\n"
    )


def test_a_cluster_that_does_not_answer_is_refused_after_a_while(tmp_path, monkeypatch):
    for name in ("sbatch", "srun", "squeue", "scancel", "scontrol"):
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 600\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("hypernudge.harness.slurm.commands.PATIENCE", 0.2)
    pytest.importorskip("submitit")
    with pytest.raises(
        InvalidArgumentError, match=r"no answer from Slurm within 0\.2 s; wait until the cluster"
    ):
        check_slurm(SlurmOptions.of(LAUNCHERS["slurm"]))


def test_jobs_unpickle_nothing_that_lies_among_results_or_that_others_may_write(tmp_path):
    results = tmp_path / "r"
    with pytest.raises(InvalidArgumentError, match="must not lie in the results directory"):
        private_folder(results / "jobs", results)
    link = tmp_path / "link"
    link.symlink_to(results)
    with pytest.raises(InvalidArgumentError, match="must not lie in the results directory"):
        private_folder(link / "jobs", results)
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    with pytest.raises(InvalidArgumentError, match="must be yours, and nobody else may write it"):
        private_folder(shared, results)
    private_folder(tmp_path / "own" / "jobs", results)
    assert (tmp_path / "own" / "jobs").stat().st_mode & 0o777 == 0o700


def test_the_second_driver_of_a_directory_is_refused_and_names_the_first(tmp_path):
    with sole_driver(tmp_path):
        named = rf"must have one driver, but process {os.getpid()} on \S+, since \S+, has it; wait until"
        with pytest.raises(InvalidArgumentError, match=named), sole_driver(tmp_path):
            raise AssertionError("unreachable")
    with sole_driver(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_of_each_variation_keeps_the_launcher(tmp_path, plan_with):
    plan = plan_with({"name": "slurm", "sbatch": {"account": "us"}})
    (tmp_path / "again.yaml").write_text(plan.as_yaml(plan["asha"]))
    assert load_plan(tmp_path / "again.yaml").launcher == plan.launcher
    assert json.loads(json.dumps(plan.launcher)) == plan.launcher
