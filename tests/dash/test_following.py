"""Studies that are read as they grow, and pages of which only what changed is sent."""

import dataclasses

import pytest

from hypernudge import Study
from hypernudge.dash.board import Board
from hypernudge.dash.following import StudyFollower
from hypernudge.dash.study_view import StudyView
from hypernudge.study.log import DamagedStudyError
from hypernudge.study.store import FILE
from tests.dash.kept import Writer, keep
from tests.study.synthetic import study_of


def seen(study):
    return [dataclasses.replace(trial) for trial in study.trials]


def test_a_study_read_in_parts_is_the_study_read_at_once(tmp_path):
    writer = Writer(tmp_path, study_of(trials=20, lost=0.2))
    follower = StudyFollower(tmp_path / FILE)
    assert follower.update() and follower.study.trials == [] and not follower.update()
    for count in (1, 2, 7, None):
        writer.write(count)
        assert follower.update()
        events = follower.study.history.events
        assert len(events) == writer.written
    assert seen(follower.study) == seen(Study.open(tmp_path)) and follower.study.ended is None
    writer.end()
    assert follower.update() and follower.study.ended == "scheduler"
    writer.close()


def test_a_line_that_is_not_whole_yet_waits(tmp_path):
    keep(tmp_path, study_of(trials=6), ended=None)
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    follower = StudyFollower(path)
    follower.update()
    before = len(follower.study.history.events)
    path.write_bytes(whole)
    assert follower.update() and len(follower.study.history.events) == before + 1


def test_a_file_that_was_cut_and_written_anew_is_read_anew(tmp_path):
    keep(tmp_path / "a", study_of(trials=12), ended=None)
    keep(tmp_path / "b", study_of(trials=9, seed=1))
    path = tmp_path / "a" / FILE
    follower = StudyFollower(path)
    follower.update()
    other = (tmp_path / "b" / FILE).read_bytes()
    path.write_bytes(other)  # shorter
    assert follower.update() and len(follower.study.trials) == 9
    path.write_bytes(other[:4000])  # a run that goes on keeps the beginning
    follower.update()
    longer = keep(tmp_path / "c", study_of(trials=40, seed=2)) / FILE
    path.write_bytes(longer.read_bytes())  # and longer: the check sums tell
    assert follower.update() and len(follower.study.trials) == 40


def test_damage_is_said_in_a_line_and_the_page_stays(tmp_path):
    keep(tmp_path, study_of(trials=6))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b'"trial":3', b'"trial":4', 1))
    with pytest.raises(DamagedStudyError, match="was changed after it was written"):
        StudyFollower(path).update()
    page = StudyView(StudyFollower(path), tmp_path, "mine").data()
    assert "was changed after" in page["error"] and page["charts"] == []


def test_a_board_sends_what_changed():
    board = Board()
    board.set("title", "one")
    board.set_chart({"name": "a", "traces": [1]})
    board.set_chart({"name": "b", "traces": []})
    columns = [("trial", "number"), ("status", "text")]
    board.set_table("trials", "Trials", columns, [[0, "running", None], [1, "running", None]])
    whole = board.since()
    assert whole["whole"] and whole["title"] == "one" and len(whole["charts"]) == 2
    assert whole["tables"][0]["anew"] and whole["tables"][0]["places"] == [0, 1]
    assert board.since(whole["mark"]) is None
    board.set("title", "one")
    board.set_table("trials", "Trials", columns, [[0, "running", None], [1, "running", None]])
    assert board.since(whole["mark"]) is None
    board.set_table("trials", "Trials", columns, [[0, "paused", None], [1, "running", None], [2, "x", None]])
    board.set_chart({"name": "b", "traces": [2]})
    part = board.since(whole["mark"])
    assert not part["whole"] and "title" not in part
    assert [chart["name"] for chart in part["charts"]] == ["b"]
    (table,) = part["tables"]
    assert not table["anew"] and table["places"] == [0, 2] and table["rows"][1] == [2, "x", None]
    board.set_table("trials", "Trials", columns, [[7, "running", None]])  # fewer: another study
    assert board.since(part["mark"])["tables"][0]["anew"]
    for foreign in ("", "-", "0000-99", "x" * 5000, f"{part['mark']}9x"):
        assert board.since(foreign)["whole"]
