"""`hypernudge doctor`: says what is damaged, foreign, missing or left over, and mends what is safe."""

import json
import os
import stat

import pytest

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.leftovers import RUN_LOCK
from hypernudge.harness.cells.records import claim
from hypernudge.harness.inspection.doctor import examine, fix
from hypernudge.results.attempts import note_failure
from hypernudge.results.files import lock
from hypernudge.results.records import cell_path
from tests.results.test_reading import DAMAGE, plan_of, written


@pytest.fixture
def results(tmp_path):
    before = os.umask(0o022)
    yield written(tmp_path / "results", plan_of(tmp_path))
    os.umask(before)


def tree(folder):
    """Everything in a folder, with modes and contents; links are not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(kind.st_mode) else None
        found[path.relative_to(folder).as_posix()] = kind.st_mode, content
    return found


def faults(results):
    return {finding.path: (finding.kind, finding.rule) for finding in examine(results) if finding.is_fault}


def test_a_whole_directory_is_healthy(results, capsys):
    before = tree(results)
    assert main(["doctor", str(results)]) == 0 and capsys.readouterr().out == "healthy\n"
    assert main(["doctor", str(results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"healthy": True, "findings": []}
    assert main(["doctor", str(results), "--fix"]) == 0 and tree(results) == before


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_record_that_is_not_believed_is_moved_aside_and_run_again(results, kind, capsys):
    damage, rule = DAMAGE[kind]
    path = cell_path(results / "band", 0)
    damage(path)
    before = tree(results)
    (found,) = examine(results)
    assert found.path == "band/cells/seed-0000.json" and rule in found.rule and found.fix == "quarantine"
    assert found.kind == ("foreign" if kind.startswith("of another") or kind == "seed true" else "damaged")
    assert main(["doctor", str(results)]) == 1
    assert "1 fault; 1 can be mended with --fix" in capsys.readouterr().out
    assert tree(results) == before, "without --fix nothing is touched"
    assert main(["doctor", str(results), "--fix"]) == 0
    moved = "quarantine/band/cells/seed-0000.json"
    assert f"moved to {moved}" in capsys.readouterr().out
    after = tree(results)
    assert after[moved] == before[found.path] and not path.exists()
    assert main(["doctor", str(results)]) == 0  # healthy, and one cell to run
    assert "1 cell missing: run the same command again" in capsys.readouterr().out


def test_nothing_in_quarantine_is_written_over(results):
    path = cell_path(results / "band", 0)
    for text in ("one", "two", "three"):
        path.write_text(text)
        assert all(finding.done for finding in fix(results) if finding.kind == "damaged")
    kept = sorted((results / "quarantine" / "band" / "cells").iterdir())
    assert [p.read_text() for p in kept] == ["one", "two", "three"]


def test_leftovers_are_removed_and_the_user_s_files_are_not(results):
    cells = results / "band" / "cells"
    path = cell_path(results / "band", 1)
    path.unlink()
    left = [
        *(cells / ".seed-0001.json.ab12cd34", results / ".plan.json.ab12cd34", results / RUN_LOCK),
        *(cells / "seed-0001.lock", cells / "seed-0000.lock"),
        *(cells / "seed-0001.partial.jsonl", cells / "seed-0000.partial.jsonl"),
    ]
    for leftover in left:
        leftover.write_text("[" * 100_000)
    own = [results / "uv.lock", results / "notes" / "poetry.lock", results / "notes" / ".a.json.12345678"]
    for mine in own:
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")
    assert set(faults(results)) == {leftover.relative_to(results).as_posix() for leftover in left}
    assert {kind for kind, _ in faults(results).values()} == {"left over"}
    fix(results)
    assert not any(leftover.exists() for leftover in left) and all(mine.exists() for mine in own)
    assert not faults(results)


def test_what_does_not_belong_is_moved_aside(results, tmp_path):
    (results / "band" / "cells" / "seed-0099.json").write_text("{}")
    (results / "band" / "cells" / "notes.txt").write_text("mine")
    (results / "other" / "cells").mkdir(parents=True)
    (results / "other" / "cells" / "seed-0000.json").write_text("{}")
    assert {path: kind for path, (kind, _) in faults(results).items()} == {
        "band/cells/seed-0099.json": "foreign",
        "band/cells/notes.txt": "foreign",
        "other": "foreign",
    }
    fix(results)
    assert not faults(results)
    assert (results / "quarantine" / "other" / "cells" / "seed-0000.json").exists()
    assert (results / "quarantine" / "band" / "cells" / "notes.txt").read_text() == "mine"


def test_modes_follow_the_folder_s(results):
    path = cell_path(results / "band", 0)
    path.chmod(0o600)
    (results / "plan.json").chmod(0o600)
    assert {kind for kind, _ in faults(results).values()} == {"mode"}
    fix(results)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 and not faults(results)
    path.parent.chmod(0o700)  # a private folder: nobody else reads what is in it
    path.chmod(0o600)
    assert not faults(results)


@pytest.mark.parametrize("name", ["results.json", "evaluation.json"])
@pytest.mark.parametrize("text", ["null", "[]", "{", "[" * 100_000, b"\xff\x00", None])
def test_what_is_made_from_records_is_moved_aside_where_it_is_damaged(results, name, text):
    path = results / name if name == "evaluation.json" else results / "band" / name
    if text is None:
        path.mkdir()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert [kind for kind, _ in faults(results).values()] == ["damaged"]
    fix(results)
    assert not faults(results) and not path.exists()


@pytest.mark.parametrize("text", ["{}", "[]", "", "null", "[" * 100_000, "directory", "absent", "edited"])
def test_a_plan_that_is_none_is_said_and_left_alone(results, text, capsys):
    path = results / "plan.json"
    if text == "edited":
        path.write_text(path.read_text().replace('"alpha": 0.05', '"alpha": 0.06'))
    else:
        path.unlink()
        if text == "directory":
            path.mkdir()
        elif text != "absent":
            path.write_text(text)
    before = tree(results)
    assert main(["doctor", str(results), "--fix"]) == 1
    assert "plan.json" in capsys.readouterr().out and tree(results) == before


def test_odd_deviations_and_attempts_are_said_or_passed_over(results, capsys):
    (results / "deviations.jsonl").write_text('null\n[]\n{"changes": 1}\n' + "[" * 100_000)
    (results / "band" / "attempts.jsonl").write_text("null\n{}\n")
    assert main(["doctor", str(results)]) == 1
    assert capsys.readouterr().out.count("deviations.jsonl: line") == 4


def test_missing_cells_are_said_with_their_attempts_and_are_no_fault(results, capsys):
    cell_path(results / "band", 0).unlink()
    cell_path(results / "band", 1).unlink()
    note_failure(results / "band", 1, "its process was ended by SIGKILL")
    with claim(cell_path(results / "band", 0)):
        assert main(["doctor", str(results)]) == 0
    out = capsys.readouterr().out
    assert "running: band/cells/seed-0000.json" in out
    assert (
        "missing: band/cells: 1 of 6 cells, seeds 1: no record: 1 attempt failed" in out and "SIGKILL" in out
    )


def test_missing_cells_are_one_line_for_each_variation_and_reason(results, capsys):
    for seed in (0, 2, 3):
        cell_path(results / "band", seed).unlink()
        cell_path(results / "plain", seed).unlink()
    note_failure(results / "plain", 2, "its process was ended by SIGKILL")
    assert main(["doctor", str(results)]) == 0
    *lines, total, last = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1:3] for line in lines] == [
        [" band/cells", " 3 of 6 cells, seeds 0, 2, 3"],
        [" plain/cells", " 1 of 6 cells, seeds 2"],
        [" plain/cells", " 2 of 6 cells, seeds 0, 3"],
    ]
    assert total.startswith("6 cells missing: ") and last == "healthy"


def test_nothing_is_fixed_while_a_run_is_at_work(results):
    cell_path(results / "band", 0).write_text("null")
    before = tree(results)
    with claim(cell_path(results / "plain", 0)), pytest.raises(InvalidArgumentError, match="no run at work"):
        fix(results)
    with lock(results / RUN_LOCK, shared=True), pytest.raises(InvalidArgumentError, match="no run at work"):
        fix(results)
    assert tree(results) == before


@pytest.mark.parametrize(
    "what", ["record", "cells", "run", "quarantine", "temporary", "lock", "log", "results"]
)
def test_links_are_not_followed(results, tmp_path, what):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "seed-0000.json").write_text("null")
    (outside / "file").write_text("precious")
    (outside / "file").chmod(0o600)
    before = tree(outside)
    cells = results / "band" / "cells"
    path = {
        "record": cells / "seed-0000.json",
        "cells": cells,
        "run": results / "band",
        "quarantine": results / "quarantine",
        "temporary": cells / ".seed-0000.json.ab12cd34",
        "lock": cells / "seed-0000.lock",
        "log": cells / "seed-0000.partial.jsonl",
        "results": results / "band" / "results.json",
    }[what]
    if what in ("cells", "run"):
        path.rename(tmp_path / "aside")
    path.unlink(missing_ok=True)
    path.symlink_to(outside if what in ("cells", "run", "quarantine") else outside / "file")
    if what == "quarantine":
        cell_path(results / "band", 1).write_text("null")
        with pytest.raises(InvalidArgumentError, match="must be no link"):
            fix(results)
    else:
        fix(results)
    assert tree(outside) == before


def test_no_directory_is_refused(tmp_path, capsys):
    for arguments in ([], ["--fix"]):
        assert main(["doctor", str(tmp_path / "none"), *arguments]) == 2
        assert "DIR: must be a directory" in capsys.readouterr().err
