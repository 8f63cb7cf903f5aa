"""Rivals of trainings of known length: each as its package says, each finder on the task."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

from benchmarks.episodes_effect import __main__, blocks, ends, finders, report, rivals
from benchmarks.episodes_effect.methods import METHODS, Crew, update_of
from benchmarks.episodes_effect.rules import cosine_factor
from benchmarks.episodes_effect.tasks import TASKS, batch_rows, noisy_labels
from benchmarks.episodes_effect.training import train
from hypernudge.results.digests import digest
from scripts import import_graph

STEPS, SEEDS = 40, (3, 4)
PACKAGES = {
    "prodigy_cosine": "prodigyopt",
    "prodigy_schedule_free": "prodigyplus",
    "d_adaptation": "dadaptation",
    "d_adaptation_cosine": "dadaptation",
}


def of_package(method, optimizer, parameters):
    """Make the optimizer the ordinary way."""
    if method == "prodigy_cosine":
        import prodigyopt

        return prodigyopt.Prodigy(parameters, lr=1.0, weight_decay=0.01)
    if method == "prodigy_schedule_free":
        from prodigyplus.prodigy_plus_schedulefree import ProdigyPlusScheduleFree

        return ProdigyPlusScheduleFree(parameters, lr=1.0, weight_decay=0.01)
    import dadaptation

    if optimizer == "sgd":
        return dadaptation.DAdaptSGD(parameters, lr=1.0, momentum=0.9)
    return dadaptation.DAdaptAdam(parameters, lr=1.0, weight_decay=0.01, decouple=True)


@pytest.mark.parametrize(
    ("method", "optimizer"), [*((method, "adamw") for method in PACKAGES), ("d_adaptation_cosine", "sgd")]
)
def test_a_member_is_trained_as_its_package_trains_one(method, optimizer):
    pytest.importorskip(PACKAGES[method], reason="extra `peers`")
    task = dataclasses.replace(TASKS["digits_mlp"], steps=STEPS)
    data = task.data(0)
    shapes = tuple(value.shape for value in task.init(data, 0, torch.float32).values())
    crew = Crew(optimizer, SEEDS, (0.01,), STEPS, shapes)
    outcome = train(
        task,
        data,
        seeds=SEEDS,
        rates=crew.rates,
        noise=0.4,
        update=update_of(method, crew),
        rule=METHODS[method].rule(crew),
    )
    network = finders.member(task, data, SEEDS[1])
    built = of_package(method, optimizer, list(network.parameters()))
    (group,) = built.param_groups
    labels = noisy_labels(data.train.y, data.classes, 0.4, SEEDS[1])
    for step, rows in enumerate(batch_rows(len(labels), task.batch, STEPS, SEEDS)[:, 1]):
        if method.endswith("cosine"):
            group["lr"] = cosine_factor(STEPS)(step)
        built.zero_grad()
        torch.nn.functional.cross_entropy(network(data.train.x[rows]), labels[rows]).backward()
        built.step()
    if method == "prodigy_schedule_free":
        built.eval()
    hits = network(data.test.x).argmax(1) == data.test.y
    assert outcome.test[1] == pytest.approx(100 * hits.double().mean().item(), abs=0.6)  # one image in 360
    assert group["d"] > 1e-6  # it has found something


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn", "characters"])
def test_finders_see_the_network_that_the_study_trains(name):
    task = TASKS[name]
    try:
        data = task.data(0)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    params = {key: value.unsqueeze(0) for key, value in task.init(data, 5, torch.float32).items()}
    x = data.train.x[:6]
    forward = task.forward(data)
    together = forward(params, x.movedim(0, -1).unsqueeze(0))
    asked = finders.problem(task, data, "adamw", 0.4, 5)
    network = asked.build(5)
    torch.testing.assert_close(network(x), together[0].mT)
    assert (asked.data()[1] != data.train.y).float().mean() == pytest.approx(0.4, abs=0.01)
    assert torch.isfinite(asked.loss(network, (x, data.train.y[:6])))


def test_a_finder_of_each_kind_finds_a_rate_that_trains():
    task = dataclasses.replace(TASKS["digits_mlp"], steps=STEPS)
    data = task.data(0)
    for finder in ("torch_lr_finder", "suggest"):
        assert 1e-4 < finders.find(finder, task, data, "sgd", 0.0, 3) < 10


def test_each_member_stands_at_the_rate_that_was_found_for_its_seed(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "digits_mlp", dataclasses.replace(TASKS["digits_mlp"], steps=5))
    monkeypatch.setitem(
        METHODS, "lightning_cosine", dataclasses.replace(METHODS["lightning_cosine"], seeds=3)
    )
    first, second, third = blocks.SEEDS[rivals.PHASE][:3]
    answers = {first: 0.2, second: None, third: float("nan")}
    monkeypatch.setitem(finders.FINDERS, "lightning", lambda asked, seed: answers[seed])
    block = blocks.Block(rivals.PHASE, "digits_mlp", "sgd", 0.0, "lightning_cosine")
    assert block in list(blocks.plan(rivals.PHASE, ["lightning_cosine"]))
    assert block not in list(blocks.plan(rivals.PHASE))
    assert blocks.run(block, tmp_path, (1.0,)) > 0
    assert blocks.run(block, tmp_path, (0.1, 1.0)) == 0
    _, members = blocks.read(tmp_path / f"{block.name}.jsonl")
    assert [(m["seed"], m["found"]) for m in members] == [(first, 0.2), (second, None), (third, None)]
    last = cosine_factor(5)(4)
    assert [m["multiplier"] for m in members] == pytest.approx(
        [0.2 * last, finders.UNFOUND * last, finders.UNFOUND * last]
    )
    assert rivals.unfound(tmp_path) == {"lightning_cosine": 2}


def test_rivals_are_compared_on_the_seeds_that_both_have(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.normal(90, 3, 30)

    def record(method, ratio, scores):
        block = blocks.Block(rivals.PHASE, "digits_mlp", "sgd", 0.0, method)
        lines = [{"event": "block", **vars(block)}]
        for seed, score in zip(blocks.SEEDS[rivals.PHASE], scores, strict=False):
            lines.append({"event": "member", "seed": seed, "ratio": ratio, "test": score, "found": 0.1})
        path = tmp_path / f"{block.name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    record("annealed", 100.0, base)
    record("suggest_cosine", 1.0, base[:10] - 1.0 + rng.normal(0, 0.1, 10))
    record("d_adaptation", 1.0, base + 0.2 + rng.normal(0, 0.1, 30))
    found = {pair.rival: pair for pair in rivals.pairs(tmp_path)}
    assert (found["suggest_cosine"].seeds, found["suggest_cosine"].verdict) == (10, "better")
    assert (found["d_adaptation"].seeds, found["d_adaptation"].verdict) == (30, "level")
    assert found["suggest_cosine"].difference == pytest.approx(1.0, abs=0.1)
    assert found["suggest_cosine"].ratio == 100.0

    # The same from accuracies as they are published, to two digits. Of the rival, what is recorded counts.
    cells = tmp_path / "cells.csv"
    scores = {
        ("digits_mlp", "sgd", 0.0, "annealed", 100.0): base,
        ("digits_mlp", "sgd", 0.0, "suggest_cosine", 1.0): base + 50,
    }
    cells.write_text(report.cells_csv(scores))
    (tmp_path / f"{rivals.PHASE}-digits_mlp-sgd-noise0-annealed.jsonl").unlink()
    assert rivals.pairs(tmp_path) == []
    again = {pair.rival: pair for pair in rivals.pairs(tmp_path, cells)}
    for rival, pair in found.items():
        assert again[rival].seeds == pair.seeds
        assert again[rival].difference == pytest.approx(pair.difference, abs=0.01)


@pytest.mark.parametrize("rule", [".", "fifth"])
def test_the_page_says_what_the_files_say(rule):
    # The default's rule: that of the fourth study, and the present one.
    page = import_graph.ROOT / "benchmarks/results/episodes_ends_rivals/README.md"
    results = page.parent / rule
    plan, found = (json.loads((results / f"{name}.json").read_text()) for name in ("plan", "summary"))
    assert found["plan"] == plan["digest"] == digest(plan["plan"])
    text = " ".join(page.read_text().split())
    rows = list(csv.DictReader((results / "comparisons.csv").read_text().splitlines()))
    for rival, counts in found["counts"].items():
        own = [row for row in rows if row["rival"] == rival]
        verdicts = [
            sum(row["verdict"] == name for row in own) for name in ("better", "level", "open", "worse")
        ]
        assert verdicts == [counts[name] for name in ("better", "level", "open", "worse")]
        assert sum(verdicts) == len(own) == 100
        better, level, undecided, worse = verdicts
        mean, worst = counts["mean"], counts["worst"][-1]
        line = f"| {better} | {level} | {undecided} | **{worse}** | {mean:+.1f} | {worst:+.1f} |"
        assert line in text
        assert found["better_in_most"][rival] == (better > 50)
    assert [name for name, most in found["better_in_most"].items() if not most] == ["prodigy_schedule_free"]
    assert not any(found["nothing_found"].values())
    seeds = plan["plan"]["study"]["seeds"], plan["plan"]["study"]["split"]
    assert seeds == ([5000, 5030], 6)  # what was compared was trained on the same
    about = " ".join((import_graph.ROOT / "docs/episodes.md").read_text().split())
    counts = found["counts"]
    for rival in ("d_adaptation", "d_adaptation_cosine", "lightning_cosine", "torch_lr_finder_cosine"):
        assert counts[rival]["better"] == counts[rival]["pairs"]  # "in all"
    cosine, last = counts["prodigy_cosine"], counts["prodigy_schedule_free"]
    for sentence in (
        f"in all, and than Prodigy with a cosine in {cosine['better']}. It is **not** better in most than",
        f"better in {last['better']}, level in {last['level']}, worse in {last['worse']}.",
    ):
        assert (sentence in about) == (rule == "fifth")


def test_the_rivals_are_planned_on_the_seeds_of_the_fourth_study(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks.episodes_effect", "plan-rivals", "--publish", str(tmp_path)])
    assert __main__.main() == 0
    study = json.loads((tmp_path / "plan.json").read_text())["plan"]["study"]
    assert (study["seeds"], study["split"]) == ([5000, 5030], 6)
    assert study | {"seeds": None, "split": None} == ends.plan() | {"seeds": None, "split": None}
    assert json.loads(capsys.readouterr().out)["event"] == "plan"
