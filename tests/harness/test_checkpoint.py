"""A cell that was interrupted goes on where it was, and ends with the record of one that was not."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.cells.checkpoint import events_kept, is_kept, study_folder
from hypernudge.harness.cells.leftovers import sweep
from hypernudge.harness.cells.records import StorageError, claim, holder_of
from hypernudge.harness.inspection.doctor import examine
from hypernudge.harness.inspection.status import status
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.interruption import Terminated
from hypernudge.results.records import cell_path
from hypernudge.study.store import Store
from tests.harness.tools import ENV, HERE, compute_here, experiment, hypernudge_here, wait_for


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.syspath_prepend(str(HERE.parent))


@pytest.fixture
def variation(tmp_path):
    return load_plan(experiment(tmp_path, seeds=1, variations={"asha": {}}))["asha"]


class Interrupted(Store):
    """A store that ends the study with its n-th report, and then no more."""

    left, error = 0, Terminated

    def append(self, event):
        super().append(event)
        if type(event).__name__ == "Report" and Interrupted.left > 0:
            Interrupted.left -= 1
            if Interrupted.left == 0:
                raise Interrupted.error


@pytest.mark.parametrize("reports", [1, 4, 9])
def test_it_goes_on_after_an_end_in_order(tmp_path, variation, monkeypatch, reports):
    whole = run_cell(variation, 0, tmp_path / "whole")
    monkeypatch.setattr("hypernudge.study.kept.Store", Interrupted)
    Interrupted.left, path = reports, cell_path(tmp_path / "r", 0)
    with pytest.raises(Terminated):
        run_cell(variation, 0, tmp_path / "r", checkpoint=True)
    assert is_kept(path) and events_kept(path) == reports and not path.exists()
    first = json.loads((study_folder(path) / "spent.json").read_text())
    record = run_cell(variation, 0, tmp_path / "r", checkpoint=True)
    assert record["digest"] == whole["digest"] and not study_folder(path).exists()
    used = record["wall"]["resources"]
    assert used["wall_seconds"] > first["wall_seconds"] > 0 and used["core_seconds"] >= first["core_seconds"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_checkpoint_of_another_study_is_set_aside(tmp_path, variation, monkeypatch, capsys):
    monkeypatch.setattr("hypernudge.study.kept.Store", Interrupted)
    Interrupted.left = 3
    with pytest.raises(Terminated):
        run_cell(variation, 0, tmp_path / "r", checkpoint=True)
    other = variation.altered(budget={"units": 12.0})
    record = run_cell(other, 0, tmp_path / "r", checkpoint=True)
    assert record["digest"] == run_cell(other, 0, tmp_path / "whole")["digest"]
    assert "asha: seed 0 begins anew, for its checkpoint is no use: study: " in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_no_checkpoint_says_nothing_of_the_method(tmp_path, variation, monkeypatch, number):
    monkeypatch.setattr("hypernudge.study.kept.Store", Interrupted)
    monkeypatch.setattr(Interrupted, "error", OSError(number, os.strerror(number)))
    Interrupted.left, path = 2, cell_path(tmp_path / "r", 0)
    with pytest.raises(StorageError, match=r"seed-0000\.study could not be written"):
        run_cell(variation, 0, tmp_path / "r", checkpoint=True)
    assert not path.exists() and is_kept(path)


def test_any_other_error_of_the_system_is_the_studys(tmp_path, variation, monkeypatch):
    monkeypatch.setattr("hypernudge.study.kept.Store", Interrupted)
    monkeypatch.setattr(Interrupted, "error", FileNotFoundError(errno.ENOENT, "no such data"))
    Interrupted.left = 2
    assert run_cell(variation, 0, tmp_path / "r", checkpoint=True)["status"] == "crashed"


def test_a_killed_run_goes_on_by_itself_where_it_was(tmp_path, capsys):
    config = experiment(tmp_path, "own:Paced", 1, {"asha": {}})
    command = [sys.executable, "-m", "hypernudge.cli", "run", config, "--results-dir", tmp_path / "r"]
    command = [*map(str, command), "--no-figures", "+launcher.checkpoint=true"]
    path = cell_path(tmp_path / "r" / "asha", 0)
    with subprocess.Popen(
        command,
        env={**ENV, "HYPERNUDGE_TEST_PACE": "0.2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        assert wait_for(lambda: events_kept(path) >= 4, 120)
        run.send_signal(signal.SIGKILL)
    kept = events_kept(path)
    assert wait_for(lambda: not status(tmp_path / "r")[0].running, 60), "its process ends, too"
    for folder in (tmp_path / "r", path.parent):
        sweep(folder)
    assert is_kept(path), "what has no record is kept"
    assert not any(finding.fix == "quarantine" for finding in examine(tmp_path / "r"))
    done = hypernudge_here(capsys, *command[3:])
    log = json.loads(path.read_text())
    compute_here(config, tmp_path / "whole")
    assert log["digest"] == json.loads(cell_path(tmp_path / "whole" / "asha", 0).read_text())["digest"]
    assert kept >= 4 and done.returncode == 0 and not study_folder(path).exists()


def test_what_is_left_of_a_sealed_cell_is_swept(tmp_path, variation):
    path = cell_path(tmp_path / "r", 0)
    run_cell(variation, 0, tmp_path / "r")
    study_folder(path).mkdir()
    (study_folder(path) / "study.jsonl").write_text("{}\n")
    with claim(path):
        assert sweep(path.parent) == [], "somebody works on it"
    assert sweep(path.parent) == [study_folder(path)] and not study_folder(path).exists()


def test_a_lock_says_who_holds_it(tmp_path):
    path = cell_path(tmp_path, 3)
    assert holder_of(path) is None
    with claim(path, attempt=2):
        holder = holder_of(path)
        assert holder is not None and (holder.process, holder.attempt, holder.job) == (os.getpid(), 2, "")
        assert str(holder).startswith(f"on {holder.node} since ") and str(holder).endswith(", attempt 2")
    path.parent.mkdir(exist_ok=True)
    for odd in ("", "{}", "[1]", "\x00", '{"node": 1}'):
        path.with_suffix(".lock").write_text(odd)
        assert holder_of(path) is None
