"""Descriptions in records: what explain and prior need of a task is data, and no part of the results."""

import json

import numpy as np
import pytest

from hypernudge import cli
from hypernudge.evidence.figures.decisions import group_of
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.cells.described import kinds_of
from hypernudge.harness.cells.group import run_group
from hypernudge.harness.inspection.explain import explanations
from hypernudge.harness.inspection.prior import build_prior
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.registry import registered_only, resolve
from hypernudge.results.digests import description_digest, record_digest
from hypernudge.results.records import cell_path
from hypernudge.trial import NUDGE_KINDS

OWN = "tests.harness.test_described:Own"


def Own():  # noqa: N802 - a task by name, which reading must not build
    from tests.conftest import Bowl

    assert not Own.forbidden, "reading has built somebody's task"
    return Bowl()


Own.forbidden = False


def ran(folder, task, engine="serial", warm_start="random_step", seeds=(0,)):
    common = {
        "task": task,
        "scheduler": {"name": "random", "max_units": 3, "max_trials": 12},
        "budget": {"units": 150},
        "target": -0.05 if task == OWN else 0.9,
        "seeds": list(seeds),
        "engine": engine,
    }
    if task != OWN:
        common["training"] = {"batch_size": 64, "steps_per_unit": 4}
    plan = resolve_plan({"common": common, "variations": {"only": {"warm_start": warm_start}}}, folder)
    folder.mkdir(exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan.as_dict()))
    if engine == "population":
        run_group(plan["only"], list(seeds), folder / "only")
    else:
        for seed in seeds:
            run_cell(plan["only"], seed, folder / "only")
    return folder


def record_of(folder, seed=0):
    return json.loads(cell_path(folder / "only", seed).read_text())


@pytest.fixture
def own(tmp_path):
    """A study of a user's own task; from then on nobody may build that task."""
    folder = ran(tmp_path / "own", OWN)
    Own.forbidden = True
    yield folder
    Own.forbidden = False


def test_a_record_describes_what_only_its_task_knows(own):
    record = record_of(own)
    described = record["description"]
    assert described["of"] == record["digest"] == record_digest(record)
    assert described["digest"] == description_digest(described)
    assert described["family"] == "bowl" and described["optimizer"] == "SGD"
    assert np.isfinite(described["probe"]) and record["wall"]["description_seconds"] > 0
    config = record["trials"][3]["nudged"]
    rate = config["lr"] / (1 - config.get("momentum", 0.0))
    assert described["nudged"][3] == pytest.approx(np.log10(rate), rel=1e-12)
    assert record_digest({**record, "description": None}) == record["digest"]  # outside the results


def test_explain_and_prior_read_an_own_task_without_building_it(own, tmp_path, capsys):
    assert cli.main(["explain", str(own), "--json", "--figures", str(tmp_path / "figures")]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 12 and all(None not in row["rate"] for row in rows)
    (task,) = build_prior([own]).tasks
    assert (task.family, task.configurations) == ("bowl", 12)
    assert task.scale == record_of(own)["description"]["probe"]


def test_without_a_description_an_own_task_is_refused_in_one_line(own, capsys):
    path = cell_path(own / "only", 0)
    record = record_of(own)
    del record["description"]
    path.write_text(json.dumps(record))
    assert cli.main(["explain", str(own), "--json"]) == 0
    shown = capsys.readouterr()
    assert all(json.loads(line)["rate"] is None for line in shown.out.splitlines())
    assert len(shown.err.splitlines()) == 1 and OWN in shown.err and "run the cell again" in shown.err
    assert cli.main(["prior", "build", str(own), "--output", str(own / "prior.json")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert OWN in first and "run its cells again" in first and "must hold finished cells" in second


def test_what_is_read_and_what_is_built_again_are_one(tmp_path):
    """Of a built-in task: records of an older version give the same prior, to the last bit."""
    folder = ran(tmp_path / "new", "breast_cancer_mlp", warm_start="placebo")
    (new,) = build_prior([folder]).tasks
    record = record_of(folder)
    assert record["description"]["probe"] == new.scale or record["description"]["probe"] is not None
    del record["description"]
    cell_path(folder / "only", 0).write_text(json.dumps(record))
    (old,) = build_prior([folder]).tasks
    assert np.array_equal(new.a, old.a) and np.array_equal(new.b, old.b) and new.scale == old.scale


def test_groups_describe_their_cells_as_single_ones_do(tmp_path):
    alone = ran(tmp_path / "alone", "breast_cancer_mlp", seeds=(0, 1))
    together = ran(tmp_path / "together", "breast_cancer_mlp", "population", seeds=(0, 1))
    for seed in (0, 1):
        kept = [
            {k: v for k, v in record_of(folder, seed)["description"].items() if k not in ("of", "digest")}
            for folder in (alone, together)
        ]
        assert kept[0] == kept[1] and "failed" not in kept[0]


@pytest.mark.parametrize("change", ["edited", "another's", "no object"])
def test_a_description_that_does_not_belong_is_not_believed(own, capsys, change):
    path = cell_path(own / "only", 0)
    record = record_of(own)
    described = record["description"]
    if change == "edited":
        described["probe"] = 3.0
    elif change == "another's":
        described["of"] = "0" * 64
        described["digest"] = description_digest(described)
    else:
        record["description"] = 3
    path.write_text(json.dumps(record))
    assert cli.main(["explain", str(own)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and "its description" in error[0] and "seed-0000.json" in error[0]
    with pytest.raises(ValueError, match="must hold finished cells of at least 10 configurations"):
        build_prior([own])


def test_a_task_that_cannot_be_described_costs_no_record(tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no probe today")

    monkeypatch.setattr("hypernudge.harness.cells.described.walk_probe", broken)
    record = record_of(ran(tmp_path / "own", OWN))
    assert record["status"] == "completed" and "no probe today" in record["description"]["failed"]
    assert record_digest(record) == record["digest"]


def test_only_registered_names_are_built_where_results_are_read():
    with registered_only():
        assert resolve("optimizer", "sgd")
        with pytest.raises(ValueError, match="known name where results are read"):
            resolve("optimizer", "os:system")
    assert resolve("optimizer", "os:system")


@pytest.mark.parametrize("policy", ["informed", "fixed_band", "density", "placebo"])
def test_why_trials_started_as_they_did_is_noted_outside_the_results(tmp_path, policy):
    folder = ran(tmp_path / "own", OWN, warm_start=policy)
    record = record_of(folder)
    kinds = record["description"]["kinds"]
    assert len(kinds) == len(record["trials"]) and set(kinds) <= set(NUDGE_KINDS)
    assert not any("kind" in trial["nudge"] for trial in record["trials"])
    rows = explanations(folder)
    assert [row["kind"] for row in rows] == kinds
    for left_out in ({"kinds"}, set(record["description"])):  # as earlier versions wrote it
        kept = {k: v for k, v in record["description"].items() if k not in left_out}
        older = {**record, "description": {**kept, "digest": description_digest(kept)} if kept else None}
        cell_path(folder / "only", 0).write_text(json.dumps(older))
        before = explanations(folder)
        assert list(map(group_of, before)) == list(map(group_of, rows))
    assert kinds_of(record, {"kinds": [["?"], *kinds[1:]]})[1:] == tuple(kinds[1:])


def test_decisions_are_grouped_by_kind_and_not_by_words():
    row = {
        "flagged": False,
        "changed": True,
        "kind": "moved",
        "reason": "data and prior are guarded, redrawn",
    }
    assert group_of(row) == "redrawn"
    assert group_of({**row, "changed": False}) == "left as sampled"
    for kind, group in (("model_based_pick", "guard"), ("prior", "prior"), ("data", "data")):
        assert group_of({**row, "kind": kind, "reason": ""}) == group
        assert group_of({**row, "kind": kind, "flagged": True}) == "flagged"
