"""A plan that is run seed by seed: whole pairs first, what is there stays, none is begun after its time."""

import csv
import re

import pytest

from benchmarks.confirmation import __main__ as pooled
from benchmarks.confirmation import by_seed, leaders, long_form
from benchmarks.sealed import sealed
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.results.jsonio import write_json
from tests.harness.tools import ROOT


@pytest.fixture
def planned(tmp_path):
    common = {"task": "digits_mlp", "space": "mid", "budget": {"units": 6}, "target": 0.05}
    common |= {
        "workers": 2,
        "training": {"batch_size": 32, "steps_per_unit": 2},
        "seeds": {"first": 3, "count": 6},
    }
    variations = {"plain": {}, "fixed": {"warm_start": "fixed_band"}, "random": {"scheduler": "random"}}
    plan = resolve_plan({"name": "three", "common": common, "variations": variations}, ROOT / "config")
    write_json(tmp_path / "plan.json", plan.as_dict())
    return tmp_path


def there(folder):
    return [(variation.run_id, seed) for variation, seed, _ in sealed(folder)]


def test_the_first_seeds_of_some_variations_and_then_what_is_missing(planned, monkeypatch):
    assert by_seed.run(planned, only=["plain", "fixed"], seeds=2) == 2
    assert there(planned) == [("plain", 3), ("plain", 4), ("fixed", 3), ("fixed", 4)]
    asked = []
    monkeypatch.setattr(
        by_seed, "_in_a_child", lambda variation, seed, folder: asked.append((variation.run_id, seed))
    )
    by_seed.run(planned, seeds=3)
    assert asked == [("random", 3), ("random", 4), ("plain", 5), ("fixed", 5), ("random", 5)]


def test_no_seed_is_begun_that_would_end_later(planned, monkeypatch):
    clock = iter(range(0, 6000, 60))  # a minute passes with every look
    monkeypatch.setattr(by_seed.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(by_seed, "_in_a_child", lambda variation, seed, folder: None)
    assert (
        by_seed.run(planned, minutes=6.5) == 2
    )  # looked at after 1, 3 and 5 minutes, of which a seed takes 2.5


def test_a_variation_that_is_not_planned_is_refused(planned):
    with pytest.raises(InvalidArgumentError, match="other"):
        by_seed.run(planned, only=["other"])


def test_a_cell_without_a_record_is_an_error(planned, monkeypatch):
    monkeypatch.setattr(by_seed, "_cell", lambda variation, seed, folder: None)
    with pytest.raises(RuntimeError, match="plain, seed 3: no record"):
        by_seed.run(planned, seeds=1)


def test_what_is_there_can_be_compared_over_another_baseline(planned, monkeypatch, capsys):
    by_seed.run(planned, only=["plain", "fixed"], seeds=1)
    assert [(cell["run_id"], cell["seed"], cell["reached"]) for cell in pooled.cells(planned)] == [
        ("fixed", 3, True),
        ("plain", 3, True),
    ]
    monkeypatch.setattr("sys.argv", ["long_form", str(planned), "--output", str(planned / "long.csv")])
    assert long_form.main() == 0
    said = capsys.readouterr().out
    assert re.search(r"--budget 3\.0 --target digits_mlp=0\.05$", said.strip())
    with (planned / "long.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for cell in leaders.cells(planned):
        mine = [row for row in rows if row["variation"] == cell.method and float(row["score"]) >= 0.05]
        assert min(float(row["time"]) for row in mine) == pytest.approx(cell.time)
        assert cell.time < 3  # it is reached, so that something is compared
