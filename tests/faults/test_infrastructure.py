"""What the machine does to a cell is no result: it stays missing, is counted, said, and run again."""

import errno
import json
from collections import Counter

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.harness.cells import records
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.cells.group import run_group
from hypernudge.harness.cells.records import StorageError
from hypernudge.harness.inspection.status import print_table, status
from hypernudge.harness.planning.resolve import load_plan, resolve_plan
from hypernudge.results.attempts import failures, note_failure
from hypernudge.results.records import cell_path, read_record
from tests.harness.tools import HERE, contents, experiment, hypernudge, json_lines

ENGINES = ["serial", "population"]


def attempts_of(results):
    return [json.loads(line) for line in (results / "asha" / "attempts.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.syspath_prepend(str(HERE.parent))


FAULTS = pytest.mark.parametrize(
    ("engine", "task", "fault", "reason"),
    [
        ("population", "own:Killed", {"HYPERNUDGE_TEST_KILL": "1"}, "SIGKILL"),
        ("serial", "own:FullDisk", {"HYPERNUDGE_TEST_FILE_LIMIT": "3000"}, "could not be written"),
    ],
    ids=["killed", "full disk"],
)


@FAULTS
def test_the_cell_stays_missing_and_the_same_command_runs_it(tmp_path, capsys, engine, task, fault, reason):
    config = experiment(tmp_path, task, variations={"asha": {}}, engine=engine, seeds=4)
    config.write_text(config.read_text() + "launcher: {attempts: 3}\n")
    results = tmp_path / "results"
    results.mkdir()
    declare_plan(config, results)
    command = "train", "--run-id", "asha", "--config-file", config, "--run-dir", results / "asha"
    first = hypernudge(*command, check=False, **fault)
    sealed = contents(results)
    missing = 4 - len(sealed)
    assert first.returncode == 1 and missing > 0
    assert all(record["status"] == "completed" for record in sealed.values())
    assert first.stderr.splitlines()[-1] == f"asha: {missing} of 4 cells missing: run the same command again"
    assert "Traceback" not in first.stderr

    noted = attempts_of(results)
    assert len(noted) >= 3 * missing and all(entry["at"] and reason in entry["reason"] for entry in noted)
    said = [event for event in json_lines(first.stdout) if event["event"] == "missing"]
    assert {event["seed"] for event in said} == set(range(4)) - {r["cell"]["seed"] for r in sealed.values()}
    assert all(event["attempts"] == 3 and reason in event["reason"] for event in said)

    (row,) = status(results)
    assert {seed: found.count for seed, found in row.attempts.items()} == {e["seed"]: 3 for e in said}
    print_table([row])
    table = capsys.readouterr().out
    assert table.count("3 attempts failed, the last:") == missing and "run the same command again" in table

    evaluation = evaluate(results, lambda _: None, figures=False)
    assert (evaluation.status, evaluation.missing) == ("incomplete", missing)
    shown = [problem for problem in evaluation.problems if "3 attempts failed" in problem["rule"]]
    assert len(shown) == missing and all(reason in problem["rule"] for problem in shown)

    hypernudge(*command)
    assert len(contents(results)) == 4 and {**contents(results), **sealed} == contents(results)
    (row,) = status(results)
    assert not row.missing and not row.attempts


def declare_plan(config, results):
    """Write the manifest that `run` would."""
    (results / "plan.json").write_text(json.dumps(load_plan(config).as_dict()))


def test_a_run_says_what_is_missing_and_its_exit_code_is_not_zero(tmp_path):
    config = experiment(tmp_path, "own:Killed", variations={"asha": {}})
    given = ("run", config, "--results-dir", tmp_path / "r", "--no-figures")
    done = hypernudge(*given, check=False, HYPERNUDGE_TEST_KILL="1")
    missing = 6 - len(contents(tmp_path / "r"))
    assert done.returncode == 1 and missing > 0
    assert done.stderr.splitlines()[-1] == f"{missing} cells missing: run the same command again"
    assert (
        sorted(Counter(entry["seed"] for entry in attempts_of(tmp_path / "r")).values())[-missing:]
        == [2] * missing
    )


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "true", "null"])
def test_attempts_are_a_whole_number(tmp_path, value):
    config = experiment(tmp_path)
    config.write_text(config.read_text() + f"launcher: {{attempts: {value}}}\n")
    with pytest.raises(InvalidArgumentError, match=r"launcher\.attempts"):
        load_plan(config)


def test_attempts_are_no_part_of_the_plan(tmp_path):
    config = experiment(tmp_path)
    before = load_plan(config)
    config.write_text(config.read_text() + "launcher: {attempts: 5}\n")
    assert load_plan(config).attempts == 5 and load_plan(config).hash == before.hash


@pytest.fixture
def variation(tmp_path):
    def make(task, engine):
        common = {"task": task, "target": -0.1, "budget": {"units": 9}, "seeds": [0, 1], "engine": engine}
        return resolve_plan({"common": common, "variations": {"a": {}}}, tmp_path).variations[0]

    return make


def run(variation, engine, run_dir):
    if engine == "population":
        run_group(variation, variation.seeds, run_dir)
    else:
        for seed in variation.seeds:
            run_cell(variation, seed, run_dir)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("where", ["lock", "log", "event", "record"])
@pytest.mark.parametrize("engine", ENGINES)
def test_whatever_cannot_be_written_seals_nothing(tmp_path, variation, monkeypatch, engine, where, number):
    made = variation("own:Small", engine)
    once = [True]

    def broken(original, *arguments, **named):
        if once:
            once.pop()
            raise OSError(number, "the disk's")
        return original(*arguments, **named)

    def patch(owner, name):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: broken(original, *a, **k))

    if where == "event":
        patch(records, "json_line")  # inside of the block that writes
        original = records.Appender.__call__

        def call(self, event):
            with records.storing(self._path):
                original(self, event)

        monkeypatch.setattr(records.Appender, "__call__", call)
    else:
        owner, name = {
            "lock": (records, "lock"),
            "log": (type(tmp_path), "open"),
            "record": (records, "create_text"),
        }[where]
        if where == "log":
            original_open = owner.open

            def opened(self, *arguments, **named):
                if self.name.endswith(".partial.jsonl"):
                    return broken(original_open, self, *arguments, **named)
                return original_open(self, *arguments, **named)

            monkeypatch.setattr(owner, "open", opened)
        else:
            patch(owner, name)
    with pytest.raises(StorageError, match="could not be written: the disk's"):
        run(made, engine, tmp_path)
    sealed = [read_record(cell_path(tmp_path, seed), made.planned(seed)) for seed in made.seeds]
    assert None in sealed and all(record is None or record["status"] == "completed" for record in sealed)
    assert not list(tmp_path.rglob("*.lock")) and not list(tmp_path.rglob(".*"))
    run(made, engine, tmp_path)  # the disk is well again
    sealed = [read_record(cell_path(tmp_path, seed), made.planned(seed)) for seed in made.seeds]
    assert [record["status"] for record in sealed] == ["completed", "completed"]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_user_s_code_raises_is_a_result(tmp_path, variation, engine):
    made = variation("own:OutOfMemory", engine)
    run(made, engine, tmp_path)
    sealed = [read_record(cell_path(tmp_path, seed), made.planned(seed)) for seed in made.seeds]
    assert all(record["status"] == "crashed" for record in sealed)
    assert all("OutOfMemoryError" in record["errors"][0]["traceback"] for record in sealed)


def test_odd_lines_of_attempts_are_passed_over(tmp_path):
    assert failures(tmp_path) == {}
    note_failure(tmp_path, 3, "killed")
    with (tmp_path / "attempts.jsonl").open("ab") as file:
        file.write(b'null\n[]\n{"seed": true, "reason": 1}\n' + b"[" * 100_000 + b'\n{"seed": 3, "rea')
    note_failure(tmp_path, 3, "disk\nfull")
    assert str(failures(tmp_path)[3]) == "2 attempts failed, the last: disk full"
    assert list(failures(tmp_path)) == [3]
    (tmp_path / "attempts.jsonl").unlink()
    (tmp_path / "attempts.jsonl").mkdir()
    assert failures(tmp_path) == {}
