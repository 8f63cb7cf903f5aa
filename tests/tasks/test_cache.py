import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.data.cache import (
    Field,
    cache_directory,
    cached_arrays,
    fingerprint,
    listing_digest,
    open_arrays,
)

FIELDS = {"x": Field("uint8", (2, 3)), "y": Field("int64")}
SOURCE = {"name": "numbers", "shards": 5}


def chunk(number, rows=4):
    """Rows that are a function of the shard."""
    x = np.random.default_rng(number).integers(0, 256, (rows, 2, 3), dtype=np.uint8)
    return {"x": x, "y": np.arange(rows) + 10 * number}


def shards(start):
    for number in range(start, 5):
        yield [chunk(number), chunk(number + 100, rows=1)]


EXPECTED = {
    name: np.concatenate([chunk(n + k, rows)[name] for n in range(5) for k, rows in ((0, 4), (100, 1))])
    for name in FIELDS
}


def same(found):
    return all(np.array_equal(found.arrays[name], value) for name, value in EXPECTED.items())


def forbidden(start):
    raise AssertionError("nothing is to be made")


def test_arrays_are_made_once_and_mapped_ever_after(tmp_path):
    folder = tmp_path / "deep" / "numbers"
    made = cached_arrays(folder, SOURCE, FIELDS, shards)
    assert same(made) and isinstance(made.arrays["x"], np.memmap)
    again = cached_arrays(folder, SOURCE, FIELDS, forbidden)
    assert same(again) and again.manifest["arrays"]["x"]["shape"] == [25, 2, 3]
    again.arrays["x"][:] = 0  # stays in memory
    assert same(open_arrays(folder, SOURCE))
    again.verify()
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "x.bin", "y.bin"]


def test_an_empty_array_can_be_kept(tmp_path):
    found = cached_arrays(tmp_path / "none", SOURCE, FIELDS, lambda start: iter(()))
    assert found.arrays["x"].shape == (0, 2, 3)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.tasks.test_cache import FIELDS, SOURCE, chunk, shards
from hypernudge.tasks.data.cache import cached_arrays

def dies(start):
    for number, shard in enumerate(shards(start), start):
        if number == 3:
            def halfway():
                yield shard[0]
                os.kill(os.getpid(), signal.SIGKILL)
            yield halfway()
        else:
            yield shard

cached_arrays(Path(sys.argv[1]), SOURCE, FIELDS, dies)
"""


def test_a_killed_build_goes_on_after_its_last_sealed_shard(tmp_path):
    folder = tmp_path / "numbers"
    died = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert died.returncode == -signal.SIGKILL and open_arrays(folder, SOURCE) is None
    building = tmp_path / ".numbers.building"
    # A torn write after the last seal, as a machine that loses power leaves it.
    with (building / "x.bin").open("ab") as file:
        file.write(b"torn")
    started = []

    def watched(start):
        started.append(start)
        return shards(start)

    assert same(cached_arrays(folder, SOURCE, FIELDS, watched)) and started == [3]
    assert not building.exists()


def test_what_a_build_of_another_source_left_is_not_used(tmp_path):
    folder = tmp_path / "numbers"
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    other = {**SOURCE, "size": 7}
    started = []

    def watched(start):
        started.append(start)
        return shards(start)

    assert same(cached_arrays(folder, other, FIELDS, watched)) and started == [0]


def racer(folder, barrier, results):
    made = []

    def counted(start):
        for shard in shards(start):
            made.append(1)
            yield shard

    barrier.wait()
    found = cached_arrays(folder, SOURCE, FIELDS, counted)
    results.put((len(made), same(found)))


def test_of_processes_that_want_the_same_one_builds(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    racers = [context.Process(target=racer, args=(tmp_path / "numbers", barrier, results)) for _ in range(4)]
    for process in racers:
        process.start()
    found = [results.get() for _ in racers]
    for process in racers:
        process.join()
    assert sorted(made for made, _ in found) == [0, 0, 0, 5] and all(right for _, right in found)


def test_without_locks_the_first_to_finish_wins(tmp_path, monkeypatch):
    monkeypatch.setattr("hypernudge.results.files.LOCKS", False)
    folder = tmp_path / "numbers"

    def overtaken(start):
        monkeypatch.setattr(os, "getpid", lambda: 1)
        cached_arrays(folder, SOURCE, FIELDS, shards)
        monkeypatch.undo()
        yield from shards(start)

    assert same(cached_arrays(folder, SOURCE, FIELDS, overtaken))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["numbers"]


def test_damage_is_said_in_one_line(tmp_path):
    folder = tmp_path / "numbers"
    cached_arrays(folder, SOURCE, FIELDS, shards)
    with pytest.raises(InvalidArgumentError, match=r"must be of source .*remove .*numbers"):
        open_arrays(folder, {**SOURCE, "shards": 6})
    x = (folder / "x.bin").read_bytes()
    (folder / "x.bin").write_bytes(x[:-1] + bytes([x[-1] ^ 1]))
    with pytest.raises(InvalidArgumentError, match=r"x\.bin must be as it was written"):
        open_arrays(folder, SOURCE).verify()
    (folder / "x.bin").write_bytes(x[:-1])
    with pytest.raises(InvalidArgumentError, match=r"x\.bin must be 150 bytes long, but got 149"):
        open_arrays(folder, SOURCE)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(InvalidArgumentError, match="is damaged") as caught:
        open_arrays(folder, SOURCE)
    assert "\n" not in str(caught.value)
    (folder / "manifest.json").unlink()
    with pytest.raises(InvalidArgumentError, match="must be a cache or absent"):
        cached_arrays(folder, SOURCE, FIELDS, shards)


def test_rows_of_another_kind_and_places_that_cannot_be_written_are_refused(tmp_path):
    wrong = {"x": Field("uint8", (3, 2)), "y": Field("int64")}
    with pytest.raises(InvalidArgumentError, match=r"x: rows must be uint8 \(3, 2\)"):
        cached_arrays(tmp_path / "wrong", SOURCE, wrong, shards)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidArgumentError, match="HYPERNUDGE_CACHE"):
        cached_arrays(tmp_path / "file" / "numbers", SOURCE, FIELDS, shards)


def test_a_source_is_known_by_names_sizes_and_contents(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    files = [tmp_path / "a", tmp_path / "b"]
    first = listing_digest(tmp_path, files)
    assert listing_digest(tmp_path, files) == first != listing_digest(tmp_path, files[:1])
    files[1].write_text("c")
    changed = listing_digest(tmp_path, files)
    assert changed != first
    monkeypatch.setattr("hypernudge.tasks.data.cache.WHOLE", 1)  # larger ones by name and size
    large = listing_digest(tmp_path, files)
    files[1].write_text("d")
    assert listing_digest(tmp_path, files) == large
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1})


def test_caches_are_kept_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("HYPERNUDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "hypernudge"
