"""What a plan names is built once, and only once; the page of the configuration is current."""

import itertools
import runpy
import time
from dataclasses import replace

import pytest
import torch

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.planning.config import load_yaml
from hypernudge.harness.planning.resolve import load_plan, resolve_plan
from hypernudge.harness.running.dry_build import check_buildable
from hypernudge.tasks import builtin
from hypernudge.tasks.data import datasets
from tests.harness.tools import ROOT
from tests.study.tools import module


def plan_of(tmp_path, **common):
    grid = {
        "run_id": "{space}-{workers}-{warm_start}",
        "labels": {"scheduler": "{workers}", "task": "{space}"},
        "axes": {
            "task": ["digits_mlp"],
            "scheduler": ["asha"],
            "space": ["mid", "wide"],
            "workers": [1, 4],
            "warm_start": ["none", "literal", "informed"],
        },
    }
    shared = {"target": 0.9, "budget": {"units": 9}, "seeds": {"count": 6}, **common}
    return resolve_plan({"common": shared, "grid": grid}, tmp_path)


def test_each_distinct_task_is_built_once_and_its_data_are_read_once(tmp_path, monkeypatch):
    built, read = [], []
    make, load = builtin.SupervisedTask.__init__, datasets.LOADERS["digits"]
    monkeypatch.setattr(
        builtin.SupervisedTask, "__init__", lambda self, *a, **k: (built.append(1), make(self, *a, **k))[1]
    )
    monkeypatch.setitem(datasets.LOADERS, "digits", lambda *given: (read.append(1), load(*given))[1])
    plan = plan_of(tmp_path)
    assert len(plan.variations) == 12
    check_buildable(plan)
    assert (len(built), len(read)) == (2, 1)
    check_buildable(replace(plan, part_of="0" * 64))  # checked with the whole
    assert len(built) == 2


@pytest.mark.parametrize("of", ["classes", "a set", "an object in a list", "a function in a mapping", "data"])
def test_choices_that_no_record_can_hold_are_refused(tmp_path, monkeypatch, of):
    for folder in (ROOT / "tests", ROOT / "tests" / "harness"):
        monkeypatch.syspath_prepend(folder)
    common = {"target": -0.05, "budget": {"units": 9}, "seeds": {"count": 6}, "training": {"of": of}}
    plan = resolve_plan({"common": {"task": "own:Choosing", **common}, "variations": {"a": {}}}, tmp_path)
    if of == "data":
        check_buildable(plan)
        return
    with pytest.raises(InvalidArgumentError, match=r"^variations.a.task: space.kind: choices must be JSON"):
        check_buildable(plan)


@pytest.mark.parametrize(
    ("common", "words"),
    [
        ({"training": {"batch_size": -4}}, ["variations.mid-1-none.task", "batch_size", "-4"]),
        ({"training": {"colour": 1}}, ["task.colour", "takes the options", "'colour'"]),
        (
            {"model": {"name": "mlp", "hiden": [3]}},
            ["variations.mid-1-none.task", "model.hiden", "did you mean"],
        ),
        ({"model": "cnn", "training": {"dtype": "float16"}}, ["dtype", "'float32', 'float64'"]),
        ({"engine": {"name": "population", "device": "tpu"}}, ["variations.mid-1-none.engine", "'tpu'"]),
        (
            {"engine": {"name": "population", "device": "cuda:99"}},
            ["variations.mid-1-none.engine", "'cuda:99'"],
        ),
    ],
)
def test_what_cannot_be_built_is_named_with_its_variation(tmp_path, common, words):
    with pytest.raises(InvalidArgumentError) as refused:
        check_buildable(plan_of(tmp_path, **common))
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        *(("Gradient", where) for where in ("init", "batch", "loss", "score")),
        *(("Module", where) for where in ("model", "loss", "score")),
        *(("BlackBox", where) for where in ("start", "unit_flops")),
    ],
)
def test_a_task_that_raises_where_it_begins_is_refused_before_any_work(kind, where, tmp_path, monkeypatch):
    """At the middle of its space; what raises for some configurations only is a matter of the trials."""
    for folder in (ROOT / "tests", ROOT / "tests" / "harness"):
        monkeypatch.syspath_prepend(folder)
    common = {"target": -0.05, "budget": {"units": 9}, "seeds": {"count": 6}}

    def plan(broken):
        task = {"name": f"own:{kind}", "broken": broken}
        return resolve_plan({"common": {"task": task, **common}, "variations": {"a": {}}}, tmp_path)

    check_buildable(plan("nothing"))
    with pytest.raises(InvalidArgumentError) as refused:
        check_buildable(plan(where))
    line = str(refused.value)
    assert line == (
        f"variations.a.task: 'own:{kind}' must be able to train at the middle of its space before anything "
        f"runs, but raises RuntimeError: {where} is broken here; correct what it names"
    )


def test_scores_are_tried_for_a_few_seconds_only(monkeypatch):
    seen = []

    def score(model, split):
        for _ in split:
            seen.append(split.name)
            time.sleep(0.01)
        raise AssertionError("not reached")

    task = module(score=score)
    task._held["validation"]._batches = lambda: itertools.repeat((torch.zeros(1, 8), torch.zeros(1).long()))
    monkeypatch.setattr("hypernudge.tasks.module.task.SECONDS_TRIED", 0.05)
    task.try_score(task.space.middle())
    assert seen and set(seen) == {"validation"}


@pytest.mark.parametrize("study", ["smoke_test", "full_experiment", "schedulers_study"])
def test_the_shipped_experiments_can_be_built(study):
    check_buildable(load_plan(ROOT / "config" / f"{study}.yaml"))


def test_interpolations_of_a_usual_size_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SEEDS", "7")
    file = tmp_path / "e.yaml"
    file.write_text("a: {b: 3, c: '${.b}', d: '${a.c}-${a.b}'}\ne: ${a}\nf: ${oc.env:MY_SEEDS}\n")
    loaded = load_yaml(file)
    assert loaded == {"a": (a := {"b": 3, "c": 3, "d": "3-3"}), "e": a, "f": "7"}


def test_the_page_of_the_configuration_is_what_its_command_writes():
    script = runpy.run_path(str(ROOT / "scripts" / "configuration.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), (
        "run python scripts/configuration.py"
    )
