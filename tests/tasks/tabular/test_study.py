"""`config/studies/xgboost.yaml`, and Optuna on trees, on tables of a few rows in the places of real ones."""

import itertools
import sys

import numpy as np
import pytest

pytest.importorskip("xgboost", reason="extra tabular")
pytest.importorskip("pandas", reason="extra tabular")

from benchmarks.warm_starts import clocks
from hypernudge.harness.cells.build import prepare
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.config import load_yaml
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.results.flags import by_finite_differences
from tests.harness.tools import ROOT

STUDY = ROOT / "config" / "studies" / "xgboost.yaml"
MEASURING = {"literal", "random_step", "placebo"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Write a table of numbers and the classes 4 to 12 for every file that the suite names."""
    root, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    for path in sorted((ROOT / "config" / "task" / "uci").glob("*.yaml")):
        dataset = load_yaml(path)["dataset"]
        header, count = dataset.get("header", True), 120
        columns = [*dataset.get("drop", []), *dataset.get("categories", []), "a", "b"]
        label = dataset.get("label", -1)
        columns += [label if isinstance(label, str) else "label"]
        x = rng.integers(0, 4, (count, len(columns))).astype(float)
        x[:, -1] = 4 * x[:, -2] % 9 + 4
        tables = [name for key in ("table", "test_table") for name in np.hstack([dataset.get(key, [])])]
        for name in tables:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(
                root / name,
                x,
                fmt="%g",
                delimiter=",",
                header=",".join(columns) if header else "",
                comments="",
            )
        if "test_mask" in dataset:
            mask = np.arange(count)[:, None] % 10 == np.arange(10)
            np.savetxt(root / dataset["test_mask"], mask, fmt="%d", delimiter=",")
    letter = root / "tabular_cls" / "letter.csv.gz"
    header, *rows = np.loadtxt(letter, dtype=str)
    np.savetxt(letter, [header, *itertools.islice(itertools.cycle(rows), 16_060)], fmt="%s")
    return root


def plan_of(*overrides):
    return load_plan(STUDY, ["common.target=0.1", *overrides])


def test_the_study_is_twelve_tables_three_schedulers_and_paired_seeds(place, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(place))
    settings = {}
    for variation in plan_of().variations:
        assert len(variation.seeds) == 20 and variation.spec["space"] == "xgboost"
        labels = variation.labels
        settings.setdefault((labels["task"], labels["scheduler"]), []).append(labels["warm_start"])
    assert len(settings) == 36 and len({task for task, _ in settings}) == 12
    for labels in settings.values():
        assert labels[0] == "none" and {"density", *MEASURING} < set(labels)


def test_the_second_study_has_the_settings_of_the_first_and_seeds_of_its_own(place, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(place))
    again = load_plan(STUDY.with_stem("xgboost_per_cost"), ["common.target=0.1"])
    first = {v.run_id: v for v in plan_of().variations}
    assert len(again.variations) == 72
    for variation in again.variations:
        before = first[variation.run_id]
        assert variation.spec == {**before.spec, "seeds": list(variation.seeds)}
        assert len(variation.seeds) == 20 and not set(variation.seeds) & set(before.seeds)


def test_one_cell_of_every_warm_start_and_of_every_table(place, monkeypatch, tmp_path):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(place))
    plan = plan_of("++common.training={rows: 100, rounds_per_unit: 1}", "common.budget.units=12")
    chosen, seen = [], set()
    for variation in plan.variations:
        labels = variation.labels
        new = {labels["task"], (labels["scheduler"], labels["warm_start"])} - seen
        if new:
            seen |= new
            chosen.append(variation)
    for variation in chosen:
        if "letter" in variation.run_id:
            variation = variation.altered(**{**variation.spec, "training": {"rounds_per_unit": 1}})
            assert len(prepare(variation.spec).task.table.y["test"]) == 60
            continue
        record = run_cell(variation, 0, tmp_path / variation.run_id)
        assert record["status"] == "completed" and record["errors"] == [], variation.run_id
        flags = by_finite_differences(record)
        measured = variation.labels["warm_start"] in MEASURING
        assert all(flags) if measured else not any(flags)
        assert (record["bill"]["warm_start_flops"] > 0) == measured


def test_optuna_on_trees_with_winners_of_the_past_enqueued(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="extra optuna")
    from benchmarks.warm_starts.tools_effect import __main__ as command
    from benchmarks.warm_starts.tools_effect import trees
    from hypernudge.cli import main
    from tests.tasks.tabular.test_xgboost import experiment

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = experiment(
        tmp_path, {"name": "xgboost", "dataset": "breast_cancer"}, seeds={"first": 0, "count": 2}
    )
    assert main(["run", str(path), "--results-dir", str(tmp_path / "past"), "--no-figures"]) == 0
    (winner,) = trees.winners(tmp_path / "past", trees.task("sklearn/wine", None))
    trees.task("sklearn/wine", None).space.check(winner)
    assert (
        trees.winners(tmp_path / "past", trees.task("sklearn/breast_cancer", None)) == ()
    )  # its own past must not help it

    known = trees.winners_of_prior("xgboost", trees.task("sklearn/wine", None))
    assert len(known) == 20, "of 21 tables, but for the table itself"
    for config in known:
        trees.task("sklearn/wine", None).space.check(config)

    for name, value in {"STEPS": 2, "TRIALS": 3}.items():
        monkeypatch.setattr(trees, name, value)
    monkeypatch.setattr(command, "PILOTS", 2)
    options = ["--task", "xgboost", "--bins", "32", "--table", "sklearn/wine"]
    options += ["--past", str(tmp_path / "past")]
    options += ["--output", str(tmp_path / "out"), "--seeds", "2"]
    options += ["--methods", "optuna_tpe", "optuna_tpe_enqueued"]
    monkeypatch.setattr(sys, "argv", ["tools_effect", *options])
    capsys.readouterr()
    assert command.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("wine_xgboost, 2 paired seeds") and "budget 18 rounds" in said
    assert "| optuna_tpe | optuna_tpe_enqueued |" in said
    rows = (tmp_path / "out" / "runs.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows[1:]} == {"optuna_tpe", "optuna_tpe_enqueued"}

    options[4:8] = ["--table", "sklearn/wine", "sklearn/diabetes"]
    monkeypatch.setattr(sys, "argv", ["tools_effect", *options, "optuna_tpe_informed"])
    assert command.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("wine_xgboost") and "diabetes_xgboost, 2 paired seeds" in said
    pooled = (tmp_path / "out" / "pooled.md").read_text()
    assert said.endswith(pooled) and pooled.startswith("2 tasks.")
    for pair in ("informed | optuna_tpe ", "enqueued | optuna_tpe ", "informed | optuna_tpe_enqueued "):
        assert f"| optuna_tpe_{pair}|" in pooled


def test_times_to_target_by_what_is_counted():
    curve = {"time": [1.0, 2.0, 4.0], "trial": [0, 1, 0], "unit": [1, 1, 2], "validation": [0.1, None, 0.9]}
    record = {"curve": curve, "wall": {"curve": {"seconds": [0.1, 0.3, 0.5]}}}
    reached, spent = clocks._spent(record, 0.9)
    assert reached.tolist() == spent.tolist() == [4.0, 3.0, 2.0, 0.5]
    missed = clocks._spent(record, 0.95)
    assert missed[0] is None and missed[1].tolist() == spent.tolist()
    half = reached / 2, spent
    cells = {("t", "asha", "none", 0): missed, ("t", "asha", "informed", 0): half}
    assert clocks.table(cells, ["informed"], "none").splitlines()[-1] == (
        "| informed | asha | 0.50 | 0.50 | 0.50 | 0.50 |"
    )
