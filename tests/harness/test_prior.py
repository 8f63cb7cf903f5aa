"""From the records of a study to a prior, and to the reasons of every nudge."""

import json

import numpy as np
import pytest
import yaml

from hypernudge import cli
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.inspection.explain import _move, _whose, sentence
from hypernudge.harness.inspection.prior import UNITS, build_prior, scores_at, targets
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.registry import build
from hypernudge.results.records import cell_path
from hypernudge.warmstart.measurement.features import KNOTS, NAMES, SIZE, hats
from hypernudge.warmstart.measurement.prior import HIERARCHICAL, RIDGE, load


def ran(folder, variations, **more):
    """Run the variations of a small study."""
    common = {
        "task": {"name": "breast_cancer_mlp"},
        "training": {"batch_size": 64, "steps_per_unit": 4},
        "scheduler": {"name": "random", "max_units": 3, "max_trials": 12},
        "budget": {"units": 60},
        "target": 0.9,
        "seeds": [0],
    }
    (folder / "study.yaml").write_text(yaml.safe_dump({"common": common, "variations": variations, **more}))
    plan = load_plan(folder / "study.yaml")
    (folder / "plan.json").write_text(json.dumps(plan.as_dict()))
    for variation in plan.variations:
        run_cell(variation, 0, folder / variation.run_id)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two variations: one that only probes, one under ASHA with a warm start that acts."""
    variations = {
        "probed": {"warm_start": "placebo"},
        "band": {
            "warm_start": "probe_band",
            "scheduler": {"name": "asha", "max_units": 9, "max_trials": 14},
            "task": {"name": "breast_cancer_mlp", "label": "other"},
        },
    }
    return ran(tmp_path_factory.mktemp("prior"), variations)


def test_a_prior_is_built_written_and_used(results, tmp_path, capsys):
    path = tmp_path / "prior.json"
    assert cli.main(["prior", "build", str(results), "--output", str(path)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["task"]: row["configurations"] for row in rows} == {"breast_cancer_mlp": 12, "other": 14}
    assert all(row["family"] == "breast_cancer" and row["optimizer"] == "SGD" for row in rows)
    policy = build("warm_start", {"name": "informed", "prior": str(path), "include_own_family": True})
    assert policy.include_own_family
    assert load(str(path)).pooling == HIERARCHICAL
    ridge = tmp_path / "ridge.json"
    by_ridge = ["prior", "build", str(results), "--add-to", "shipped", "--replace"]
    assert cli.main([*by_ridge, "--pooling", "ridge", "--output", str(ridge)]) == 0
    assert load(str(ridge)).pooling == RIDGE
    space = ["--features", "space", "--output", str(tmp_path / "space.json")]
    assert cli.main(["prior", "build", str(results), "--pooling", "ridge", *space]) == 2
    assert "--pooling: is for priors of learning rates" in capsys.readouterr().err
    assert cli.main(["prior", "build", str(results), "--output", str(path)]) == 2  # it is there already


def test_what_a_prior_of_rates_does_not_know_is_said(results, tmp_path, capsys, monkeypatch):
    assert cli.main(["prior", "build", str(results), "--output", str(tmp_path / "whole.json")]) == 0
    assert "not learned" not in capsys.readouterr().err
    monkeypatch.setattr("hypernudge.harness.inspection.prior.SCORED", ("lr", "weight_decay", "augmentation"))
    assert cli.main(["prior", "build", str(results), "--output", str(tmp_path / "part.json")]) == 0
    assert (
        "not learned: label_smoothing, momentum; a prior of learning rates knows nothing of them, "
        "--features space does" in capsys.readouterr().err
    )


def test_new_tasks_join_a_prior_and_replace_their_namesakes_where_they_may(results, tmp_path, capsys):
    path = tmp_path / "prior.json"
    first = build_prior([results])
    first.dump(path)
    with pytest.raises(
        InvalidArgumentError, match=r"--add-to: .* both have breast_cancer_mlp, other, but got"
    ):
        build_prior([results], add_to=str(path))
    again = ["prior", "build", str(results), "--add-to", str(path), "--output", str(tmp_path / "new.json")]
    assert cli.main(again) == 2 and not (tmp_path / "new.json").exists()
    said = capsys.readouterr().err
    assert "pass --replace" in said and said.count("\n") == 1
    assert cli.main([*again, "--replace"]) == 0
    joined = build_prior([results], add_to=str(path), replace_tasks=True)
    assert [task.task for task in joined.tasks] == [task.task for task in first.tasks]
    assert np.allclose(joined.tasks[0].a, first.tasks[0].a, rtol=1e-4)
    assert first.tasks[0].a.shape == (SIZE, SIZE)


def test_a_study_counts_once(results):
    with pytest.raises(InvalidArgumentError, match="directories: must each be given once"):
        build_prior([results, results / ".." / results.name])


def test_one_task_under_two_optimizers_is_two_rows(results, tmp_path):
    task = {"name": "breast_cancer_mlp", "optimizer": "adamw"}
    adamw = ran(tmp_path, {"probed": {"warm_start": "placebo", "task": task}})
    both = build_prior([results, adamw])
    names = [("other", "SGD"), ("breast_cancer_mlp", "SGD"), ("breast_cancer_mlp", "AdamW")]
    assert [(row.task, row.optimizer) for row in both.tasks] == names
    both.dump(tmp_path / "both.json")
    again = build_prior([adamw], add_to=str(tmp_path / "both.json"), replace_tasks=True)
    assert [(row.task, row.optimizer) for row in again.tasks] == names
    alone = build_prior([adamw]).prior(optimizer="AdamW")
    assert np.array_equal(both.prior(optimizer="AdamW").mean, alone.mean)
    assert both.prior(optimizer="SGD").tasks == ("other", "breast_cancer_mlp")


def test_targets_rank_the_dropped_below_those_that_went_on():
    curve = {"trial": [0, 1, 2, 0], "unit": [1, 1, 1, 3], "validation": [0.5, 0.9, None, 0.6]}
    y = targets(scores_at(curve, [0, 1, 2], (1, 3, 9)))
    assert y[0] > y[1] > y[2]  # the first alone went on, the second was best before
    assert targets(scores_at(curve, [0, 1, 2], (9,))).tolist() == [0.0, 0.0, 0.0]


def test_studies_of_a_task_are_ranked_together_where_that_is_asked_for(tmp_path, capsys):
    variations = {"all": {"warm_start": "placebo"}, "near": {"warm_start": "probe_band"}}
    folder = ran(tmp_path, variations, evidence={"baseline": "placebo"})
    records = [json.loads(cell_path(folder / name, 0).read_text()) for name in ("all", "near")]
    scores = [scores_at(r["curve"], [trial["trial"] for trial in r["trials"]], UNITS) for r in records]
    momenta = np.array([trial["nudged"]["momentum"] for r in records for trial in r["trials"]])
    apart, together = (build_prior([folder], ranks=ranks).tasks[0] for ranks in ("study", "task"))
    assert apart.configurations == together.configurations == 24
    assert np.array_equal(apart.a, together.a)
    at = [index for index, name in enumerate(NAMES) if name.startswith("momentum")]
    for row, y in (
        (apart, np.concatenate([targets(part) for part in scores])),
        (together, targets(np.concatenate(scores, axis=1))),
    ):
        assert np.allclose(row.b[at], hats(momenta, KNOTS["momentum"]).T @ y, atol=1e-12)
    assert not np.allclose(apart.b[at], together.b[at])
    path = tmp_path / "together.json"
    assert cli.main(["prior", "build", str(folder), "--ranks", "task", "--output", str(path)]) == 0
    assert load(str(path)).provenance["ranks"] == "task"
    assert np.allclose(load(str(path)).tasks[0].b, together.b, rtol=1e-4, atol=1e-12)
    beside = build_prior([folder], add_to=str(path), ranks="task", suffix=", near")
    assert [row.task for row in beside.tasks] == ["breast_cancer_mlp", "breast_cancer_mlp, near"]
    with pytest.raises(InvalidArgumentError, match=r"ranks: must be one of .*, but got 'cell'"):
        build_prior([folder], ranks="cell")


def test_every_decision_is_explained(results, capsys):
    assert cli.main(["explain", str(results), "--run-id", "band", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["trial"] for row in rows] == list(range(14))
    moved = [row for row in rows if row["changed"]]
    assert moved and all(set(row["moved"]) == {"lr"} and "redrawn" in row["reason"] for row in moved)
    whole = {row["trial"] for row in rows if row["units"] == 9}  # to the scheduler they are paused
    assert 0 < len(whole) < 14 and whole == {row["trial"] for row in rows if row["status"] == "finished"}
    number = str(moved[0]["trial"])
    assert cli.main(["explain", str(results), "--trial", number]) == 0
    shown = capsys.readouterr().out
    assert (
        f"trial {number}: sampled z = " in shown
        and " at started z = " in shown
        and "lr " in shown
        and "never acts" in shown
    )
    assert shown.splitlines()[-1].startswith("z: decades from")
    for row in rows:  # whose z it is can be checked by the rates
        assert row["z_started"] == pytest.approx(row["z"] + row["rate"][1] - row["rate"][0])
    assert cli.main(["explain", str(results), "--trial", "99"]) == 2
    error = capsys.readouterr().err
    assert "holds this trial" in error and "--trial 99" in error and "None" not in error


def test_a_sentence_tells_values_apart_and_always_gives_a_reason():
    row = {"run_id": "a", "seed": 0, "trial": 1, "reason": "", "flagged": False, "moved": {}, "units": 1}
    row |= {"status": "paused", "z": None, "z_started": None}
    assert sentence(row) == "a seed 0 trial 1: left as sampled; then 1 unit, paused"
    moved = {"lr": {"sampled": 0.012345678, "nudged": 0.012345912}, "width": {"sampled": 8, "nudged": 16}}
    shown = sentence({**row, "reason": "a step", "moved": moved, "units": 3})
    assert "a step; lr 0.01234568 -> 0.01234591, width 8 -> 16; then 3 units" in shown


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (0.8297698, 0.82977002, "0.82976980 -> 0.82977002"),  # as many digits on both sides
        (0.143, 1.0, "0.143 -> 1.00"),
        (0.02246, 0.022458, "0.0224600 -> 0.0224580"),
        (5.301249250174e-05, 5.301249250172e-05, "5.3012492501740e-05 -> 5.3012492501720e-05"),
        (0.0, 1e-9, "0.00 -> 1.00e-09"),
        (123456.0, 123457.0, "123456.0 -> 123457.0"),
    ],
)
def test_digits_show_how_much_has_changed(before, after, shown):
    assert _move(before, after) == shown


@pytest.mark.parametrize(
    ("reason", "z", "started", "shown"),
    [
        (
            "z = -2.30 is below -1.25: redrawn at z = -0.77",
            -2.3,
            -0.77,
            "sampled z = -2.30 is below -1.25: redrawn at started z = -0.77",
        ),
        (
            "z = -1.42 is below -1.25: redrawn at z = 0.14",
            -1.42,
            0.02,
            "sampled z = -1.42 is below -1.25: redrawn at drawn z = 0.14 (started z = 0.02)",
        ),
        (
            "prior: best of 8 draws, at z = 0.14",
            -1,
            0.14,
            "prior: best of 8 draws, at started z = 0.14 (sampled z = -1.00)",
        ),
        ("never acts", 0.5, None, "never acts (sampled z = 0.50)"),
        ("a step", None, None, "a step"),
    ],
)
def test_every_z_says_whose_it_is(reason, z, started, shown):
    assert _whose(reason, {"z": z, "z_started": started, "moved": {"lr": {}}}) == shown
