"""A study on a cluster whose parts are killed; `python -m tests.slurm.storm` does it for longer."""

import random

from tests.slurm.storm import KINDS, WRONG, storm


def test_nothing_is_lost_when_jobs_nodes_the_controller_and_the_driver_are_killed(cluster, tmp_path):
    found = storm(cluster, tmp_path / "s", KINDS, cells=4, pace=0.3, rng=random.Random(1))
    assert found["exit_code"] == 0, found["said"]
    assert {name: found[name] for name in WRONG} == {name: [] for name in WRONG}
    assert sum(found["kills"].values()) >= 3, "the study lasted long enough for them"
