"""The benchmark of growing priors: what a past is made of, and that its ratios are paired."""

import pytest

from benchmarks.warm_starts import cells, growth
from hypernudge import Informed
from hypernudge.warmstart.measurement import prior as priors

STUDIES = priors.load(priors.TABLES).tasks


def test_a_longer_past_holds_the_shorter_one_and_none_holds_the_own_family():
    names = {}
    for task, others in (("letter_mlp", 12), ("digits_mlp", 9)):
        for draw in range(4):
            past = growth.pasts(STUDIES, task, draw)
            names[task, draw] = {label: [study.task for study in found] for label, found in past.items()}
            one, three, ten, everything = (names[task, draw][label] for label in ("1", "3", "10", "all"))
            assert len(one) == 1 and len(three) == 3 and len(ten) == min(10, others)
            assert one == three[:1] and three == ten[:3] and set(ten) <= set(everything)
            assert len(everything) == others and not any(name.startswith(task[:6]) for name in everything)
    assert len({tuple(names["letter_mlp", draw]["3"]) for draw in range(4)}) > 1


def test_a_past_is_what_the_warm_start_goes_by(tmp_path):
    past = growth.pasts(STUDIES, "letter_mlp", 0)["3"]
    policy = growth._policy("3", past, tmp_path / "3.json")
    assert isinstance(policy, Informed)
    assert priors.load(policy.prior).prior().tasks == tuple(study.task for study in past)
    by_ridge = growth._policy("3", past, tmp_path / "ridge.json", priors.RIDGE)
    assert [priors.load(of.prior).pooling for of in (policy, by_ridge)] == ["hierarchical", "ridge"]
    assert growth._policy("none", [], tmp_path / "x").prior == "none"
    assert growth._policy("shipped", [], tmp_path / "x") == Informed(prior="tables")


def test_cells_are_paired_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "UNITS", 12)
    monkeypatch.setattr(cells, "_KEPT", {})
    monkeypatch.setattr(growth, "EACH", 2)
    kept = cells.Kept(tmp_path / "growth.jsonl")
    for draw in range(2):
        growth.measured(kept, STUDIES, "digits_mlp", draw)
    assert [row["past"] for row in kept.rows[:7]] == ["alone", "none", "1", "3", "10", "all", "shipped"]
    ten, everything = kept.find(past="10"), kept.find(past="all")
    assert [row["time"] for row in ten] == [row["time"] for row in everything], "digits has nine others"
    assert kept.find(past="3")[1]["first_seed"] == growth.FIRST + 2
    monkeypatch.setattr(growth, "run", None)  # what is kept is not run again
    growth.measured(kept, STUDIES, "digits_mlp", 0)
    table = growth.table(kept).splitlines()
    assert len(table) == 9 and table[2].startswith("| alone |  | ")


def test_the_error_is_over_draws():
    def rows(factor, spread):
        return [
            {"task": task, "first_seed": draw, "time": [factor * (1 + spread * draw)] * 4}
            for task in ("a", "b")
            for draw in range(4)
        ]

    base = rows(2.0, 0.0)
    assert growth.ratio(rows(1.0, 0.0), base) == "0.50 [0.50, 0.50]"
    assert growth.ratio(list(reversed(rows(1.0, 0.0))), base) == "0.50 [0.50, 0.50]"
    mean, low, high = (float(part.strip("[],")) for part in growth.ratio(rows(1.0, 1.0), base).split())
    assert low < mean < high and mean == pytest.approx((1 * 2 * 3 * 4) ** 0.25 / 2, abs=0.01)
