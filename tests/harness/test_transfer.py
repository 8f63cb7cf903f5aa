"""`config/studies/transfer.yaml`: one eta_h everywhere, each setting with its control, cells that train."""

import math

import pytest

from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.tasks.data import tables
from tests.harness.tools import ROOT

STUDY = ROOT / "config" / "studies" / "transfer.yaml"
WORDS = ["the", "lobster", "is", "blue", "red", "new", "unknown", "."]


@pytest.fixture
def plan(monkeypatch, tmp_path):
    """The study with a target that every metric allows; its files need not be there to read it."""
    monkeypatch.setattr(tables, "find_file", lambda name, argument: tmp_path / name)
    return load_plan(STUDY, ["++common.target=0"])


def test_the_step_is_one_on_images_text_and_tables_and_has_its_control(plan):
    settings, steps = {}, set()
    for variation in plan.variations:
        assert len(variation.seeds) == 30 and variation.spec["budget"] == {"units": 150}
        settings.setdefault(variation.labels["task"], []).append(variation.labels["warm_start"])
        steps |= {variation.spec["warm_start"].get("eta_h")}
    assert steps == {None, 1e-3}
    assert all(labels == ["none", "literal", "random_step"] for labels in settings.values())
    kinds = {variation.spec["task"]["name"] for variation in plan.variations}
    assert {"digits_cnn", "language_model", "supervised", "xgboost", "ppo"} <= kinds


@pytest.mark.parametrize("policy", ["literal", "random_step"])
@pytest.mark.parametrize("task", ["breast_cancer_trees", "breast_cancer_mlp", "wikitext2_lm", "cartpole"])
def test_a_cell_is_measured_and_stepped(plan, task, policy, tmp_path, monkeypatch):
    variation = next(v for v in plan.variations if v.run_id == f"{task}-{policy}")
    spec, training = dict(variation.spec), dict(variation.spec["training"])
    if task.endswith("trees"):
        pytest.importorskip("xgboost", reason="extra tabular")
    elif task == "cartpole":
        pytest.importorskip("stable_baselines3", reason="extra rl")
        training |= {"length": 16, "unit_steps": 128, "episodes": 2}
    elif task == "wikitext2_lm":
        folder = tmp_path / "wikitext2"
        folder.mkdir()
        lines = [" " + " ".join(WORDS[i % (3 + n)] for i in range(12)) + " \n" for n in range(5)] * 40
        for part in ("train", "valid", "test"):
            (folder / f"wiki.{part}.tokens").write_text("".join(lines))
        monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path))
        monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))
        dataset = {"name": "wikitext2", "tokens": "word", "train_on": "validation"}
        spec["task"] = {**spec["task"], "dataset": dataset, "length": 16}
        training |= {"steps_per_unit": 2}
    else:
        training |= {"steps_per_unit": 3}
    small = {**spec, "training": training, "budget": {"units": 24.0}}
    record = run_cell(variation.altered(**small), 0, tmp_path / "out")
    assert record["status"] == "completed" and record["errors"] == []
    assert record["bill"]["warm_start_flops"] > 0
    moved = 0
    for trial in record["trials"]:
        changes = [name for name, value in trial["sampled"].items() if trial["nudged"][name] != value]
        moved += bool(changes)
        if trial["nudge"]["gradient"] is not None:
            assert math.isfinite(trial["nudge"]["gradient_norm"])
        assert trial["nudge"]["flagged"] is task.endswith("trees")  # by finite differences
    assert moved >= len(record["trials"]) / 2
