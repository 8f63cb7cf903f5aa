import json
import math
import multiprocessing as mp
import time

import numpy as np
import pytest
import torch

from hypernudge.harness.cells.records import claim, crashed, is_claimed, seal, seal_record
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.results.digests import record_digest
from hypernudge.results.jsonio import plain
from hypernudge.results.reading import read_json
from hypernudge.results.records import cell_path, read_record
from tests.harness.tools import wait_for


@pytest.fixture
def variation(tmp_path):
    common = {"task": "digits_mlp", "target": 0.9, "budget": {"units": 9}, "seeds": [0]}
    return resolve_plan({"common": common, "variations": {"a": {}}}, tmp_path).variations[0]


def test_only_the_first_seal_counts(tmp_path):
    path = tmp_path / "cells" / "x.json"
    assert seal(path, {"digest": "1"})
    assert not seal(path, {"digest": "2"})
    assert read_json(path) == {"digest": "1"}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def race(path, number):
    seal(path, {"digest": str(number)})


def test_of_eight_racing_writers_one_wins(tmp_path):
    path = tmp_path / "x.json"
    context = mp.get_context("forkserver")
    processes = [context.Process(target=race, args=(path, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert int(read_json(path)["digest"]) in range(8)
    assert len(list(tmp_path.iterdir())) == 1


def test_strict_json():
    value = plain({"a": (1.0, math.nan), 2: [math.inf, None, True]})
    assert value == {"a": [1.0, None], "2": [None, None, True]}
    json.dumps(value, allow_nan=False)


def hold(path, seconds):
    with claim(path):
        time.sleep(seconds)


def test_a_claim_is_seen_while_its_process_lives_and_gone_when_it_is_killed(tmp_path):
    path = cell_path(tmp_path, 3)
    assert not is_claimed(path)
    process = mp.get_context("forkserver").Process(target=hold, args=(path, 60))
    process.start()
    assert wait_for(lambda: is_claimed(path), 120)  # the server imports PyTorch first
    process.kill()
    process.join()
    assert not is_claimed(path)
    with claim(path):  # a stale lock file does not matter
        assert is_claimed(path)


def test_evidence_accepts_the_digest_and_a_crash_is_a_record(tmp_path, variation):
    path = cell_path(tmp_path, 0)
    record = crashed(variation, 0, {"target": 0.9, "budget_seconds": 1.0}, "killed")
    seal_record(path, record)
    sealed = read_record(path, variation.planned(0))
    assert sealed["status"] == "crashed" and sealed["errors"][0]["traceback"] == "killed"
    assert sealed["digest"] == record_digest(sealed)


def test_numbers_of_numpy_and_pytorch_are_plain_data():
    given = {"a": np.float32(0.5), "b": (np.int64(3), torch.tensor(2)), "c": np.array([1.0, np.nan])}
    assert plain(given) == {"a": 0.5, "b": [3, 2], "c": [1.0, None]}
