"""Two ranks over gloo: equal decisions, equal parameters, one collective per episode."""

import pytest
import torch

from tests.episodes.distributed_worker import main
from tests.episodes.helpers import same

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo"),
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(main, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("kind", ["ddp", "ddp_deferred"])
def test_ranks_choose_alike_over_forty_episodes(ranks, kind):
    first, second = (rank[kind] for rank in ranks)
    assert len(first["arms"]) == 40
    assert first["arms"] == second["arms"]
    assert len(set(first["arms"])) > 3
    assert first["losses"] == second["losses"]
    assert same(first["parameters"], second["parameters"])
    assert first["collectives"] == second["collectives"] == 40


def test_a_drawn_seed_is_shared(ranks):
    assert ranks[0]["ddp"]["seed"] == ranks[1]["ddp"]["seed"] != ranks[0]["ddp_deferred"]["seed"]


def test_alignment_agrees(ranks):
    first, second = (rank["alignment"] for rank in ranks)
    assert first["values"] == second["values"]
    assert len(set(first["values"])) > 2
    assert same(first["parameters"], second["parameters"])


def test_fully_sharded(ranks):
    first, second = (rank["fsdp"] for rank in ranks)
    assert first["arms"] == second["arms"]
    assert len(first["arms"]) == 20
    assert first["values"] == second["values"]
    assert len(set(first["values"])) > 2
    assert same(first["parameters"], second["parameters"])
    # each shard has noise of its own
    assert first["noise"].std() > 0.5
    assert not torch.equal(first["noise"], second["noise"])


def test_different_arms_are_an_error_not_a_drift(ranks):
    for rank in ranks:
        assert "Ranks selected different arms" in rank["mismatch"]


def test_ranks_take_a_network_for_pretrained_together(ranks):
    # Half of what both see together lies in the trained matrix of one; of shards, all.
    assert [rank["pretrained"] for rank in ranks] == [[0.5, 1.0]] * 2
