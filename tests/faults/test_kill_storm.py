"""A small storm of the benchmark's: killed in five ways, a study loses nothing and leaves nothing."""

import random
import sys

import pytest

from benchmarks.kill_storm import KINDS, Study, _finish, digests, plan_of, storm
from tests.harness.tools import ENV, experiment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes and locks in /proc")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["population"])  # benchmarks.kill_storm shakes the serial engine, too
def test_a_storm_of_every_kind(tmp_path, monkeypatch, engine):
    """One variation, without the evaluation: that draws longer than the study takes."""
    monkeypatch.setenv("PYTHONPATH", ENV["PYTHONPATH"])
    config = experiment(
        tmp_path, "own:Slow", variations={"asha": {}}, engine=engine, seeds=8, budget={"units": 12}
    )
    command = ("-m", "hypernudge.cli", "train", "--run-id", "asha", "--config-file", str(config))
    command = (*command, "--run-dir", "{results}/asha")
    whole = Study(command, tmp_path / "whole")
    _finish(whole)
    reference = digests(whole.records())
    assert len(reference) == 8 and not whole.leftovers()
    folder = tmp_path / "storm"
    folder.mkdir()
    rng = random.Random(engine)
    kinds = rng.sample(KINDS, len(KINDS))
    found = storm(command, folder, kinds, reference, rng)
    assert found.wrong == {name: [] for name in found.wrong}
    assert found.kills == dict.fromkeys(KINDS, 1) and found.records == 8 * found.studies


def test_every_kind_of_kill_meets_every_door_and_engine():
    planned = plan_of(100, random.Random(0))
    assert len(planned) == 4 and sum(map(len, planned.values())) == 100
    assert all(kinds.count(kind) == 5 for kinds in planned.values() for kind in KINDS)


def test_a_record_that_is_not_whole_is_seen():
    good = b'{"a": 1, "digest": "d12bc6ccf2f2f1d3aaf4ed2b5ed5d7d6b1a5b1f8c8c5d7e7a6a1b9e0c3d2f1a0"}'
    assert digests({"x": good, "y": b"{", "z": b"null"}).keys() == {"x", "y", "z"}
    assert digests({"x": good}) == {"x": "not its own"}
