"""Malformed configurations and overrides: each is refused in one line, and nothing is written."""

import json

import pytest

from hypernudge.harness.planning.experiment_schema import EXPERIMENT, VARIATION
from hypernudge.tasks.data.datasets import last_kept
from tests.harness.malformed import (
    BASE,
    GRID,
    LONG,
    assert_refused,
    paths,
    replaced,
    runner,
    spoiled,
    text_of,
)
from tests.harness.tools import ROOT

# What is accepted on purpose, by name, with the reason.
HARMLESS = {
    "name='no such thing'": "a name is any line of text",
    "name='../x'": "a name is no path",
    "name='{a.b}'": "a name is no template",
    "common.task.label='no such thing'": "a label is any line of text",
    "common.task.label='../x'": "a label is no path",
    "common.task.label='{a.b}'": "a label is no template",
    "common.task.metric='no such thing'": "the name of a score is for axes",
    "common.task.metric='../x'": "the name of a score is for axes",
    "common.task.metric='{a.b}'": "the name of a score is for axes",
    "common.model.hidden=[]": "a linear model",
    "common.scheduler.max_trials=None": "no limit",
    "common.training=None": "the task's defaults",
    "common.training={}": "the task's defaults",
    "common.training.steps_per_unit=None": "an epoch",
    "common.budget.units=1.5": "a budget need not be whole",
    "common.budget.units=2.0": "a budget need not be whole",
    "variations.asha=None": "all is in common",
    "variations.asha={}": "all is in common",
    "variations.ashas": "another run id",
    "variations.asha-literals": "another run id",
    "variations.asha-literal.warm_start.only=None": "all hyper-parameters",
    "engine.memory_budget=None": "the default",
    "engine.max_batched_flops=None": "the default",
    "engine.max_batched_flops=1e+300": "never alone",
    "evidence=None": "the defaults",
    "evidence={}": "the defaults",
    "evidence.controls={}": "the usual controls",
    "evidence.controls.gradient_free='no such thing'": "said by the plan: the control is missing",
    "evidence.controls.gradient_free='../x'": "said by the plan: the control is missing",
    "evidence.controls.gradient_free='{a.b}'": "said by the plan: the control is missing",
    "evidence.factorial=[]": "no design",
    "launcher=None": "the defaults",
    "launcher={}": "the defaults",
    "grid.axes.warm_start.nones": "another name of a value",
    "grid.axes.warm_start.bigs": "another name of a value",
}

CASES = [*spoiled(BASE), *((name, e) for name, e in spoiled(GRID) if name.startswith("grid"))]
CHUNKS = 16


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return runner(capsys)


def command_of(index, file, results):
    """Return a command that reads an experiment: each in turn."""
    return (
        ["run", file, "--results-dir", results],
        ["plan", file, "--results-dir", results],
        ["pilot", file, "--first-seed", 500, "--count", 1],
    )[index % 3]


def test_the_generator_reaches_every_key_of_the_schema():
    assert len(CASES) >= 500 and len({name for name, _ in CASES}) == len(CASES)
    keys = {path[0] for base in (BASE, GRID) for path in paths(base)}
    assert keys == set(EXPERIMENT["properties"]) - {"part_of", "resolved"}  # the harness writes these
    used = {path[-1] for path in paths(BASE)} | {"warm_start"}
    assert set(VARIATION) <= used
    assert set(EXPERIMENT["properties"]["evidence"]["properties"]) == set(BASE["evidence"])
    assert set(HARMLESS) <= {name for name, _ in CASES}


@pytest.mark.parametrize(
    "chunk",
    [*range(CHUNKS // 2), *(pytest.param(i, marks=pytest.mark.slow) for i in range(CHUNKS // 2, CHUNKS))],
)
def test_a_spoiled_key_is_refused_by_every_command(run, tmp_path, chunk):
    file, results = tmp_path / "e.yaml", tmp_path / "results"
    with last_kept():  # the same data, hundreds of times
        for index, (name, experiment) in enumerate(CASES):
            if index % CHUNKS != chunk or name in HARMLESS:
                continue
            file.write_text(text_of(experiment), encoding="utf-8")
            assert_refused(run(*command_of(index // CHUNKS, file, results)), name)
            assert list(tmp_path.iterdir()) == [file], name


def test_what_is_harmless_is_planned_as_strict_json(run, tmp_path):
    file = tmp_path / "e.yaml"
    for index, (name, experiment) in enumerate(case for case in CASES if case[0] in HARMLESS):
        file.write_text(text_of(experiment), encoding="utf-8")
        results = tmp_path / f"results-{index}"
        code, _, err = run("plan", file, "--results-dir", results, "--exploratory")
        assert code == 0, f"{name}: {err}"
        json.loads((results / "plan.json").read_text(), parse_constant=pytest.fail)


def bomb(levels):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


GOOD = text_of(BASE)
FILES = {
    "empty": b"",
    "a comment": b"# nothing\n",
    "null": b"null\n",
    "a number": b"5\n",
    "a text": b"hello\n",
    "a list": b"[1, 2]\n",
    "not UTF-8": "name: \xe9\n".encode("latin-1"),
    "UTF-16": GOOD.encode("utf-16"),
    "binary": bytes(range(256)),
    "NUL": b"name: a\0b\n",
    "a tab": b"common:\n\tworkers: 1\n",
    "unclosed": b"common: {workers: [1\n",
    "a duplicate key": GOOD.encode() + b"name: again\n",
    "a duplicate key inside": GOOD.replace("workers: 4", "workers: 4\n  workers: 5").encode(),
    "a list as a key": b"? [1, 2]\n: 3\n",
    "a mapping as a key": b"? {a: 1}\n: 3\n",
    "null as a run id": GOOD.replace("  asha:\n", "  null:\n").encode(),
    "a boolean as a run id": GOOD.replace("  asha:\n", "  true:\n").encode(),
    "two documents": GOOD.encode() + b"---\nname: b\n",
    "a tag": b"name: !!python/object/apply:os.system ['true']\n",
    "an unknown tag": b"name: !foo bar\n",
    "an unknown alias": b"name: *nobody\n",
    "an alias of itself": b"name: &a [*a]\n",
    "a mapping of itself": b"common: &a {task: *a}\n",
    "a bomb of aliases": bomb(12).encode(),
    "a bomb of merges": b"a: &a {b: 1}\n" + b"".join(b"k%d: {<<: *a}\n" % i for i in range(100)),
    "deep lists": b"name: " + b"[" * 3000 + b"]" * 3000,
    "deep mappings": b"name: " + b"{a: " * 3000 + b"1" + b"}" * 3000,
    "deep blocks": b"".join(b" " * i + b"a:\n" for i in range(500)),
    "large": b"# " + b"x" * (5 << 20),
    "a number of many digits": b"name: " + b"9" * 10_000 + b"\n",
    "a text of a megabyte": b"name: " + b"x" * (1 << 20) + b"\n",
    "a bomb of interpolations": "\n".join(
        ["a0: xxxxxxxxxx", *(f"a{i}: {f'${{a{i - 1}}}' * 9}" for i in range(1, 12))]
    ).encode(),
    "relative interpolations": "\n".join(
        ["a:", "  b0: xxxxxxxxxx", *(f"  b{i}: {f'${{.b{i - 1}}}' * 9}" for i in range(1, 12))]
    ).encode(),
    "an interpolation of itself": b"name: ${name}\n",
    "interpolations in a circle": b"name: ${common}\ncommon: ${name}\n",
    "a long chain": "\n".join(["a0: x", *(f"a{i}: ${{a{i - 1}}}" for i in range(1, 200))]).encode(),
    "an interpolation of nothing": GOOD.replace("name: base", "name: ${nobody}").encode(),
    "an unknown resolver": GOOD.replace("name: base", "name: ${nobody:1}").encode(),
    "an open interpolation": GOOD.replace("name: base", "name: ${").encode(),
    "defaults that are a number": b"defaults: 5\n" + GOOD.encode(),
    "defaults that are a mapping": b"defaults: {engine: serial}\n" + GOOD.encode(),
    "defaults of nothing": b"defaults: [engine: nobody, _self_]\n" + GOOD.encode(),
    "defaults outside": b"defaults: [../../etc/passwd, _self_]\n" + GOOD.encode(),
    "defaults that hold a bomb": b"defaults: [engine: bomb, _self_]\n" + GOOD.encode(),
    "a placeholder": GOOD.replace("workers: 4", "workers: NUMBER_PLACEHOLDER").encode(),
    "2e8 seeds": GOOD.replace("count: 6", "count: 200000000").encode(),
    "a seed of 1.5": GOOD.replace("first: 0", "first: 1.5").encode(),
    "negative seeds": GOOD.replace("first: 0", "first: -1").encode(),
    "a grid of 60^6": text_of(
        {**GRID, "grid": {"axes": {key: [f"{key}{i}" for i in range(60)] for key in list(VARIATION)[:6]}}}
    ).encode(),
    "too many cells": text_of(
        {**GRID, "seeds": {"count": 10_000}, "grid": {"axes": {"workers": list(range(1, 200))}}}
    ).encode(),
    "no end": GOOD.replace("units: 9", "units: .inf").replace("workers: 4", "workers: 1e30").encode(),
    "a misspelt launcher": GOOD.replace("processes: 2", "procesess: 1").encode(),
    "2.7 processes": GOOD.replace("processes: 2", "processes: 2.7").encode(),
    "a draw without end": GOOD.replace("bootstrap: 2000", "bootstrap: 1e12").encode(),
    "a hyper-parameter that nothing reads": GOOD.replace("    focal_gamma:", "    focal_gama:").encode(),
    "momentum above 1": GOOD.replace("    lr:", "    momentum: {low: 0, high: 2}\n    lr:").encode(),
    "a parent that never takes the value": GOOD.replace("- cross_entropy\n", "- hinge\n").encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_malformed_file_is_refused(run, tmp_path, name):
    folder, results = tmp_path / "config", tmp_path / "results"
    (folder / "engine").mkdir(parents=True)
    (folder / "engine" / "bomb.yaml").write_text(bomb(12))
    file = folder / "e.yaml"
    file.write_bytes(FILES[name])
    assert_refused(run(*command_of(list(FILES).index(name), file, results)), name)
    assert not results.exists()


RUN_IDS = [
    *("plan.json", "experiment.yaml", "evaluation.json", "deviations.jsonl", "evaluation", "tables"),
    *("figures", "quarantine", "Plan.JSON", "EVALUATION", "nul", "com1.txt", LONG, "", " ", ".", "..", "a."),
    *(
        ".hidden",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        "a b",
        "a\n",
        "a\nb",
        "\u00e9",
        "-x",
        "{task}",
        "a\0",
        "%s",
        "a:b",
    ),
]
TEMPLATES = [
    *("{warm_start:>999999999}", "{warm_start.__class__}", "{warm_start[0]}", "{warm_start!r}", "{}", "{0}"),
    *("{", "}", "{{warm_start}}", "{nobody}", "", LONG, "one", "{warm_start}/{space}{scheduler}", "{task}"),
]


@pytest.mark.parametrize("run_id", RUN_IDS, ids=repr)
def test_a_run_id_is_a_file_name_of_its_own(run, tmp_path, run_id):
    file = tmp_path / "e.yaml"
    variations = {run_id: {}, "asha-literal": BASE["variations"]["asha-literal"]}
    file.write_text(text_of({**BASE, "variations": variations}))
    assert_refused(run("plan", file, "--results-dir", tmp_path / "results"), run_id)
    assert not (tmp_path / "results").exists()


def test_run_ids_differ_by_more_than_case(run, tmp_path):
    file = tmp_path / "e.yaml"
    variations = {"A": {}, "a": BASE["variations"]["asha-literal"]}
    file.write_text(text_of({**BASE, "variations": variations}))
    outcome = run("plan", file, "--results-dir", tmp_path / "results")
    assert_refused(outcome, variations)
    assert "by more than case" in outcome[2]


@pytest.mark.parametrize("where", [("grid", "run_id"), ("grid", "labels", "scheduler")], ids=str)
@pytest.mark.parametrize("template", TEMPLATES, ids=repr)
def test_a_template_holds_plain_names_of_axes(run, tmp_path, where, template):
    if where[-1] == "scheduler" and template in ("one", "{warm_start}/{space}{scheduler}"):
        pytest.skip("a fine label")
    file = tmp_path / "e.yaml"
    file.write_text(text_of(replaced(GRID, where, template)))
    assert_refused(run("plan", file, "--results-dir", tmp_path / "results"), template)


BROKEN_TASKS = {
    "own:Broken": "RuntimeError: broken plainly",
    "own:Nobody": "must be importable",
    "no_such_module:Task": "must be importable",
    "own:": "must be a name, or a mapping",
    "own:os.path": "must be importable",
    "math:pi": "must name a class or a function",
    "unimportable:Task": "raises ZeroDivisionError",
}


@pytest.mark.parametrize("name", BROKEN_TASKS)
def test_a_task_that_cannot_be_built_is_told_in_one_line(run, tmp_path, monkeypatch, name):
    monkeypatch.syspath_prepend(ROOT / "tests")
    monkeypatch.syspath_prepend(ROOT / "tests" / "harness")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unimportable.py").write_text("1 / 0\n")
    file = tmp_path / "e.yaml"
    common = {"task": name, "target": -0.5, "budget": {"units": 3}, "seeds": {"count": 6}}
    file.write_text(text_of({"common": common, "variations": {"asha": {}}}))
    outcome = run(*command_of(len(name), file, tmp_path / "results"))
    assert_refused(outcome, name)
    assert BROKEN_TASKS[name] in outcome[2]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("warm_start", "words"),
    [
        ("informed", "continuous 'lr'"),
        ({"name": "literal", "only": ["momentum"]}, "must name continuous hyper-parameters"),
        ("curvature_band", "continuous 'lr'"),
    ],
)
def test_a_warm_start_that_the_space_cannot_serve_is_refused_now(run, tmp_path, warm_start, words):
    space = {"lr": {"choices": [0.1, 0.01]}, "weight_decay": {"low": 0.0, "high": 0.1}}
    variations = {"asha": {"warm_start": "none"}, "other": {"warm_start": warm_start}}
    file = tmp_path / "e.yaml"
    file.write_text(
        text_of(
            {**BASE, "common": {**BASE["common"], "space": space}, "variations": variations, "evidence": None}
        )
    )
    outcome = run("plan", file, "--results-dir", tmp_path / "results")
    assert_refused(outcome, warm_start)
    assert "variations.other.warm_start" in outcome[2] and words in outcome[2]


OVERRIDES = [
    *("=", "=1", "a=", "common.zzz=1", "+common.zzz=1", "+zzz=1", "common.workers=", "common.workers=0"),
    *("common.workers=true", "common.workers=1.5", "common.budget.units=-1", "common.budget.units=inf"),
    *("+common.training.batch_size=-4", "+common.training.batch_size=1e9", "+common.training.colour=red"),
    *("+common.model.hiden=[8]", "common.model.hidden=[0]", "+common.task.colour=red", "~common.space.lr"),
    *("common.task.optimizer.beta2=2", "+common.task.optimizer.beta3=1", "common.space=5", "common.space={"),
    *("common.seeds=[", "seeds={first: 1.5}", "seeds.count=-1", "seeds.count=1e9", "~variations", "~common"),
    *(
        "common.target=nan",
        "common.target=2",
        "common.target='x'",
        "evidence.bootstrap=1e12",
        "x[=1",
        "a.b.c.=1",
    ),
    *("${a}=1", "name=${nobody}", "name=${name}", "launcher.processes=2.7", "+launcher.procesess=1"),
    *("engine=nobody", "engine@x=serial", "hydra.run.dir=x", "+hydra.foo=1", "common=1", "variations=[]"),
    *(
        "common.scheduler=[]",
        "common.scheduler.name=nobody",
        "+common.scheduler.colour=1",
        "\u00e9=1",
        "a=\0",
    ),
]


@pytest.mark.parametrize("override", OVERRIDES, ids=repr)
def test_a_malformed_override_is_refused(run, tmp_path, override):
    file = tmp_path / "e.yaml"
    file.write_text(GOOD)
    for index in range(2):
        assert_refused(run(*command_of(index, file, tmp_path / "results"), override), override)
    assert list(tmp_path.iterdir()) == [file]
