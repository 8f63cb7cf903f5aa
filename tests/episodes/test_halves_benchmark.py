"""Alignment on the rate and a bandit on the noise: what is attached, what is counted, what is compared."""

import dataclasses
import json

import pytest

from benchmarks.episodes_effect import halves
from benchmarks.episodes_effect.tasks import TASKS
from scripts import import_graph


@pytest.mark.filterwarnings("ignore:the search for a rate ended")
def test_alignment_owns_the_rate_and_the_bandit_the_noise():
    task = dataclasses.replace(TASKS["digits_mlp"], steps=60)
    found = {method: halves.train(task, "sgd", method, 8000) for method in halves.METHODS}
    assert found["alignment"]["chosen"] is None
    for method in halves.METHODS[1:]:
        assert sum(found[method]["chosen"].values()) == 6  # one for each episode of ten steps
    assert found["noise_bandit"] == halves.train(task, "sgd", "noise_bandit", 8000)
    assert len({row["test"] for row in found.values()}) > 1
    assert all(row["test"] > 30 for row in found.values())


def test_differences_are_paired_by_seed(tmp_path, monkeypatch, capsys):
    gains = {"alignment": 0.0, "noise_bandit": 0.5, "noise_uniform": -1.0}

    def trained(task, optimizer, method, seed):
        score = 90 + 3 * (seed % 5) + gains[method] * (1 + 0.1 * (seed % 2))
        return {"test": score, "chosen": None if method == "alignment" else {"0.0": 30, "1.0": 10}}

    monkeypatch.setattr(halves, "train", trained)
    path = tmp_path / "rows.jsonl"
    monkeypatch.setattr("sys.argv", ["-", "--seeds", "4", "--output", str(path)])
    for _ in range(2):
        assert halves.main() == 0
    assert len(path.read_text().splitlines()) == 4 * 2 * 3
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    for row in found.values():
        mean, low, high = row["noise_bandit"]["difference"]
        assert mean == pytest.approx(0.525) and 0.4 < low < mean < high < 0.6
        assert row["noise_uniform"]["difference"][0] == pytest.approx(-1.05)
        assert row["noise_uniform"]["chosen"] == {"0.0": 120, "1.0": 40}


def test_the_page_says_what_the_rows_say():
    folder = import_graph.ROOT / "benchmarks/results/episodes_ends_rivals"
    rows = [json.loads(line) for line in (folder / "halves.jsonl").read_text().splitlines()]
    text = (folder / "README.md").read_text()
    for optimizer, title in (("adamw", "AdamW"), ("sgd", "SGD")):
        found = halves.summary(rows)[optimizer]
        cells = [f"{found['alignment']['mean']:.1f}"]
        for method in halves.METHODS[1:]:
            mean, low, high = found[method]["difference"]
            assert found[method]["seeds"] == 20 and low < 0 < high
            cells.append(f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]")
        assert f"| {title} | " + " | ".join(cells) + " |" in text
        pulls = found["noise_bandit"]["chosen"].values()
        assert ", ".join(map(str, pulls)) in text and sum(pulls) == 800
