"""The studies of `config/studies`: every variation can be built, and trains a cell in a quick form."""

import math

import pytest

from hypernudge.harness.cells.build import prepare
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import load_plan
from tests.harness.tools import ROOT

# Files or an extra; see tests/tasks/tabular, test_transfer.py and tests/tasks/games.
NEED_FILES = {"xgboost", "xgboost_per_cost", "transfer", "games", "games_cartpole", "games_pong"}
STUDIES = sorted(p for p in (ROOT / "config" / "studies").glob("*.yaml") if p.stem not in NEED_FILES)
QUICK = [
    "common.seeds={first: 0, count: 6}",
    "++common.training={batch_size: 64, steps_per_unit: 3}",
    "++common.target=0.5",
]


def test_every_study_that_was_promised_is_there():
    assert {path.stem for path in STUDIES} >= {
        *("eta_h", "batch_size", "label_noise", "space_width", "dimension", "multi_step", "gradient_mask"),
        *("frozen_discrete", "workers", "ohgw_aees"),
    }
    assert all((ROOT / "config" / "studies" / f"{name}.yaml").is_file() for name in NEED_FILES)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_is_a_claim_with_a_baseline_and_thirty_seeds(path):
    plan = load_plan(path)
    assert plan.name == path.stem
    settings = {}
    for variation in plan.variations:
        assert len(variation.seeds) == 30
        labels = variation.labels
        settings.setdefault((labels["task"], labels["scheduler"]), []).append(labels["warm_start"])
    assert all("none" in labels and len(labels) >= 3 for labels in settings.values())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_one_cell_of_every_variation(path, tmp_path):
    for variation in load_plan(path, QUICK).variations:
        small = {**variation.spec, "budget": {"units": min(8.0, variation.spec["budget"]["units"])}}
        if small["workers"] > 8:
            small["budget"] = {"units": 64.0}
        record = run_cell(variation.altered(**small), 0, tmp_path / variation.run_id)
        assert record["status"] == "completed", record["errors"]
        assert record["errors"] == []
        scores = [score for score in record["curve"]["validation"] if score is not None]
        # In so small a budget a costly warm start may leave nothing to train with.
        assert scores or record["bill"]["warm_start_flops"] > 0
        assert all(0 <= score <= 1 for score in scores)
        warm = record["cell"]["warm_start"]
        moved = {
            name
            for trial in record["trials"]
            for name, value in trial["sampled"].items()
            if trial["nudged"][name] != value
        }
        if warm.startswith("only_"):
            spec = variation.spec["warm_start"]
            assert moved and moved <= set(spec["only"])
        if "objective" in record["trials"][0]["sampled"]:
            assert moved.isdisjoint({"objective", "focal_gamma"})


def test_scale_is_simulated():
    """Sixty-four workers share what one has: the clock says so, the compute does not."""
    plan = load_plan(ROOT / "config/studies/workers.yaml", QUICK)
    seconds = {}
    for variation in plan.variations:
        declared = prepare(variation.spec).declared
        seconds[declared["workers"]] = declared["budget_seconds"] * declared["workers"]
    per_unit = {workers: total / {1: 150, 8: 300, 64: 1200}[workers] for workers, total in seconds.items()}
    assert set(per_unit) == {1, 8, 64}
    assert all(math.isclose(value, per_unit[1]) for value in per_unit.values())
