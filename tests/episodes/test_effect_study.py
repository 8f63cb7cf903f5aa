"""The study's batched training against real optimizers with real schedulers attached, member by member."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.episodes_effect import blocks, ends, networks, rewards, rules
from benchmarks.episodes_effect.methods import FIRST_RULE, METHODS, Crew, update_of
from benchmarks.episodes_effect.report import Comparison, compare, tally
from benchmarks.episodes_effect.tasks import TASKS, batch_rows, noisy_labels
from benchmarks.episodes_effect.training import train
from hypernudge.episodes import Alignment, AnnealedAlignment, EpisodicScheduler
from hypernudge.episodes.controllers.annealed_alignment import SEARCHER
from hypernudge.results.digests import digest
from scripts import import_graph

STEPS = 70
SEEDS, RATES = (3, 4), (0.003, 0.3)


def study(method, optimizer, noise=0.4, dtype=torch.float64, name="digits_mlp"):
    task = dataclasses.replace(TASKS[name], steps=STEPS)
    crew = Crew(optimizer, SEEDS, RATES, STEPS)
    seen = []
    outcome = train(
        task,
        task.data(0),
        seeds=SEEDS,
        rates=RATES,
        noise=noise,
        update=update_of(method, crew),
        rule=METHODS[method].rule(crew),
        dtype=dtype,
        watch=lambda step, multipliers: seen.append(np.array(multipliers)),
    )
    return np.stack(seen, axis=1), outcome


def by_hand(optimizer, seed, rate, attach, noise=0.4, name="digits_mlp"):
    """Train one member the ordinary way; return the multipliers of its steps and its test accuracy."""
    task = dataclasses.replace(TASKS[name], steps=STEPS)
    data = task.data(0)
    network = task.network(data).double()
    network.load_state_dict(task.init(data, seed, torch.float64))
    kinds = {"sgd": lambda p: torch.optim.SGD(p, lr=rate, momentum=0.9)}
    kinds["adamw"] = lambda p: torch.optim.AdamW(p, lr=rate)
    built = kinds[optimizer](network.parameters())
    episodes = attach(built)
    seen = []
    built.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"] / rate))
    labels = noisy_labels(data.train.y, data.classes, noise, seed)
    for rows in batch_rows(len(labels), task.batch, STEPS, [seed])[:, 0]:
        built.zero_grad()
        loss = nn.functional.cross_entropy(network(data.train.x[rows].double()), labels[rows])
        loss.backward()
        if episodes is not None:
            episodes.observe(loss)
        built.step()
    hits = network(data.test.x.double()).argmax(1) == data.test.y
    return seen, 100 * hits.double().mean().item()


ATTACH = {
    "plain": lambda seed, o: None,
    "alignment": lambda seed, o: EpisodicScheduler(o, controller=Alignment(**FIRST_RULE)),
    "default": lambda seed, o: EpisodicScheduler(o),
    # The study's trainings are long enough for the whole warm-up; these are not.
    "annealed": lambda seed, o: EpisodicScheduler(
        o, controller=AnnealedAlignment(STEPS, alignment=Alignment(**SEARCHER), anneal="linear")
    ),
    "compat": lambda seed, o: EpisodicScheduler(o, controller=rules.compat_controller(seed)),
    "bandit": lambda seed, o: EpisodicScheduler(o, controller=rules.bandit_of_ours(seed)),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("method", ATTACH)
@pytest.mark.filterwarnings("ignore:the search for a rate ended")
def test_members_are_trained_as_the_library_trains_one(method, optimizer):
    multipliers, outcome = study(method, optimizer)
    changed = 0
    for member, (rate, seed) in enumerate((r, s) for r in RATES for s in SEEDS):
        seen, accuracy = by_hand(optimizer, seed, rate, lambda o, s=seed: ATTACH[method](s, o))
        assert multipliers[member] == pytest.approx(seen, rel=1e-9)
        assert outcome.test[member] == pytest.approx(accuracy, abs=1e-9)
        changed += len(set(multipliers[member])) > 2
    assert method == "plain" or changed > 1


def test_the_network_of_characters_is_an_embedding_and_a_chain():
    task = TASKS["characters"]
    try:
        data = task.data(0)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    members = [task.init(data, seed, torch.float64) for seed in SEEDS]
    x = data.train.x[:5]
    stacked = {name: torch.stack([m[name] for m in members]).requires_grad_() for name in members[0]}
    together = task.forward(data)(stacked, x.mT.unsqueeze(0))
    together.pow(2).sum().backward()
    for index, member in enumerate(members):
        network = task.network(data).double()
        table = member.pop("embedding").requires_grad_()
        network.load_state_dict(member)
        logits = network(table[x].flatten(1))
        torch.testing.assert_close(together[index].mT, logits)
        logits.pow(2).sum().backward()
        torch.testing.assert_close(stacked["embedding"].grad[index], table.grad)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(stacked[name].grad[index], parameter.grad)


@pytest.mark.parametrize("method", ["schedule_free", "prodigy"])
def test_packages_run_on_rows(method):
    pytest.importorskip(
        {"schedule_free": "schedulefree", "prodigy": "prodigyopt"}[method], reason="extra `peers`"
    )
    _, together = study(method, "adamw", noise=0.0)
    task = dataclasses.replace(TASKS["digits_mlp"], steps=STEPS)
    crew = Crew("adamw", SEEDS[:1], RATES[1:], STEPS)
    alone = train(
        task,
        task.data(0),
        seeds=crew.seeds,
        rates=crew.rates,
        noise=0.0,
        update=update_of(method, crew),
        rule=METHODS[method].rule(crew),
        dtype=torch.float64,
    )
    assert alone.test[0] == pytest.approx(together.test[2])
    assert alone.test[0] > 50


def test_symmetric_noise_changes_its_share_and_never_to_the_same_label():
    labels = torch.arange(1000) % 10
    noisy = noisy_labels(labels, 10, 0.4, seed=1)
    assert (noisy != labels).sum() == 400
    assert set(noisy.tolist()) == set(range(10))
    assert torch.equal(noisy, noisy_labels(labels, 10, 0.4, seed=1))


def test_random_arms_warm_up_first_and_the_walk_has_no_drift():
    walk = METHODS["random_walk"].rule(Crew("sgd", tuple(range(400)), (1.0,), 1000))
    seen = np.stack([np.array(walk.before(step)) for step in range(328)])
    assert (seen[:4] == 0.01).all()
    assert (seen[4:8] == 0.02).all()
    assert (np.diff(seen[:28].mean(1)) >= 0).all()
    logs = np.log(seen[-1])
    assert abs(logs.mean()) < 4 * logs.std() / 20


def test_blocks_are_recorded_once_and_resume(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "digits_mlp", dataclasses.replace(TASKS["digits_mlp"], steps=5))
    monkeypatch.setitem(blocks.GRIDS, "sgd", (0.01, 0.1))
    tune = blocks.Block("tune", "digits_mlp", "sgd", 0.0, "plain")
    confirm = dataclasses.replace(tune, phase="confirm", method="default")
    with pytest.raises(FileNotFoundError):
        blocks.run(confirm, tmp_path, (1.0,))
    assert blocks.run(tune, tmp_path, ()) > 0
    assert blocks.run(tune, tmp_path, ()) == 0
    blocks.run(confirm, tmp_path, (0.1, 1.0))
    (header,), members = blocks.read(tmp_path / f"{confirm.name}.jsonl")
    assert header["method"] == "default"
    assert len(members) == 60
    assert {m["rate"] for m in members if m["ratio"] == 1.0} == {blocks.right_rate(tmp_path, tune, "plain")}
    assert blocks.run(confirm, tmp_path, (1.0, 0.1)) == 0
    assert blocks.run(confirm, tmp_path, (1.0, 10.0)) > 0  # what is missing is added, nothing is run again
    headers, more = blocks.read(tmp_path / f"{confirm.name}.jsonl")
    assert len(headers) == 2
    assert more[:60] == members
    assert {member["ratio"] for member in more[60:]} == {10.0}
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".jsonl"]


def test_the_page_says_what_the_result_files_say():
    results = import_graph.ROOT / "benchmarks/results/episodes_effect"
    counts = json.loads((results / "summary.json").read_text())["verdicts"]
    wrong, right = (counts[f"{rate} rate, against plain"] for rate in ("wrong", "right"))
    walk, bandit = (counts[f"wrong rate, against {name}"] for name in ("random_walk", "compat"))
    assert walk["better"] == bandit["better"] == sum(walk.values())
    at_their_own = [counts[f"right rate, against {name} at its own"] for name in ("cosine", "schedule_free")]
    rows = (results / "comparisons.csv").read_text().splitlines()
    (lost,) = [row for row in csv.DictReader(rows) if is_lost(row)]
    points = round(-float(lost["difference"]))
    cells = sum(right.values())
    page = " ".join((import_graph.ROOT / "docs/episodes.md").read_text().split())
    for sentence in (
        f"in {wrong['better']} of {sum(wrong.values())} cells (the other is open)",
        f"published bandit in all {sum(walk.values())} (30 paired seeds a cell",
        f"plain training in {right['better']} of {cells} cells, equivalent in {right['equivalent']}, "
        f"open in {right['open']} and **worse in {right['worse']}, by {points} points** (a table",
        f"worse in {at_their_own[0]['worse']} and in {at_their_own[1]['worse']} of {cells}.",
    ):
        assert sentence in page


def test_the_page_says_what_the_files_on_trainings_of_known_length_say():
    results = import_graph.ROOT / "benchmarks/results/episodes_ends"
    summaries = []
    for folder in (results, *(results / name for name in ("third", "fourth", "fifth"))):
        summaries.append(json.loads((folder / "summary.json").read_text()))
        plan = json.loads((folder / "plan.json").read_text())
        assert summaries[-1]["plan"] == plan["digest"] == digest(plan["plan"])
    before, *_, now = summaries
    assert now["plan"] == digest(ends.plan())  # the rule as it is
    cosine, schedule_free = (now["counts"][name] for name in ("cosine", "schedule_free"))
    default, seeds = before["counts"]["default"], blocks.SEEDS["ends"]
    page = " ".join((import_graph.ROOT / "docs/episodes.md").read_text().split())
    for sentence in (
        f"level or better in {cosine['better'] + cosine['level']} of {cosine['pairs']} pairs of a cell and a "
        f"base rate, and worse in {cosine['worse']}; {cosine['open']} are open, with {len(seeds)} seeds a "
        "pair.",
        f"the difference is {cosine['mean']:+.1f} points, and its worst pair loses "
        f"{-cosine['worst'][-1]:.1f}.",
        f"level or better in {schedule_free['better'] + schedule_free['level']} and worse in "
        f"{schedule_free['worse']}, and better than Prodigy in {now['counts']['prodigy']['better']}.",
        f"with a worst pair of {before['counts']['cosine']['worst'][-1]:.0f} points, was already better than "
        f"the default without an end in {default['better']} of {default['pairs']} pairs, level in "
        f"{default['level']}, worse in {default['worse']}.",
    ):
        assert sentence in page
    text = " ".join((results / "README.md").read_text().split())
    for name, title in (("cosine", "cosine"), ("schedule_free", "Schedule-Free"), ("prodigy", "Prodigy")):
        row = now["counts"][name]
        counts = " | ".join(str(row[key]) for key in ("pairs", "better", "level", "open"))
        where = "" if name == "prodigy" else " at its tuned rate"
        assert f"| {title}{where} | {counts} | **{row['worse']}** | {row['mean']:+.1f} |" in text


def is_lost(row):
    return row["family"] == "right rate, against plain" and row["verdict"] == "worse"


def test_verdicts():
    rng = np.random.default_rng(0)
    base = rng.normal(90, 2, 30)
    cell = ("digits_mlp", "sgd", 0.0)
    scores = {
        (*cell, "plain", 0.01): base - 20,
        (*cell, "default", 0.01): base,
        (*cell, "plain", 1.0): base + rng.normal(0, 0.2, 30),
        (*cell, "default", 1.0): base,
    }
    comparisons = compare(scores)
    assert tally(comparisons) == {
        "wrong rate, against plain": {"better": 1, "equivalent": 0, "open": 0, "worse": 0},
        "right rate, against plain": {"better": 0, "equivalent": 1, "open": 0, "worse": 0},
    }
    assert comparisons[0].difference == pytest.approx(20)
    worse = Comparison("", cell, 1.0, "plain", -0.2, -0.3, -0.1, 0.001, 0.01)
    assert worse.verdict == "worse"
    assert dataclasses.replace(worse, adjusted=0.2, low=-0.7).verdict == "open"
    json.dumps(dataclasses.asdict(worse))


def test_what_is_planned_has_a_digest_and_another_plan_is_not_overwritten(tmp_path):
    first = ends.write_plan(tmp_path)
    assert ends.write_plan(tmp_path) == first == digest(ends.plan())
    path = tmp_path / "plan.json"
    path.write_text(
        path.read_text().replace('"harm":1.5', '"harm":9.5').replace('"harm": 1.5', '"harm": 9.5')
    )
    with pytest.raises(ValueError, match="must be the plan of this code"):
        ends.write_plan(tmp_path)


def test_the_criteria_of_trainings_of_known_length():
    rng = np.random.default_rng(0)
    base = rng.normal(90, 2, 20)
    jitter = rng.normal(0, 0.2, 20)
    harmed = ("adult_mlp", "adamw", 0.4)
    scores = {
        (*harmed, "annealed", 0.01): base - 1.6 + jitter,
        (*harmed, "annealed", 1.0): base + jitter,
        (*harmed, "cosine", 1.0): base,
        (*harmed, "schedule_free", 1.0): base + 1.0,
        (*harmed, "prodigy", 1.0): base - 1.0,
        (*harmed, "plain", 1.0): base,
    }
    found = ends.pairs(scores)
    verdicts = {(p.rival, p.ratio): p.verdict for p in found}
    assert verdicts == {
        ("cosine", 0.01): "worse",
        ("cosine", 1.0): "level",
        ("schedule_free", 0.01): "worse",
        ("schedule_free", 1.0): "worse",
        ("prodigy", 0.01): "worse",
        ("prodigy", 1.0): "better",
        ("plain", 1.0): "level",
    }
    judged = ends.judge(found)
    expected = {"cosine": False, "schedule_free": False, "prodigy": False, "harm": False, "harmed_cell": True}
    assert judged["held"] == expected
    assert judged["counts"]["cosine"]["worst"][:4] == [*harmed, 0.01]
    assert judged["pairs_planned"] == 100
    mild = [dataclasses.replace(pair, difference=0.0, low=-0.1, high=0.1) for pair in found]
    assert ends.judge(mild)["held"] == {**expected, "cosine": True, "schedule_free": True, "harm": True}


def test_the_power_of_rewards_is_what_was_put_in():
    rng = np.random.default_rng(0)
    arms = rng.integers(0, 3, (200, 40))
    values = rng.normal(0.0, 2.0, arms.shape) + 1.0 * (arms == 2)
    found = rewards.effect(arms, values, 2, 1)
    assert found["d"] == pytest.approx(0.5, abs=3 * found["error"])
    assert found["episodes"] == pytest.approx(rewards.NEEDED / found["d"] ** 2, rel=0.01)
    assert round(rewards.NEEDED, 2) == 15.7  # the usual table: 63 in each group for d = .5


def test_rewards_are_of_the_episode_whose_arm_it_was():
    recorded = rewards.RecordedArms([0, 1])
    steps = 4 * rules.EPISODE
    for step in range(steps):
        multipliers = recorded.before(step)
        # The cosine seen at a step is that of the update before it: here it tells the episode of that update.
        cosines = np.full(2, np.nan if step == 0 else float((step - 1) // rules.EPISODE))
        recorded.after(np.full(2, 2.0 ** (-step / rules.EPISODE)), rules.Signals(cosines))
        assert set(multipliers) <= set(rules.RATES)
    arms, found = recorded.rewards()
    assert arms.shape == (2, 2)
    assert found["alignment"].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert np.ptp(found["loss"]) < 1e-6 and found["loss"][0, 0] > 0.1
    assert found["paired"] == pytest.approx(np.zeros((2, 2)), abs=1e-6)
    assert found["detrended"] == pytest.approx(np.zeros((2, 2)), abs=1e-12)


def test_the_page_says_what_the_power_analysis_found():
    results = import_graph.ROOT / "benchmarks/results/episodes_effect"
    found = json.loads((results / "rewards.json").read_text())
    text = " ".join((results / "README.md").read_text().split())
    for name, row in found["summary"].items():
        assert row == rewards.summarise(found["cells"], name)
        right, counted = row["prefers_the_better_arm"]
        median = f"{round(row['median_episodes_of_each_arm']):,}"
        assert f"| {median} | {row['decided_within_one_training']} of 40 | {right} of {counted} |" in text


def test_on_real_networks_the_tuning_decides_the_rates_and_differences_are_paired():
    def row(method, rate, ratio, seed, score):
        scores = {"validation": score, "test": score}
        return {"task": "resnet", "method": method, "rate": rate, "ratio": ratio, "seed": seed, **scores}

    rows = []
    for method, rate, ratio, seed in networks.runs("resnet", [1, 2], rows):
        score = 10 * seed - abs(np.log10(rate / 0.3)) + 1.0 * (method == "annealed")
        rows.append(row(method, rate, ratio, seed, np.nan if rate == 1.0 and ratio == 0 else score))
    grid, rest = rows[: len(networks.GRIDS["resnet"])], rows[len(networks.GRIDS["resnet"]) :]
    assert [r["rate"] for r in grid] == list(networks.GRIDS["resnet"])
    assert {r["rate"] for r in rest if r["method"] == "cosine"} == {0.3}
    assert len(rest) == 2 * (1 + len(networks.RATIOS))
    found = networks.summary(rows)["resnet"]
    assert found["cosine_rate"] == 0.3 and found["cosine"] == [10.0, 20.0]
    assert found["difference"]["x1"] == [1.0, 1.0]
    assert found["difference"]["x30"] == pytest.approx([1 - np.log10(30)] * 2, abs=1e-3)
    distances = [abs(np.log10(ratio)) for ratio in networks.RATIOS]
    assert found["mean"]["x30"] == pytest.approx(1 - np.log10(30), abs=1e-3) and found["mean"]["x1"] == 1.0
    assert found["mean"]["all"] == pytest.approx(1 - np.mean(distances), abs=1e-3)
    assert networks.summary([r for r in rows if r["method"] == "cosine"]) == {}


def test_the_pages_say_what_the_rows_on_real_networks_say():
    results = import_graph.ROOT / "benchmarks/results/episodes_ends"
    rows = {
        name: [json.loads(line) for line in (results / name).read_text().splitlines()]
        for name in ("networks/rows.jsonl", "fifth/networks.jsonl")
    }
    before, now = (networks.summary(own) for own in rows.values())
    assert [row for row in rows["networks/rows.jsonl"] if row["seed"] == networks.TUNING_SEED] == [
        row for row in rows["fifth/networks.jsonl"] if row["seed"] == networks.TUNING_SEED
    ]
    text = (results / "README.md").read_text()
    for name, digits in (("resnet", 1), ("lm", 2)):
        means = [f"{found[name]['mean']['all']:+.{digits}f}" for found in (now, before)]
        short = [mean if digits == 1 else mean.replace("0.", ".") for mean in means]
        assert f"| **{short[0]}** | {short[1]} |" in text
    page = " ".join((import_graph.ROOT / "docs/episodes.md").read_text().split())
    assert f"{now['lm']['mean']['all']:+.2f}".replace("0.", ".") + " nats on average" in page
    resnet = (-found["resnet"]["mean"]["all"] for found in (now, before))
    assert "worse by {:.1f} points on average ({:.1f} with the rule before)".format(*resnet) in page
