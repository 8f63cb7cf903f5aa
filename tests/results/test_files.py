"""Files are there whole or not at all, whatever fails; what a killed writer left is found."""

import errno
import multiprocessing as mp
import os
import signal
import stat

import pytest

from hypernudge.results import files
from hypernudge.results.files import (
    abandoned,
    append_line,
    create_text,
    is_held,
    lock,
    remove_abandoned,
    replacing,
    write_text,
)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("write", [write_text, create_text])
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_mode_is_what_the_umask_gives(tmp_path, umask, write, mask, mode):
    os.umask(mask)
    write(tmp_path / "new" / "x.json", "one")
    assert stat.S_IMODE((tmp_path / "new" / "x.json").stat().st_mode) == mode
    assert names(tmp_path / "new") == ["x.json"]


def test_writing_replaces_and_creating_does_not(tmp_path):
    path = tmp_path / "x.json"
    assert create_text(path, "one") and not create_text(path, "two") and path.read_text() == "one"
    write_text(path, "three é")
    assert path.read_bytes() == "three é".encode() and names(tmp_path) == ["x.json"]


@pytest.mark.parametrize("call", ["fsync", "flock"])
@pytest.mark.parametrize("write", [write_text, create_text])
def test_a_full_disk_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, write, call):
    path = tmp_path / "x.json"
    if write is write_text:
        write_text(path, "old")
    before = names(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    if call == "flock":  # a file system without locks, besides
        monkeypatch.setattr(files.fcntl, "flock", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, "new")
    assert names(tmp_path) == before
    assert not before or path.read_text() == "old"


def test_a_block_that_fails_leaves_no_temporary(tmp_path):
    with pytest.raises(RuntimeError, match="drawing"), replacing(tmp_path / "x.pdf") as file:
        file.write(b"%PDF")
        raise RuntimeError("drawing failed")
    assert names(tmp_path) == []


def write_and_die(path):
    with replacing(path) as file:
        file.write(b"{")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_writer_left_is_removed_and_what_a_live_one_uses_is_not(tmp_path):
    process = mp.get_context("forkserver").Process(target=write_and_die, args=(tmp_path / "seed-0003.json",))
    process.start()
    process.join()
    (left,) = abandoned(tmp_path)
    assert left.name.startswith(".seed-0003.json.")
    (tmp_path / ".hidden").write_text("a user's own")
    (tmp_path / ".plan.json.abcd1234").symlink_to(tmp_path / ".hidden")
    with replacing(tmp_path / "plan.json") as file:
        file.write(b"{}")
        assert remove_abandoned(tmp_path) == [left]
    assert names(tmp_path) == [".hidden", ".plan.json.abcd1234", "plan.json"]


def test_a_torn_line_costs_only_itself(tmp_path):
    path = tmp_path / "new" / "x.jsonl"
    append_line(path, "1")
    with path.open("a") as file:
        file.write('{"torn')
    append_line(path, "2")
    assert path.read_text() == '1\n{"torn\n2\n'


def test_shared_locks_keep_an_exclusive_one_out_and_the_last_holder_removes_the_file(tmp_path):
    path = tmp_path / "x.lock"
    with lock(path, shared=True) as first:
        with lock(path, shared=True) as second:
            assert first and second and is_held(path)
        assert path.exists()
        with lock(path, wait=False) as third:
            assert not third
    assert not path.exists()
    with lock(path, wait=False) as mine:
        assert mine


def count(path, lines, times):
    for _ in range(times):
        with lock(path):
            before = lines.read_text()
            lines.write_text(before + "x")


def test_a_lock_that_is_removed_while_others_wait_still_excludes_them(tmp_path):
    lines = tmp_path / "lines"
    lines.write_text("")
    context = mp.get_context("forkserver")
    processes = [context.Process(target=count, args=(tmp_path / "x.lock", lines, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert lines.read_text() == "x" * 200
    assert names(tmp_path) == ["lines"]
