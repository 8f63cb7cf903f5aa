"""Data that train in milliseconds, a tiny transformer on disk, and small files of real text."""

import gzip
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.task_data import StepCosts, TaskData
from hypernudge.experiments.training.trainer import Trainer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CPU = torch.device("cpu")


class Points:
    """Two noisy clusters in the plane, jittered by augmentation; no length."""

    def __init__(self, sizes=(("train", 37), ("validation", 20), ("test", 20))):
        generator = np.random.default_rng(0)
        self.labels, self.x = {}, {}
        for part, size in sizes:
            labels = generator.integers(0, 2, size)
            self.labels[part] = torch.from_numpy(labels)
            centres = generator.normal(size=(size, 2)) + 1.5 * labels[:, None]
            self.x[part] = torch.from_numpy(centres).float()

    def batch(self, part, rows, augmentation):
        x = self.x[part][rows]
        if augmentation is not None:
            x = x + torch.from_numpy(0.05 * augmentation.normal(size=tuple(x.shape))).float()
        return {"input": x}

    def length(self, part, rows):
        return 1

    def example(self, size, length):
        return {"input": torch.empty(size, 2, device="meta")}


def network(device="cpu"):
    with torch.device(device):
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def config_of(**changes):
    settings = {
        "task_name": "cifar100",
        "method_name": "Baseline",
        "control_mode": "baseline",
        "epochs": 3,
        "batch_size": 8,
        "lr": 0.02,
        "weight_decay": 0.01,
        "episode_length": 4,
    }
    return RunConfig(**{**settings, **changes})


def steered(mode="adaptive", **changes):
    names = {"adaptive": "AdaptiveScheduler", "random": "RandomScheduler"}
    arms = {"lr_candidates": (0.5, 1.0, 2.0), "noise_candidates": (0.0, 0.01)}
    return config_of(control_mode=mode, method_name=names[mode], **{**arms, **changes})


def trainer_of(config, **options):
    samples = Points()
    torch.manual_seed(0)
    model = network()
    costs = StepCosts(network("meta"), samples)
    return Trainer(config, TaskData("points", "mlp", samples, "0" * 64), model, costs, CPU, **options)


def tiny_bert(folder, words, hidden=32):
    """Write a randomly initialised BERT with a vocabulary of `words` to `folder`."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    settings = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
    )
    BertForSequenceClassification(settings).save_pretrained(folder)
    return folder


def real_sst2(folder, rows=96):
    """Copy the first rows of the real files, once as plain text and once packed."""
    folder.mkdir(parents=True)
    for part, limit in (("train", rows), ("dev", rows // 2)):
        with gzip.open(DATA / "sst2" / f"{part}.tsv.gz", "rt", encoding="utf-8") as file:
            text = "".join(line for _, line in zip(range(limit + 1), file, strict=False))
        if part == "train":
            (folder / "train.tsv").write_text(text, encoding="utf-8")
        else:
            with gzip.open(folder / "dev.tsv.gz", "wt", encoding="utf-8") as file:
                file.write(text)
    return folder


def common_words(path, count=300):
    text = path.read_text(encoding="utf-8").lower().split()
    return sorted(set(text), key=lambda word: (-text.count(word), word))[:count]


def events(captured):
    return [json.loads(line) for line in captured.splitlines() if line.startswith("{")]


TIMES = {"wall_clock_seconds", "epoch_wall_clock_seconds", "runtime_metrics", "provenance"}


def timeless(path):
    """Return a saved result without what a clock or the place of the run decides."""
    saved = json.loads(path.read_text())
    return {key: value for key, value in saved.items() if key not in TIMES}
