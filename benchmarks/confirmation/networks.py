"""The two larger tasks of the confirmation study, as its sealed cells were computed: not to be changed.

Each is a pure loss, by hand: a residual network whose BatchNorm cohorts can train, and a small Transformer.
The library's own networks and `ModuleTask` serve everything else; their sums round in another way.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call

from hypernudge.optimizers import Params
from hypernudge.random import stream, torch_stream
from hypernudge.space import Real, SearchSpace
from hypernudge.task import Batch, GradientTask, Split
from hypernudge.tasks.module.seeded import seeded
from hypernudge.tasks.vision.images import read_part
from hypernudge.tasks.vision.resnet import CifarResNet, ResidualBlock, resnet20, subsampled

SPACE = SearchSpace(
    [
        Real("lr", 1e-3, 1e-1, log=True),
        Real("momentum", 0.0, 0.9),
        Real("weight_decay", 1e-5, 1e-2, log=True),
        Real("label_smoothing", 0.0, 0.3),
    ]
)


M = TypeVar("M", bound=nn.Module)
Images = tuple[Tensor, Tensor]  # (n, 3, 32, 32) and labels (n,)


def cifar10(data_dir: Path, n: int = 2000, part: str = "test") -> Images:
    """Return `n` images of a part of CIFAR-10, values in [0, 1], and labels.

    Raises:
        InvalidArgumentError: If the files, or what reads them, are missing.
    """
    images = read_part("cifar10", part, folder=data_dir / "cifar10_jpeg")
    x, labels = images.take(stream(0, "cifar10").permutation(len(images))[:n])
    return x.permute(0, 3, 1, 2).float() / 255.0, labels


def standardised(x: Tensor, by: Tensor) -> Tensor:
    """Return images `x` with mean 0 and standard deviation 1 in each channel of the images `by`."""
    return (x - by.mean((0, 2, 3), keepdim=True)) / by.std((0, 2, 3), keepdim=True)


def built(make: Callable[[], M]) -> M:
    """Return what `make` builds, with the same values in every process.

    A module draws its vectors (biases) when it is made, from PyTorch's global generator, which begins every
    process elsewhere; `drawn` keeps them.
    """
    with seeded(0):
        return make()


def drawn(module: nn.Module, seed: int) -> Params:
    """Return the module's parameters with matrices drawn from a private stream."""
    generator = torch_stream(seed, "init")
    params = {}
    for name, value in module.named_parameters():
        if value.dim() > 1:
            bound = value[0].numel() ** -0.5
            params[name] = (2.0 * torch.rand(value.shape, generator=generator) - 1.0) * bound
        else:
            params[name] = value.detach().clone()
    return params


class ResNetTask(GradientTask):
    """ResNet-20 on CIFAR-10; BatchNorm's running statistics are buffers of the member.

    Without `held_out` the first 64 images are, for both splits.
    """

    name, space, batch_size, steps_per_unit = "resnet20", SPACE, 32, 2

    def __init__(
        self,
        images: Images,
        module: CifarResNet | None = None,
        held_out: Mapping[Split, Images] | None = None,
    ) -> None:
        x, y = images
        if held_out is None:
            held_out = dict.fromkeys(("validation", "test"), (x[:64], y[:64]))
            x, y = x[64:], y[64:]
        self.x, self.y, self.held_out = x, y, held_out
        self.module = built(resnet20) if module is None else module
        statistics = {n: v for n, v in self.module.named_buffers() if "running" in n}
        self.statistics, self.buffers = statistics, tuple(statistics)

    def init(self, seed: int) -> Params:
        return {**drawn(self.module, seed), **{n: v.clone() for n, v in self.statistics.items()}}

    def batch(self, seed: int, step: int) -> Batch:
        rows = torch.randint(0, len(self.x), (self.batch_size,), generator=torch_stream(seed, "rows", step))
        return {"x": self.x[rows], "y": self.y[rows]}

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        return self.loss_and_buffers(params, batch, hp)[0]

    def loss_and_buffers(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> tuple[Tensor, Params]:
        statistics: Params = {}
        logits = self._forward(params, batch["x"], statistics)
        new = {n: 0.9 * params[n] + 0.1 * v for n, v in statistics.items() if n in params}
        return smoothed(logits, batch["y"], hp["label_smoothing"]), new

    def score(self, params: Params, split: Split) -> float:
        x, y = self.held_out[split]
        return (self._forward(params, x, None).argmax(-1) == y).double().mean().item()

    def _forward(self, p: Params, x: Tensor, statistics: Params | None) -> Tensor:
        def normed(name: str, x: Tensor) -> Tensor:
            weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
            mean_name, var_name = f"{name}.running_mean", f"{name}.running_var"
            if statistics is None:
                return F.batch_norm(x, p[mean_name], p[var_name], weight, bias)
            out, mean, inverse = torch.native_batch_norm(x, weight, bias, None, None, True, 0.1, 1e-5)
            n = x.numel() // x.shape[1]
            statistics[mean_name] = mean.detach()
            statistics[var_name] = (inverse.detach() ** -2 - 1e-5) * (n / (n - 1))
            return out

        x = F.relu(normed("bn", F.conv2d(x, p["conv.weight"], None, 1, 1)))
        for i, block in enumerate(self.module.blocks):
            assert isinstance(block, ResidualBlock)
            name = f"blocks.{i}"
            out = F.relu(normed(f"{name}.bn1", F.conv2d(x, p[f"{name}.conv1.weight"], None, block.stride, 1)))
            out = normed(f"{name}.bn2", F.conv2d(out, p[f"{name}.conv2.weight"], None, 1, 1))
            x = F.relu(out + subsampled(x, block.stride, block.extra))
        return F.linear(x.mean((2, 3)), p["head.weight"], p["head.bias"])


def smoothed(logits: Tensor, y: Tensor, smoothing: Any) -> Tensor:
    log_p = F.log_softmax(logits, -1)
    hit = -log_p.gather(-1, y.unsqueeze(-1)).mean()
    loss: Tensor = (1.0 - smoothing) * hit - smoothing * log_p.mean()
    return loss


class Transformer(nn.Module):
    """Two pre-norm blocks of width 64 with four heads, on characters."""

    def __init__(self, vocabulary: int, length: int, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "qkv": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width),
                    "up": nn.Linear(width, 4 * width),
                    "down": nn.Linear(4 * width, width),
                }
            )
            for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)
        self.register_buffer("mask", torch.full((length, length), -1e9).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, length = x.shape
        h = self.tokens(x) + self.places.weight
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            q, k, v = block["qkv"](block["norm1"](h)).view(n, length, 3, self.heads, -1).unbind(2)
            q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
            weight = (q @ k.mT * q.shape[-1] ** -0.5 + self.mask).softmax(-1)
            h = h + block["out"]((weight @ v).transpose(1, 2).reshape(n, length, -1))
            h = h + block["down"](F.gelu(block["up"](block["norm2"](h))))
        logits: Tensor = self.head(self.norm(h))
        return logits


class LanguageTask(GradientTask):
    """Next character on Tiny Shakespeare, or on a text that ships with Python where that is absent."""

    name, space, batch_size, steps_per_unit = "lm", SPACE, 8, 5
    metric, metric_range, length = "negative loss", (-10.0, 0.0), 32

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / "tinyshakespeare" / "input.txt.gz"
        text = gzip.decompress(path.read_bytes()) if path.is_file() else Path(gzip.__file__).read_bytes() * 4
        _, codes = np.unique(np.frombuffer(text, dtype=np.uint8), return_inverse=True)
        self.text = torch.from_numpy(codes.astype(np.int64))
        self.module = built(lambda: Transformer(int(codes.max()) + 1, self.length))

    def init(self, seed: int) -> Params:
        return drawn(self.module, seed)

    def batch(self, seed: int, step: int) -> Batch:
        end = len(self.text) - self.length - 1
        first = torch.randint(0, end, (self.batch_size, 1), generator=torch_stream(seed, "rows", step))
        windows = self.text[first + torch.arange(self.length + 1)]
        return {"x": windows[:, :-1], "y": windows[:, 1:]}

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        return smoothed(
            functional_call(self.module, params, (batch["x"],)), batch["y"], hp["label_smoothing"]
        )

    def score(self, params: Params, split: Split) -> float:
        return -float(
            self.loss(params, self.batch(-1 if split == "test" else -2, 0), {"label_smoothing": 0.0})
        )
