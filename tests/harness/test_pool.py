"""One pool over the cells of all variations: what each says stays apart, what one suffers is no other's."""

import json
import os
import subprocess
import sys

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.harness.running import local, variation_run
from hypernudge.harness.running.local import LocalLauncher
from hypernudge.harness.running.pool import Cells, run_cells
from hypernudge.harness.running.progress import Progress
from hypernudge.harness.running.train import train_all
from hypernudge.results.attempts import failures
from hypernudge.results.records import cell_path
from tests.harness.tools import ENV, HERE, ROOT, contents, json_lines, processes_with, wait_for


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.syspath_prepend(str(HERE.parent))


def plan_of(folder, variations, **launcher):
    common = {"target": -0.1, "budget": {"units": 3}, "seeds": [0]}
    for run_id, own in variations.items():  # tasks of their own: nothing is compared
        own["task"] = {"name": own.get("task", "own:Small"), "label": run_id}
    return resolve_plan({"common": common, "variations": variations, "launcher": launcher}, folder)


def talking(*seeds, **options):
    return {"task": "own:Talking", "seeds": list(seeds), "training": options}


def run(plan, folder):
    ended = []
    with Progress(0) as progress:
        train_all(plan, folder, progress, lambda run_id, code: ended.append((run_id, code)))
    return ended


def log(folder, run_id, name="stdout"):
    return (folder / run_id / f"{name}.log").read_text("utf-8")


def test_the_next_variation_begins_in_the_same_pool_and_is_shown_in_its_turn(tmp_path, capfd):
    awaited = str(cell_path(tmp_path / "second", 1))  # so the first ends last
    variations = {"first": talking(0, says="first", wait_for=awaited), "second": talking(0, 1, says="second")}
    plan = plan_of(tmp_path, {**variations, "third": {}}, processes=2)
    assert run(plan, tmp_path) == [("first", 0), ("second", 0), ("third", 0)]
    shown = capfd.readouterr()
    logs = [log(tmp_path, run_id) for run_id in ("first", "second", "third")]
    assert shown.out == "".join(logs), "one after the other, nothing in between"
    for text, run_id, cells in zip(logs, ("first", "second"), (1, 2), strict=False):
        assert text.startswith("Experiment")
        assert text.count(f"\n{run_id} é\n") == text.count(f"\n{run_id} by another program\n") == cells
        events = json_lines("\n".join(line for line in text.splitlines() if run_id + " " not in line))
        assert [event["event"] for event in events if event["event"] != "rung"] == ["cell"] * cells + [
            "result"
        ]
        assert {event["run_id"] for event in events} == {run_id}
        err = log(tmp_path, run_id, "stderr")
        assert err.count(f"{run_id} without an end") == cells and f"{run_id}: {cells}/{cells} cells" in err
    turns = [line.split(" (")[0] for line in shown.err.splitlines() if line.startswith("[")]
    assert turns == ["[1/3] first", "[2/3] second", "[3/3] third"]


def test_a_killed_worker_keeps_what_it_said(tmp_path):
    assert run(plan_of(tmp_path, {"only": talking(0, says="here", killed=True)}), tmp_path) == [("only", 1)]
    assert log(tmp_path, "only").count("here é\n") == 2  # attempts
    err = log(tmp_path, "only", "stderr")
    assert "no record of seed 0: its process was ended by SIGKILL" in err
    assert err.endswith("only: 1 of 1 cells missing: run the same command again\n")


def test_what_failed_is_tried_again_before_the_next_variation_begins(tmp_path):
    ended = []

    class Noting(Cells):
        def done(self, seed, record):
            ended.append((self.variation.run_id, seed, record is not None))

    plan = plan_of(tmp_path, {"bad": talking(0, 1, killed=True), "good": {}})
    run_cells(
        [Noting(v, tmp_path / v.run_id, v.seeds) for v in plan.variations], LocalLauncher(1), attempts=3
    )
    assert ended == [("bad", 0, False), ("bad", 1, False), ("good", 0, True)]
    assert {seed: found.count for seed, found in failures(tmp_path / "bad").items()} == {0: 3, 1: 3}


def test_a_variation_that_cannot_be_built_stops_no_other(tmp_path, capsys):
    bad = {"task": "own:Unwilling", "training": {"colour": "red"}, "seeds": [0, 1, 2, 3]}
    slow = talking(0, wait_for=str(tmp_path / "last" / "results.json"))
    plan = plan_of(tmp_path, {"slow": slow, "bad": bad, "last": {}}, processes=2)
    assert run(plan, tmp_path) == [("slow", 0), ("bad", 2), ("last", 0)]
    err = log(tmp_path, "bad", "stderr")
    assert err.startswith("error: ") and "colour" in err and err.count("\n") == 1
    assert not (tmp_path / "bad" / "results.json").exists() and len(contents(tmp_path)) == 2
    with pytest.raises(InvalidArgumentError, match="bad: cannot be built"):
        run_cells([Cells(plan["bad"], tmp_path / "bad", [0])], LocalLauncher(1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": "red"}, "error: colour: must be another one, but got 'red'; choose one\n"),
        ({"colour": "red", "raises": "KeyError"}, "Traceback (most recent call last):\n"),
    ],
)
def test_what_no_worker_can_build_is_said_once_and_not_tried_again(tmp_path, given, said):
    bad = {"task": "own:Unwilling", "training": given, "seeds": [0, 1, 2, 3]}
    assert run(plan_of(tmp_path, {"bad": bad}, processes=2, attempts=3), tmp_path) == [("bad", 2)]
    err = log(tmp_path, "bad", "stderr")
    assert err.startswith(said) and err.count(said) == 1
    assert err == said or (err.endswith("KeyError: 'red'\n") and err.count(", in __init__\n") == 1)
    assert failures(tmp_path / "bad") == {}


def test_what_may_be_over_in_a_moment_is_tried_again_and_said_at_any_length(tmp_path):
    long = "begin " + 100_000 * "x" + " end"  # more than a pipe holds
    bad = {"task": "own:Unwilling", "training": {"colour": long, "raises": "OSError"}}
    assert run(plan_of(tmp_path, {"bad": bad}, attempts=2), tmp_path) == [("bad", 1)]
    (found,) = failures(tmp_path / "bad").values()
    assert found.count == 2 and found.reason.startswith("OSError: begin ") and found.reason.endswith(" end")
    assert len(found.reason) < 15_000


def test_nor_does_one_whose_files_cannot_be_written_or_that_meets_a_defect(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "no_results" / "results.json").mkdir(parents=True)
    summarise = variation_run.summarise

    def broken(plan, variation, records):
        if variation.run_id == "defect":
            raise RuntimeError("a defect")
        return summarise(plan, variation, records)

    monkeypatch.setattr(variation_run, "summarise", broken)
    plan = plan_of(tmp_path, {name: {} for name in ("file", "no_results", "defect", "good")})
    assert run(plan, tmp_path) == [("file", 1), ("no_results", 1), ("defect", 1), ("good", 0)]
    err = log(tmp_path, "no_results", "stderr").splitlines()[-1]
    assert err.startswith("error: ") and err.endswith("then run the same command again")
    assert log(tmp_path, "defect", "stderr").endswith("RuntimeError: a defect\n")
    assert len(contents(tmp_path)) == 3, "sealed all the same"


def test_records_that_are_there_start_no_process(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, {"a": {}, "b": {}})
    assert run(plan, tmp_path) == [("a", 0), ("b", 0)]
    monkeypatch.setattr(LocalLauncher, "submit", None)
    assert run(plan, tmp_path) == [("a", 0), ("b", 0)]
    assert '"reused": true' in log(tmp_path, "a")


@pytest.mark.parametrize("method", [local.METHOD, "spawn"])
def test_a_script_without_a_guard_runs_once_and_its_workers_end_with_it(tmp_path, method):
    variations = {"quick": {}, "waits": talking(0, says="waits", wait_for=str(tmp_path / "never"))}
    for run_id, own in variations.items():
        own["task"] = {"name": own.get("task", "own:Small"), "label": run_id}
    common = {"target": -0.1, "budget": {"units": 3}, "seeds": [0]}
    experiment = {"common": common, "variations": variations, "launcher": {"processes": 2}}
    (tmp_path / "experiment.yaml").write_text(json.dumps(experiment))
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from hypernudge.harness.running import local\n"
        "from hypernudge.harness.running.run import run_experiment\n"
        f"local.METHOD = {method!r}\n"
        "print('begun', flush=True)\n"
        f"run_experiment(Path('experiment.yaml'), Path('results'), [], None, ['false'])\n"
    )
    mark = f"mark-{tmp_path.name}-{os.getpid()}"
    with (
        (tmp_path / "printed").open("w") as printed,
        subprocess.Popen(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env={**ENV, "PYTHONPATH": f"{ROOT}:{ENV['PYTHONPATH']}", "HYPERNUDGE_TEST_MARK": mark},
            stdout=printed,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            waits = tmp_path / "results" / "waits" / "stdout.log"
            record = cell_path(tmp_path / "results" / "quick", 0)
            there = wait_for(
                lambda: record.exists() and waits.is_file() and "waits é" in waits.read_text("utf-8"), 120
            )
            assert there, (tmp_path / "printed").read_text()
            assert len(processes_with(mark)) > 1
        finally:
            process.kill()
    assert wait_for(lambda: not processes_with(mark), 60), "workers outlive what started them"
    assert (tmp_path / "printed").read_text().count("begun") == 1


def test_what_cells_of_trees_import_is_imported_once(tmp_path):
    pytest.importorskip("xgboost", reason="extra tabular")
    program = """
import multiprocessing as mp, sys

def tell(pipe):
    pipe.send({"torch", "xgboost", "pandas"} <= set(sys.modules))

if __name__ == "__main__":
    from hypernudge.harness.running.local import METHOD, start_server

    start_server({"xgboost", "digits_mlp"})
    here, there = mp.Pipe(duplex=False)
    process = mp.get_context(METHOD).Process(target=tell, args=(there,))
    process.start()
    print(here.recv(), METHOD)
"""
    path = tmp_path / "program.py"
    path.write_text(program)
    env = {**ENV, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["True", "forkserver"], ["False", "spawn"])
