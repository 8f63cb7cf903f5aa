"""The tasks: small networks of the usual kinds, each with the optimizer and schedule that people give it.

Constants of `hypernudge.suggest` were decided on `DEVELOPMENT`; `CONFIRMATION` has other data and seeds.
"""

from __future__ import annotations

import csv
import functools
import gzip
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from benchmarks.data import DATA, data_file
from hypernudge.random import stream
from hypernudge.tasks.language.transformer import TransformerLM
from hypernudge.tasks.vision.images import read_part
from hypernudge.tasks.vision.resnet import CifarResNet
from hypernudge.tasks.vision.vit import VisionTransformer

Data = tuple[Tensor, Tensor, Tensor, Tensor]  # training inputs and targets, held-out inputs and targets
Optimizers = Callable[[Any, float], torch.optim.Optimizer]


@dataclass(frozen=True)
class Problem:
    """A network, its data, optimizer, schedule and length of training in steps."""

    name: str
    model: Callable[[int, int], nn.Module]  # of the numbers of inputs and outputs
    data: Callable[[], Data]
    optimizer: Optimizers
    rates: tuple[float, ...]
    loss: Callable[[nn.Module, Any], Tensor]
    schedule: str = "constant"
    steps: int = 600
    batch_size: int = 64

    def build(self, seed: int) -> nn.Module:
        """Return the network, drawn under a seed."""
        torch.manual_seed(seed)
        x, y = self.data()[:2]
        return self.model(x.shape[-1], 1 if y.is_floating_point() else int(y.max()) + 1)


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    """Classification, or the next token at every place."""
    return F.cross_entropy(model(batch[0]).flatten(0, -2), batch[1].flatten())


def squares(model: nn.Module, batch: Any) -> Tensor:
    """Regression."""
    return F.mse_loss(model(batch[0])[:, 0], batch[1])


def sgd(momentum: float = 0.9, nesterov: bool = False) -> Optimizers:
    """Return how SGD is built."""
    return lambda params, lr: torch.optim.SGD(params, lr, momentum=momentum, nesterov=nesterov)


def adam(params: Any, lr: float) -> torch.optim.Optimizer:
    """Build Adam."""
    return torch.optim.Adam(params, lr)


def adamw(params: Any, lr: float) -> torch.optim.Optimizer:
    """Build AdamW."""
    return torch.optim.AdamW(params, lr, weight_decay=0.01)


# Data


def split(x: Tensor, y: Tensor, standardise: bool, held_out: int = 1000) -> Data:
    """Shuffle and split; standardise by the training part."""
    order = torch.from_numpy(stream(0, "suggest", len(x)).permutation(len(x)))
    x, y = x[order], y[order]
    held_out = min(held_out, len(x) // 4)
    x_train, x_held = x[held_out:], x[:held_out]
    if standardise:
        mean, std = x_train.mean(0), x_train.std(0).clamp(min=1e-6)
        x_train, x_held = (x_train - mean) / std, (x_held - mean) / std
    return x_train, y[held_out:], x_held, y[:held_out]


@functools.cache
def table(
    *parts: str, label: int = -1, header: bool = True, standardise: bool = True, rows: int = 8000
) -> Data:
    """Read a table of classes; text columns are one-hot encoded."""
    with gzip.open(data_file(*parts), "rt") as file:
        lines = [row for row in csv.reader(file, skipinitialspace=True) if row][header:][:rows]
    columns = list(zip(*lines, strict=True))
    classes = sorted(set(columns.pop(label % len(columns))))
    y = torch.tensor([classes.index(row[label]) for row in lines])
    return split(torch.from_numpy(np.concatenate([encoded(c) for c in columns], 1)), y, standardise)


def encoded(column: tuple[str, ...]) -> np.ndarray:
    """Return a column of a table as float32 `(rows, width)`."""
    try:
        return np.array(column, dtype=np.float32)[:, None]
    except ValueError:
        values, codes = np.unique(column, return_inverse=True)
        return np.eye(len(values), dtype=np.float32)[codes]


@functools.cache
def regression(name: str, standardise: bool) -> Data:
    """Read a table whose last column, standardised, is to be predicted."""
    with gzip.open(data_file("tabular_reg", name, "data.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32, max_rows=8000)
    y = torch.from_numpy((rows[:, -1] - rows[:, -1].mean()) / rows[:, -1].std())
    return split(torch.from_numpy(rows[:, :-1].copy()), y, standardise)


@functools.cache
def digits(shape: tuple[int, ...], scale: float) -> Data:
    """Return scikit-learn's digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    inputs = torch.from_numpy(x.astype(np.float32)).reshape(-1, *shape) / scale
    return split(inputs, torch.from_numpy(y), False)


@functools.cache
def cifar() -> Data:
    """Return 6,000 images of CIFAR-10 at 16 by 16 pixels."""
    images = read_part("cifar10", "train", folder=DATA / "cifar10_jpeg")
    x, y = images.take(stream(0, "suggest cifar").permutation(len(images))[:6000])
    x = F.avg_pool2d(x.permute(0, 3, 1, 2).float() / 255.0, 2)
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    return split(x, y, False)


@functools.cache
def text(*parts: str, length: int = 32) -> Data:
    """Return windows of a text, character by character; the 64 most frequent, the others are one."""
    with gzip.open(data_file(*parts), "rt") as file:
        read = file.read()[:400_000]
    common = sorted(set(read), key=lambda c: (-read.count(c), c))[:64]
    code = {character: number for number, character in enumerate(common)}
    codes = torch.tensor([code.get(character, 64) for character in read])
    windows = codes[: len(codes) // (length + 1) * (length + 1)].reshape(-1, length + 1)
    return split(windows[:, :-1].contiguous(), windows[:, 1:].contiguous(), False)


@functools.cache
def texts_of_classes(*parts: str, delimiter: str = ",", words: int = 4000, length: int = 32) -> Data:
    """Return numbers of the first words of 5,000 texts, 0 where one is shorter or the word rare; classes."""
    with gzip.open(data_file(*parts), "rt") as file:
        rows = [row for row in csv.reader(file, delimiter=delimiter) if row[1].isdecimal()][:5000]
    texts = [row[0].lower().split() for row in rows]
    values, counts = np.unique([word for words_ in texts for word in words_], return_counts=True)
    code = {word: k + 1 for k, word in enumerate(values[np.argsort(-counts, kind="stable")][: words - 1])}
    x = torch.zeros(len(texts), length, dtype=torch.long)
    for row, words_ in enumerate(texts):
        known = [code.get(word, 0) for word in words_[:length]]
        x[row, : len(known)] = torch.tensor(known)
    return split(x, torch.tensor([int(row[1]) for row in rows]), False)


# Networks


def mlp(*hidden: int) -> Callable[[int, int], nn.Module]:
    """Return what builds a perceptron."""

    def build(inputs: int, outputs: int) -> nn.Module:
        layers: list[nn.Module] = []
        widths = (inputs, *hidden)
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], outputs))

    return build


def cnn(channels: int, width: int) -> Callable[[int, int], nn.Module]:
    """Return what builds two convolutions and a linear layer."""
    return lambda side, outputs: nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (side // 2) ** 2, outputs),
    )


class BagOfWords(nn.Module):
    """The mean of the words' vectors, and a perceptron."""

    def __init__(self, words: int, width: int, outputs: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map words `(n, length)` to logits."""
        logits: Tensor = self.head(self.words(x))
        return logits


def resnet(width: int, channels: int) -> Callable[[int, int], nn.Module]:
    """Return what builds a ResNet-8 with BatchNorm."""
    return lambda _, outputs: CifarResNet(8, outputs, width, channels)


def vit(side: int, patch: int, width: int, depth: int, channels: int = 3) -> Callable[[int, int], nn.Module]:
    """Return what builds a vision transformer."""
    return lambda _, n: VisionTransformer(n, side, patch, width, depth, 4, channels=channels)


def lm(_: int, outputs: int) -> nn.Module:
    """Build a language model."""
    return TransformerLM((32,), outputs, 64, 2, 4)


def bag_of_words(_: int, outputs: int) -> nn.Module:
    """Build a classifier of texts."""
    return BagOfWords(4000, 32, outputs)


def rates(low: float, high: float) -> tuple[float, ...]:
    """Return a grid, half a decade apart, from `log10` of its ends."""
    return tuple(10.0 ** (k / 2) for k in range(round(2 * low), round(2 * high) + 1))


letter = functools.partial(table, "tabular_cls", "letter.csv.gz", label=0)
spambase = functools.partial(table, "tabular_cls", "spambase.csv.gz")
adult = functools.partial(table, "tabular_cls", "adult-train.csv.gz", header=False)
concrete = functools.partial(regression, "concrete", standardise=False)
bike = functools.partial(regression, "bike", standardise=False)
elevators = functools.partial(regression, "elevators", standardise=True)
news = functools.partial(texts_of_classes, "ag_news", "train_hf5000.csv.gz")
sst2 = functools.partial(texts_of_classes, "sst2", "train.tsv.gz", delimiter="\t")
shoppers = functools.partial(table, "tabular_cls", "online_shoppers_intention.csv.gz")
raw_digits = functools.partial(digits, (64,), 1.0)
flat_digits = functools.partial(digits, (64,), 16.0)
images = functools.partial(digits, (1, 8, 8), 16.0)
wikitext = functools.partial(text, "wikitext2", "valid.txt.gz")
shakespeare = functools.partial(text, "tinyshakespeare", "input.txt.gz")

DEVELOPMENT = (
    Problem("letter_mlp_sgd", mlp(64, 64), letter, sgd(), rates(-5, 0.5), cross_entropy),
    Problem(
        "digits_cnn_nesterov", cnn(1, 8), images, sgd(0.9, True), rates(-5, 0.5), cross_entropy, steps=400
    ),
    Problem("digits_mlp_adamw", mlp(64), flat_digits, adamw, rates(-5, 0), cross_entropy),
    Problem("concrete_raw_sgd", mlp(64), concrete, sgd(), rates(-8, -2.5), squares),
    Problem("elevators_mlp_adam", mlp(64, 64), elevators, adam, rates(-5, 0), squares),
    Problem("sst2_words_adamw", bag_of_words, sst2, adamw, rates(-4, -0.5), cross_entropy, steps=500),
    Problem("shoppers_mlp_adamw", mlp(64, 64), shoppers, adamw, rates(-4.5, -0.5), cross_entropy, steps=1000),
    Problem("digits_resnet_sgd", resnet(8, 1), images, sgd(), rates(-5, 0.5), cross_entropy, "cosine", 300),
    Problem(
        "digits_vit_adamw", vit(8, 2, 32, 3, 1), images, adamw, rates(-5, 0), cross_entropy, "cosine", 300
    ),
    Problem("wikitext_lm_adamw", lm, wikitext, adamw, rates(-5, 0), cross_entropy, "cosine", 300, 16),
)
CONFIRMATION = (
    Problem("spambase_mlp_sgd", mlp(64), spambase, sgd(), rates(-3, 0.5), cross_entropy, steps=1000),
    Problem("adult_mlp_adamw", mlp(64, 64), adult, adamw, rates(-4.5, -0.5), cross_entropy, steps=1000),
    Problem("digits_raw_sgd", mlp(64), raw_digits, sgd(), rates(-5, -0.5), cross_entropy, steps=1000),
    Problem("bike_raw_adam", mlp(64, 64), bike, adam, rates(-4.5, -0.5), squares, steps=1000),
    Problem("news_words_adamw", bag_of_words, news, adamw, rates(-4, -0.5), cross_entropy, steps=500),
    Problem("cifar_cnn_adam", cnn(3, 16), cifar, adam, rates(-4, -1.5), cross_entropy, steps=250),
    Problem("cifar_resnet_sgd", resnet(8, 3), cifar, sgd(), rates(-2, 0.5), cross_entropy, "cosine", 250, 32),
    Problem(
        "cifar_resnet_adamw",
        resnet(8, 3),
        cifar,
        adamw,
        rates(-4, -1),
        cross_entropy,
        steps=250,
        batch_size=32,
    ),
    Problem(
        "cifar_vit_adamw", vit(16, 4, 48, 2), cifar, adamw, rates(-4, -1), cross_entropy, "cosine", 250, 32
    ),
    Problem("shakespeare_lm_adamw", lm, shakespeare, adamw, rates(-4, -1), cross_entropy, "cosine", 250, 8),
)
