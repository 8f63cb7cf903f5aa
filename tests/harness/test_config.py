import argparse

import numpy as np
import pytest

from hypernudge.cli.app import parse_with_overrides
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.planning import experiment_schema
from hypernudge.harness.planning.config import (
    compose,
    fill_placeholders,
    find_placeholders,
    load_yaml,
)
from hypernudge.harness.planning.resolve import load_plan, resolve_plan

BASE = {
    "common": {
        "task": "digits_mlp",
        "target": 0.9,
        "budget": {"units": 9},
        "seeds": {"first": 0, "count": 6},
    },
    "variations": {"asha": {}, "asha-literal": {"warm_start": "literal"}},
}

DIGITS = {"name": "supervised", "dataset": "digits"}


def changed(path, value):
    """Return BASE with the entry at a dotted path replaced (or removed, for None)."""
    import copy

    experiment = copy.deepcopy(BASE)
    node = experiment
    *parents, last = path.split(".")
    for part in parents:
        node = node.setdefault(part, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return experiment


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("common.task", "digits_mpl", ["variations.asha.task", "did you mean 'digits_mlp'"]),
        ("common.model", "transformer", ["variations.asha.model", "'transformer'", "known names: cnn, mlp"]),
        ("common.scheduler", "ahsa", ["variations.asha.scheduler", "did you mean 'asha'"]),
        ("variations.asha-literal.warm_start", "literall", ["asha-literal.warm_start", "'literal'"]),
        ("common.engine", "serail", ["engine", "did you mean 'serial'"]),
        (
            "common.space",
            {"lr": {"low": 1.0, "high": 0.1}},
            ["space.lr", "low must be below high", "(1.0, 0.1)"],
        ),
        ("common.space", "middle", ["space", "'middle'"]),
        ("common.target", 1.2, ["variations.asha.target", "[0, 1]", "1.2"]),
        (  # of a task that no file of a group stands for: those say a target
            "common",
            {key: value for key, value in BASE["common"].items() if key != "target"} | {"task": DIGITS},
            ["variations.asha.target", "number"],
        ),
        (
            "variations.asha-literal.seeds",
            [900, 901],
            ["asha-literal.seeds", "share seeds with the baseline"],
        ),
        ("common.seeds", [1, 1, 2, 3, 4, 5, 6], ["seeds", "differ"]),
        ("common.budget", {"epochs": 3}, ["common.budget", "'epochs'", "known names:"]),
        ("common.budget", {"units": 0}, ["budget.units", "positive"]),
        ("common.workers", 0, ["common.workers", "whole number in [1, 10000]", "got 0"]),
        ("common.flops_per_second", -1, ["flops_per_second", "positive"]),
        ("common.taget", 0.9, ["common", "'taget'", "did you mean 'target'"]),
        ("variaitons", {}, ["experiment", "variaitons"]),
        ("variations", {}, ["variations", "at least one"]),
        ("variations.a/b", {}, ["variations.a/b", "file name"]),
        ("variations.evaluation", {}, ["variations.evaluation", "file name"]),
        (
            "common.scheduler",
            {"name": "asha", "eta": 1},
            ["variations.asha.scheduler", "eta", "[2, 1000000]"],
        ),
        ("common.scheduler", {"name": "asha", "etaa": 3}, ["scheduler.etaa", "'eta'"]),
        ("variations.asha-literal.warm_start", {"name": "literal", "eta_h": -1}, ["eta_h", "positive"]),
        ("variations.x", {"warm_start": "literal"}, ["labels must differ"]),
        ("variations.asha.warm_start", "random_step", ["need the baseline 'none'"]),
        ("evidence", {"alfa": 0.1}, ["evidence", "alfa"]),
        ("evidence", {"families": "some"}, ["evidence.families", "'some'"]),
        ("common.task", "no.such.module:Task", ["no.such.module", "importable"]),
    ],
)
def test_bad_configurations_are_refused_with_key_value_rule_and_remedy(tmp_path, path, value, words):
    with pytest.raises(InvalidArgumentError) as caught:
        resolve_plan(changed(path, value), tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_all_placeholders_are_listed_with_their_place(tmp_path):
    experiment = changed("common.task", "DATASET_PLACEHOLDER")
    experiment["variations"]["MODEL_PLACEHOLDER"] = {"budget": {"units": "SPECIFIC_CONFIG_PLACEHOLDER"}}
    with pytest.raises(InvalidArgumentError) as caught:
        resolve_plan(experiment, tmp_path)
    for where in (
        "DATASET_PLACEHOLDER at common.task",
        "MODEL_PLACEHOLDER at variations.MODEL_PLACEHOLDER",
        "SPECIFIC_CONFIG_PLACEHOLDER at variations.MODEL_PLACEHOLDER.budget.units",
    ):
        assert where in str(caught.value)
    assert list(find_placeholders({"a": ["x", "A_PLACEHOLDER"]})) == [("a[1]", "A_PLACEHOLDER")]


def test_the_plan_hash_covers_what_matters_and_survives_a_round_trip(tmp_path):
    import yaml

    plan = resolve_plan(BASE, tmp_path)
    assert plan.hash == resolve_plan(changed("launcher.processes", 7), tmp_path).hash
    for path, value in [("common.target", 0.8), ("common.seeds.first", 1), ("evidence.alpha", 0.1)]:
        assert plan.hash != resolve_plan(changed(path, value), tmp_path).hash
    written = {v.run_id: v.spec for v in plan.variations}
    text = yaml.safe_dump({"variations": written, "evidence": plan.evidence})
    (tmp_path / "again.yaml").write_text(text)
    assert load_plan(tmp_path / "again.yaml").hash == plan.hash


def test_what_the_file_says_wins_without_self_and_nothing_is_warned_of(tmp_path, recwarn):
    lines = "engine: {name: population, threads: 2}\nvariations: {a: {}}\n"
    path = tmp_path / "mine.yaml"
    composed = []
    for defaults in (
        "[engine: population, launcher: local]",
        "[engine: population, launcher: local, _self_]",
    ):
        path.write_text(f"defaults: {defaults}\n{lines}")
        composed.append(compose(path, []))
    assert composed[0] == composed[1] and composed[0]["engine"]["threads"] == 2
    assert not recwarn.list


def test_group_files_supply_defaults_and_own_options_win(tmp_path):
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "asha.yaml").write_text("name: asha\nmax_units: 9\neta: 2\n")
    experiment = changed("variations.asha-literal.scheduler", {"name": "asha", "eta": 3, "label": "other"})
    experiment["variations"]["asha-literal"]["warm_start"] = "none"
    plan = resolve_plan(experiment, tmp_path)
    assert plan["asha"].spec["scheduler"] == {"name": "asha", "max_units": 9, "eta": 2, "label": "asha"}
    assert plan["asha-literal"].spec["scheduler"]["eta"] == 3
    assert plan["asha-literal"].spec["scheduler"]["max_units"] == 9


def test_hydra_composes_groups_and_overrides(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "serial.yaml").write_text("name: serial\n")
    (tmp_path / "e.yaml").write_text(
        "defaults: [engine: serial, _self_]\nx: {y: 1e-3}\nvariations: {a: {}}\n"
    )
    assert compose(tmp_path / "e.yaml", ["x.y=2"]) == {
        "engine": {"name": "serial"},
        "x": {"y": 2},
        "variations": {"a": {}},
    }
    with pytest.raises(InvalidArgumentError, match="z"):
        compose(tmp_path / "e.yaml", ["x.z=2"])


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "a: 1\na: 2\n"])
def test_files_that_are_no_mapping_are_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InvalidArgumentError, match="config file"):
        load_yaml(tmp_path / "bad.yaml")
    with pytest.raises(InvalidArgumentError, match="must exist"):
        load_yaml(tmp_path / "none.yaml")


def test_numbers_in_scientific_notation_are_numbers(tmp_path):
    (tmp_path / "n.yaml").write_text("a: 1e-3\n")
    assert load_yaml(tmp_path / "n.yaml") == {"a": 1e-3}


def test_filling_a_template():
    text = "a: ONE_PLACEHOLDER\nb: TWO_PLACEHOLDER\n"
    assert fill_placeholders(text, {"ONE_PLACEHOLDER": "1"}) == "a: 1\nb: TWO_PLACEHOLDER\n"
    with pytest.raises(InvalidArgumentError, match="THREE_PLACEHOLDER"):
        fill_placeholders(text, {"THREE_PLACEHOLDER": "3"})


def gridded(**changes):
    """Return BASE's common part with a grid in place of its variations."""
    grid = {
        "axes": {
            "task": ["digits_mlp", "digits_cnn"],
            "space": ["mid", "wide"],
            "warm_start": {"none": "none", "big": {"name": "literal", "eta_h": 0.01}},
        },
        "run_id": "{task}-{space}-{warm_start}",
        "labels": {"task": "{task}_{space}"},
    }
    return {"common": BASE["common"], "grid": {**grid, **changes}}


def test_a_grid_stands_for_all_its_combinations(tmp_path):
    plan = resolve_plan(gridded(), tmp_path)
    assert [v.run_id for v in plan.variations[:3]] == [
        "digits_mlp-mid-none",
        "digits_mlp-mid-big",
        "digits_mlp-wide-none",
    ]
    assert len(plan.variations) == 8
    last = plan["digits_cnn-wide-big"]
    assert last.labels == {"task": "digits_cnn_wide", "scheduler": "asha", "warm_start": "big"}
    assert last.spec["space"] == "wide" and last.spec["warm_start"]["eta_h"] == 0.01
    more = resolve_plan({**gridded(), "variations": {"extra": {"space": "narrow"}}}, tmp_path)
    assert [v.run_id for v in more.variations[8:]] == ["extra"]
    listed = {"common": BASE["common"], "variations": {v.run_id: v.spec for v in plan.variations}}
    assert resolve_plan(listed, tmp_path).hash == plan.hash


def test_combinations_of_a_grid_can_be_left_out(tmp_path):
    exclude = [{"space": "wide", "warm_start": ["big"]}, {"task": ["digits_cnn"], "space": ["mid"]}]
    plan = resolve_plan(gridded(exclude=exclude), tmp_path)
    assert [v.run_id for v in plan.variations] == [
        "digits_mlp-mid-none",
        "digits_mlp-mid-big",
        "digits_mlp-wide-none",
        "digits_cnn-wide-none",
    ]
    assert resolve_plan(gridded(exclude=[]), tmp_path).hash == resolve_plan(gridded(), tmp_path).hash


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exclude": [{"tsk": "digits_mlp"}]}, ["grid.exclude[0].tsk", "must be an axis", "'task'"]),
        ({"exclude": [{"space": ["mid", "huge"]}]}, ["grid.exclude[0].space", "'wide'", "'huge'"]),
        ({"exclude": [{"space": ["mid", "wide"]}]}, ["variations", "add at least one"]),
        ({"exclude": [{}]}, ["grid.exclude[0]", "mapping"]),
        ({"exclude": {"space": "mid"}}, ["grid.exclude", "list of mappings"]),
        ({"axes": {}}, ["grid", "axes"]),
        ({"axes": {"task": "digits_mlp"}}, ["grid.axes.task", "list of names", "'digits_mlp'"]),
        ({"axes": {"task": []}}, ["grid.axes.task", "at least one"]),
        ({"axs": {}}, ["grid", "axs"]),
        ({"run_id": "{task}-{warm_start}"}, ["grid.run_id", "tell all combinations apart"]),
        ({"run_id": "{tsk}"}, ["grid.run_id", "must name axes", "{tsk}"]),
        ({"labels": {"scheduler": "x"}}, ["grid.labels.scheduler", "must be an axis"]),
        ({"labels": "x"}, ["grid.labels", "mapping"]),
    ],
)
def test_a_bad_grid_is_refused(tmp_path, changes, words):
    with pytest.raises(InvalidArgumentError) as caught:
        resolve_plan(gridded(**changes), tmp_path)
    for word in words:
        assert word in str(caught.value)


YML = """
defaults: [engine: mine, _self_]
common: {task: own_digits, target: 0.9, budget: {units: 9}, seeds: [0]}
variations: {a: {}}
"""


@pytest.mark.parametrize("overrides", [[], ["common.target=0.8"]])
def test_yml_is_found_like_yaml(tmp_path, overrides):
    for folder, name, text in (
        ("", "experiment", YML),
        ("engine", "mine", "name: serial\n"),
        ("task", "own_digits", "name: digits_mlp\nbatch_size: 16\n"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.yml").write_text(text)
    spec = load_plan(tmp_path / "experiment.yml", overrides)["a"].spec
    assert (spec["engine"]["name"], spec["task"]["name"]) == ("serial", "digits_mlp")
    assert spec["target"] == (0.8 if overrides else 0.9)
    (tmp_path / "task" / "own_digits.yaml").write_text("name: digits_mlp\n")
    with pytest.raises(InvalidArgumentError, match="must be one file"):
        load_plan(tmp_path / "experiment.yml")


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "resnet20", "mine.networks:Net"])
def test_names_of_networks_fit_the_schema(name):
    experiment_schema.experiment.check({"common": {"model": name}})
    experiment_schema.experiment.check({"common": {"model": {"name": name, "depth": 3}}})


@pytest.mark.parametrize("name", ["timm/../x", "/x", "../x", "a/b/c", "timm/"])
def test_a_name_is_no_path(name):
    with pytest.raises(InvalidArgumentError, match=r"common\.model"):
        experiment_schema.experiment.check({"common": {"model": name}})


@pytest.mark.parametrize("name", ["weight-decay", "optim/eps", "learning rate", "größe", "block.0.lr"])
def test_hyper_parameters_are_called_what_users_call_them(name):
    space = {name: {"low": 0.0, "high": 1.0}}
    experiment_schema.experiment.check({"common": {"space": space}})


def test_a_range_of_numpy_numbers_is_a_range(tmp_path):
    task = {"name": f"{__name__}:ranged"}
    common = {**BASE["common"], "task": task, "target": -1.0}
    plan = resolve_plan({"common": common, "variations": {"asha": {}}}, tmp_path)
    assert plan.variations[0].spec["task"]["metric_range"] == [-2.0, None]


def ranged():
    """Return nothing: only its attributes are asked for."""


ranged.metric_range = (np.float32(-2.0), np.float64(np.inf))


def test_the_command_line_removes_keys_as_hydra_does():
    parser = argparse.ArgumentParser()
    given = ["--x", "1", "~variations.b", "a.b=2"]
    parser.add_argument("--x")
    assert parse_with_overrides(parser, given)[1] == ["~variations.b", "a.b=2"]
    with pytest.raises(SystemExit):
        parse_with_overrides(parser, ["variations.b"])
