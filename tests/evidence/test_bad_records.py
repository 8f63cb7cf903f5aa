"""Bad records: named, kept aside, and never half used."""

import json
import shutil

import pytest

from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.evaluate import evaluate
from tests.evidence.synthetic import edit_record, write_study


def cell_file(root, method="literal", seed=3):
    return root / f"digits_mlp-asha-{method}" / "cells" / f"seed-{seed:04d}.json"


def forget(path):
    path.unlink()


def copy_cell(path):
    shutil.copy(path, path.with_name("seed-0003 (1).json"))


def under_another_seed(path):
    shutil.copy(path, path.with_name("seed-0004.json"))


def rename_run(path):
    shutil.copytree(path.parents[1], path.parents[2] / "digits_mlp-asha-new")


def no_score(path):
    edit_record(path, lambda record: record["curve"]["validation"].__setitem__(0, None))


def backwards(path):
    edit_record(path, lambda record: record["curve"]["time"].__setitem__(3, 1e-9))


def elsewhere(path):
    for seed, kind in ((3, "A"), (4, "B")):
        target = path.with_name(f"seed-{seed:04d}.json")
        edit_record(target, lambda record, kind=kind: record["wall"].update(hardware=kind))


def out_of_reach(path):
    root = path.parents[2]
    plan = json.loads((root / "plan.json").read_text())
    for entry in plan["variations"].values():
        entry["target"] = 0.9999
    (root / "plan.json").write_text(json.dumps(plan))


def one_seed(path):
    root = path.parents[2]
    plan = json.loads((root / "plan.json").read_text())
    for entry in plan["variations"].values():
        entry["seeds"] = [3]
    (root / "plan.json").write_text(json.dumps(plan))


RECORDS = {
    "missing pair": (forget, "cells digits_mlp-asha-literal", "no record of seed 3"),
    "duplicated cell": (copy_cell, "digits_mlp-asha-literal/cells/seed-0003 (1).json", "not in the plan"),
    "cell under another seed": (
        under_another_seed,
        "digits_mlp-asha-literal/cells/seed-0004.json",
        "cell.seed is 3, planned was 4",
    ),
    "unknown variation": (rename_run, "digits_mlp-asha-new/", "this variation is not in the plan"),
    "time backwards": (
        backwards,
        "digits_mlp-asha-literal/cells/seed-0003.json",
        "backwards at curve entry 3",
    ),
    "truncated": (
        lambda path: path.write_text(path.read_text()[:300]),
        "digits_mlp-asha-literal/cells/seed-0003.json",
        "unreadable: ",
    ),
    "corrupted": (
        lambda path: path.write_text(path.read_text().replace("0.", "1.", 1)),
        "digits_mlp-asha-literal/cells/seed-0003.json",
        "digest",
    ),
    "mixed hardware": (elsewhere, "digits_mlp / asha", "2 kinds of hardware: A; B"),
    "never reached": (out_of_reach, "digits_mlp / asha", "no run reached the target 0.9999"),
    "one seed": (one_seed, "digits_mlp / asha", "1 seed:"),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("records") / "study"
    return write_study(root, tasks=("digits_mlp",), methods=("none", "literal"), seeds=range(6), target=0.8)


def test_a_target_that_runs_begin_with_is_named(tmp_path):
    root = write_study(tmp_path, tasks=("digits_mlp",), methods=("none",), seeds=range(6), target=0.01)
    (found,) = (p for p in load_study(root).problems if "first score" in p.rule)
    assert (found.where, found.rule) == (
        "digits_mlp / asha",
        "5 of 6 runs reach the target 0.01 with their first score",
    )


@pytest.mark.parametrize("case", RECORDS)
def test_bad_records_are_named_and_kept_aside(records, tmp_path, case):
    damage, where, rule = RECORDS[case]
    root = tmp_path / "study"
    shutil.copytree(records, root)
    damage(cell_file(root))
    problems = evaluate(root, lambda event: None, figures=False).problems
    assert any(p["where"] == where and rule in p["rule"] for p in problems), problems


def test_a_score_that_is_no_number_never_becomes_the_best(records, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(records, root)
    no_score(cell_file(root))
    evaluation = evaluate(root, lambda event: None, figures=False)
    assert evaluation.missing == 0
    assert evaluation.problems == ()


def test_seconds_are_compared_between_like_machines_only(records, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(records, root)
    for method, seconds in (("none", 10.0), ("literal", 12.0)):
        for seed in range(6):
            wall = {"total_seconds": seconds, "hardware": "A" if seed < 4 or method == "none" else "B"}
            edit_record(cell_file(root, method, seed), lambda record, wall=wall: record["wall"].update(wall))
    (comparison,) = evaluate(root, lambda event: None, figures=False).comparisons
    assert comparison["wall_seconds"]["pairs_on_like_hardware"] == 4
    assert comparison["wall_seconds"]["ratio"]["estimate"] == pytest.approx(1.2)
