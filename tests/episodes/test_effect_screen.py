"""Screening a rule on development seeds says what the phases record of the same trainings."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.episodes_effect import blocks, screen
from benchmarks.episodes_effect.tasks import TASKS
from hypernudge.errors import InvalidArgumentError

ASKED = ["--seeds", "300", "302", "--tasks", "digits_mlp", "--optimizers", "sgd", "--noises", "0.4"]


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    """A folder with tuned rates of one cell, whose trainings are short."""
    monkeypatch.setitem(TASKS, "digits_mlp", dataclasses.replace(TASKS["digits_mlp"], steps=60))
    monkeypatch.setitem(blocks.SEEDS, "develop", range(300, 302))
    for method, right in (("plain", 0.03), ("cosine", 0.1)):
        block = blocks.Block("tune", "digits_mlp", "sgd", 0.4, method)
        lines = [{"event": "block", **vars(block)}]
        lines += [{"event": "member", "rate": rate, "validation": -abs(rate - right)} for rate in (0.03, 0.1)]
        (tmp_path / f"{block.name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def printed(capsys, *arguments):
    assert screen.main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def recorded(folder, method, ratios):
    block = blocks.Block("develop", "digits_mlp", "sgd", 0.4, method)
    blocks.run(block, folder, ratios)
    _, members = blocks.read(folder / f"{block.name}.jsonl")
    return np.array([member["test"] for member in members]).reshape(-1, 2)


def test_what_is_screened_is_what_the_phases_train(tuned, capsys):
    given = ["--results", str(tuned), *ASKED, "--ratios", "0.1", "10"]
    row, found = printed(capsys, *given)
    differences = recorded(tuned, "annealed", (0.1, 10.0)) - recorded(tuned, "cosine", (1.0,))
    means = differences.mean(axis=1)
    assert [row["x0.1"], row["x10"]] == pytest.approx(list(means), abs=0.006)
    assert found["mean"]["all"] == found["mean"]["noise 0.4"] == pytest.approx(means.mean(), abs=6e-4)
    assert (found["pairs"], found["trainings"]) == (2, 4)
    assert found["below"] == (means < -0.5).sum() and found["lost"] == (differences < -5).sum()
    assert 15 <= row["start"] <= 30 and row["peak"] > 0
    # Settings reach the rule: a search that ends later, and a peak that nothing draws.
    later, _ = printed(capsys, *given, "--set", "search=[0.5,0.5]")
    assert later["start"] == 30
    undrawn, _ = printed(capsys, *given, "--bound", "weight=0")
    assert undrawn["start"] == row["start"] and undrawn["peak"] != row["peak"]


def test_the_curve_is_a_linear_fall_after_a_warm_up(tuned, capsys):
    factor = screen.linear_factor(60, 0.1)
    seen = [factor(step) for step in range(61)]
    assert seen[:7] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0, 1.0])
    assert np.diff(seen[6:]) == pytest.approx(-1 / 54) and seen[-1] == 0.0
    (row,) = printed(capsys, "--results", str(tuned), *ASKED, "--curve")
    rates = [0.1 * multiple for multiple in screen.MULTIPLES]
    cell = ("digits_mlp", "sgd", 0.4)
    own, _ = screen.trained(cell, (300, 301), rates, screen.scheduled(lambda steps: factor))
    differences = own - recorded(tuned, "cosine", (1.0,))
    for multiple, values in zip(screen.MULTIPLES, differences, strict=True):
        assert row[str(multiple)] == pytest.approx([values.mean(), values.std(ddof=1) / 2**0.5], abs=0.006)
    assert len({tuple(values) for values in differences}) > 1


def test_seeds_of_a_study_are_not_screened_on():
    with pytest.raises(InvalidArgumentError, match="--seeds: must not be those of the phase ends"):
        screen.main(["--seeds", "6059", "6070"])
