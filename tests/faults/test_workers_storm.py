"""A small storm on real workers; `python -m benchmarks.faults` shakes them for longer, and on clusters."""

import random
import signal
import sys

import pytest

from benchmarks.faults.driver import scheduler
from benchmarks.faults.storm import KINDS, WRONG, Watched, storm
from benchmarks.faults.task import BEGUN
from hypernudge import Study
from hypernudge.random import Streams
from tests.laws.recorded import check_recorded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")


@pytest.mark.slow
def test_a_storm_of_every_kind(tmp_path):
    rng = random.Random(3)
    kinds = rng.sample(KINDS, len(KINDS))
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a background job of a shell
    try:
        found, tried = storm(tmp_path / "s", ["--workers", "2", "--pace", "0.15"], kinds, rng, trials=24)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert found.kills["interrupt"] == kinds[:tried].count("interrupt")
    assert found.wrong == {name: [] for name in WRONG}
    assert found.trials == 24 and tried >= 3 and found.kills.total() >= 3
    check_recorded(Study.open(tmp_path / "s" / "kept").history, lambda: scheduler(24), 0, 2)


def test_what_a_storm_would_find(tmp_path):
    """A report that is gone, and a unit that is trained after it."""
    (tmp_path / "kept").mkdir()
    seed = Streams(0).trial_seed(1)
    report = '{"event":"report","trial":1,"units":[[1,0.1,0.2,0.3]]}\n'
    watched = Watched(tmp_path, 0)
    watched.file.write_text('{"event":"study"}\n' + report + '{"event":"report","tri')
    (tmp_path / BEGUN).write_text(f"{seed} 1 77\n")
    assert watched.look() == 1
    assert watched.lost() == watched.recomputed() == []
    (tmp_path / BEGUN).write_text(f"{seed} 1 77\n{seed} 2 77\n")
    assert watched.recomputed() == []
    (tmp_path / BEGUN).write_text(f"{seed} 1 77\n{seed} 2 77\n{seed} 1 78\n")
    assert len(watched.recomputed()) == 1
    watched.file.write_text('{"event":"study"}\n')
    assert watched.lost() == [report.strip()]
