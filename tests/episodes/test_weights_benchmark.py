"""The look at weights: what it reads, what it prints, and what is recorded of it."""

import json

import pytest
import torch
from torch import nn

from benchmarks.episodes_effect import weights
from hypernudge.episodes.trained_weights import ABOVE, SHARE
from scripts import import_graph
from tests.episodes.pretrained import network, plant

FOLDER = import_graph.ROOT / "benchmarks/results/episodes_fine_tuning"


def test_a_row_has_the_share_and_the_largest_value():
    assert weights.looked_at(network().parameters())["share"] == 0.0
    row = weights.looked_at(plant(network(), times=5.0).parameters())
    assert row["share"] == 1.0 and row["largest"] > ABOVE and row["seconds"] >= 0.0
    assert weights.looked_at(nn.Linear(4, 4).parameters())["largest"] == 0.0  # nothing to see


def test_files_of_tensors_and_of_torchscript_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FINE_TUNED", {name: _Task() for name in ("sst2", "agnews")})
    torch.save({"model": plant(network()).state_dict(), "step": torch.tensor(3)}, tmp_path / "a.pt")
    rows = list(weights.trained([f"a={tmp_path / 'a.pt'}"]))
    assert [(row["name"].split()[0], row["share"]) for row in rows] == [("MiniLM", 0.0)] * 2 + [("a", 1.0)]


class _Task:
    def model(self):
        return network()


def test_the_summary_has_the_ends_of_each_kind():
    rows = [
        {"kind": "new", "name": name, "share": share, "largest": 1.0}
        for name, share in (("a", 0.0), ("b", 0.1))
    ]
    assert weights.summary(rows) == {"new": {"networks": 2, "share": [0.0, 0.1], "largest": [1.0, 1.0]}}


def test_what_is_recorded_is_on_the_page_and_lies_on_the_right_side():
    rows = [json.loads(line) for line in (FOLDER / "weights.jsonl").read_text().splitlines()]
    found = weights.summary(rows)
    assert found["new"]["share"][1] < SHARE / 4 and found["small"]["share"] == [0.0, 0.0]
    assert {row["name"] for row in rows if row["kind"] == "small"} == set(weights.STUDIED)
    assert all(row["seeds"] == weights.SEEDS_OF_SMALL for row in rows if row["kind"] == "small")
    assert found["trained"]["share"][0] > SHARE
    assert (
        max(row["seconds"] for row in rows if "MiniLM" in row["name"] or row["name"].endswith("resnet18"))
        < 1.5
    )
    text = (FOLDER / "README.md").read_text()
    for row in rows:
        if row["kind"] == "trained":
            assert f"| {row['name']} | {row['share']:.2f} | {row['largest']:.2f} |" in text
    of_new = found["new"]
    assert (
        f"| {of_new['networks']} new networks | {of_new['share'][1]:.2f} | {of_new['largest'][1]:.2f} |"
        in text
    )
    small = found["small"]["largest"][1]
    assert f"| the five networks of the planned studies, 200 seeds each | 0.00 | {small:.2f} |" in text


@pytest.mark.parametrize("steps", [(1, 3)])
def test_networks_that_have_begun(monkeypatch, steps):
    monkeypatch.setattr(weights, "BEGUN", steps)
    x, y = torch.randn(64, 3, 16, 16), torch.randint(10, (64,))
    monkeypatch.setattr(weights, "cifar", lambda: (x, y, x, y))
    rows = list(weights.begun())
    assert [row["steps"] for row in rows] == list(steps) * 5
    assert {row["share"] for row in rows} == {0.0}
