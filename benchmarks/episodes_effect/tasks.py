"""The tasks of the study: small networks on real data, many members trained as one batched computation.

Tensors of a batch carry the member first and the sample last, as `hypernudge.tasks.networks.batched` does.
Digits ships inside scikit-learn; the other data sets are files, looked for in `$HYPERNUDGE_DATA` and, failing
that, in `../shared/data` beside the repository.
"""

from __future__ import annotations

import functools
import gzip
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from benchmarks.data import data_file
from hypernudge.random import stream, torch_stream
from hypernudge.tasks.data.datasets import load_dataset, split_indices
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.networks.batched import BatchedChain, batched_chain

Params = dict[str, Tensor]

TEST_ROWS = 4000  # evaluating thousands of members on more would cost as much as training them
CONTEXT, EMBEDDING, HIDDEN = 6, 10, 56  # of the character model: under 8,192 parameters, so all are probed


@dataclass(frozen=True)
class Split:
    """Inputs and labels of one part; inputs `(n, *shape)` floats, or `(n,)` positions for text."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Data:
    """A data set in three parts, and how many classes and which sample shape it has."""

    train: Split
    validation: Split
    test: Split
    classes: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class EffectTask:
    """What is trained: data, network, batch size and number of steps.

    `network` is a chain of layers; `forward(params, x)` maps stacked parameters `(members, ...)` and inputs
    `(members or 1, ..., n)` to logits `(members, classes, n)`.
    """

    name: str
    load: Callable[[int], Data]
    model: str
    hidden: tuple[int, ...]
    batch: int
    steps: int

    def data(self, split_seed: int) -> Data:
        """Return the data set, split by `split_seed`."""
        return self.load(split_seed)

    def network(self, data: Data) -> nn.Module:
        """Return the network of one member."""
        if self.model == "characters":
            return build_network(
                {"name": "mlp", "hidden": list(self.hidden)}, (CONTEXT * EMBEDDING,), data.classes
            )
        option = "channels" if self.model == "cnn" else "hidden"
        return build_network({"name": self.model, option: list(self.hidden)}, data.shape, data.classes)

    def init(self, data: Data, seed: int, dtype: torch.dtype) -> Params:
        """Return one member's parameters: uniform within one over the root of the fan-in."""
        generator = torch_stream(seed, "init")
        shapes = {name: p.shape for name, p in self.network(data).named_parameters()}
        bound = 1.0
        params: Params = {}
        for name, shape in shapes.items():
            if name.endswith("weight"):
                bound = 1.0 / math.sqrt(math.prod(shape[1:]))
            params[name] = ((torch.rand(shape, generator=generator) * 2 - 1) * bound).to(dtype)
        if self.model == "characters":
            params["embedding"] = torch.randn(data.classes, EMBEDDING, generator=generator).to(dtype)
        return params

    def forward(self, data: Data) -> BatchedChain | Callable[[Params, Tensor], Tensor]:
        """Return the batched network: a chain, whose gradients are written by hand, or a function."""
        network = self.network(data)
        if self.model != "characters":
            chain = batched_chain(network)
            assert chain is not None  # every other network of the study is a chain of plain layers
            return chain
        weights = [name for name, _ in network.named_parameters() if name.endswith("weight")]

        def characters(params: Params, x: Tensor) -> Tensor:
            table = params["embedding"]
            members, size, width = table.shape
            x = x.expand(members, *x.shape[1:]).movedim(1, -1)  # (members, n, context)
            rows = x + size * torch.arange(members).view(-1, 1, 1)
            embedded = F.embedding(rows, table.reshape(members * size, width))
            out = embedded.flatten(2).mT
            for weight in weights:
                out = out if weight == weights[0] else out.relu()
                bias = params[weight.removesuffix("weight") + "bias"].unsqueeze(-1)
                out = torch.baddbmm(bias, params[weight], out)
            return out

        return characters


def member_inputs(split: Split, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs `(..., features, n)`, samples last, and labels of the samples `rows`, `(..., n)`."""
    return split.x[rows].movedim(rows.dim() - 1, -1), split.y[rows]


def batch_rows(n: int, batch: int, steps: int, seeds: Sequence[int]) -> Tensor:
    """Return the samples of every batch, `(steps, seeds, batch)`: whole epochs, the remainder dropped."""
    per_epoch = n // batch
    epochs = -(-steps // per_epoch)
    orders = []
    for seed in seeds:
        draws = [stream(seed, "order", epoch).permutation(n)[: per_epoch * batch] for epoch in range(epochs)]
        orders.append(np.concatenate(draws).reshape(-1, batch)[:steps])
    return torch.from_numpy(np.stack(orders, axis=1))


def noisy_labels(labels: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Return labels of which `round(share * n)` were replaced by another class, uniformly."""
    rng = random.Random(seed)
    order = list(range(len(labels)))
    rng.shuffle(order)
    changed = labels.tolist()
    for index in order[: round(share * len(labels))]:
        other = rng.randrange(classes - 1)
        changed[index] = other if other < changed[index] else other + 1
    return torch.tensor(changed)


def _tensors(x: np.ndarray, y: np.ndarray, parts: dict[str, np.ndarray], classes: int) -> Data:
    splits = {
        part: Split(torch.from_numpy(x[rows]).float(), torch.from_numpy(y[rows]).long())
        for part, rows in parts.items()
    }
    return Data(**splits, classes=classes, shape=tuple(x.shape[1:]))


@functools.cache
def _digits(split_seed: int) -> Data:
    dataset = load_dataset("digits", split_seed)
    parts = ("train", "validation", "test")
    splits = {
        part: Split(torch.from_numpy(dataset.x[part]).float(), torch.from_numpy(dataset.y[part]))
        for part in parts
    }
    return Data(**splits, classes=dataset.classes, shape=dataset.shape)


def _table(features: np.ndarray, labels: np.ndarray, split_seed: int) -> Data:
    parts = split_indices(len(labels), split_seed)
    parts = {part: rows if part == "train" else rows[:TEST_ROWS] for part, rows in parts.items()}
    mean, deviation = features[parts["train"]].mean(0), features[parts["train"]].std(0)
    scaled = (features - mean) / np.where(deviation > 0, deviation, 1.0)
    return _tensors(scaled, labels, parts, int(labels.max()) + 1)


@functools.cache
def _letter(split_seed: int) -> Data:
    frame = pd.read_csv(data_file("tabular_cls", "letter.csv.gz"))
    labels = np.array([ord(letter) - ord("A") for letter in frame["lettr"]], dtype=np.int64)
    return _table(frame.drop(columns="lettr").to_numpy(dtype=np.float64), labels, split_seed)


@functools.cache
def _adult(split_seed: int) -> Data:
    files = [data_file("tabular_cls", f"adult-{part}.csv.gz") for part in ("train", "test")]
    frame = pd.concat([pd.read_csv(file, header=None, skipinitialspace=True) for file in files])
    labels = frame[14].str.startswith(">50K").to_numpy(dtype=np.int64)
    features = pd.get_dummies(frame.drop(columns=14), dtype=float).to_numpy(dtype=np.float64)
    return _table(features, labels, split_seed)


@functools.cache
def _characters(split_seed: int) -> Data:
    """Positions in the text; a sample is `CONTEXT` characters and its label the next. Contiguous parts."""
    with gzip.open(data_file("tinyshakespeare", "input.txt.gz"), "rt") as file:
        text = file.read()
    alphabet = sorted(set(text))
    number = {letter: index for index, letter in enumerate(alphabet)}
    codes = torch.tensor([number[letter] for letter in text])
    windows, targets = codes.unfold(0, CONTEXT, 1)[:-1], codes[CONTEXT:]
    edges = {"train": (0.0, 0.05), "validation": (0.9, 0.95), "test": (0.95, 1.0)}
    parts = {}
    for part, (low, high) in edges.items():
        first, last = int(low * len(targets)), int(high * len(targets))
        rows = torch.arange(first, last)
        if part != "train":
            rows = rows[torch.from_numpy(stream(split_seed, part).permutation(len(rows))[:TEST_ROWS])]
        parts[part] = Split(windows[rows], targets[rows])
    return Data(**parts, classes=len(alphabet), shape=(CONTEXT,))


TASKS = {
    task.name: task
    for task in (
        EffectTask("digits_mlp", _digits, "mlp", (48,), 32, 400),
        EffectTask("digits_cnn", _digits, "cnn", (4, 8), 32, 400),
        EffectTask("letter_mlp", _letter, "mlp", (48,), 32, 600),
        EffectTask("adult_mlp", _adult, "mlp", (16,), 32, 400),
        EffectTask("characters", _characters, "characters", (HIDDEN,), 32, 400),
    )
}
