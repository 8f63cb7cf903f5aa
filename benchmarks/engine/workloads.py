"""Tasks of the engine's benchmarks, and the ordinary loops that they are compared with."""

from __future__ import annotations

import gzip
import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call

from hypernudge.engine.trajectory import Trajectory
from hypernudge.hypergradient.attention import twice_differentiable
from hypernudge.optimizers import Params
from hypernudge.random import Streams
from hypernudge.space import Real, SearchSpace
from hypernudge.task import Batch, GradientTask, Split
from hypernudge.tasks.builtin import supervised
from hypernudge.tasks.language.data import TokenPart
from hypernudge.tasks.language.tokenizers import train_tokenizer
from hypernudge.tasks.language.transformer import TransformerLM
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.module.mini_batches import MiniBatches
from hypernudge.tasks.module.seeded import seeded
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.networks.losses import cross_entropy
from hypernudge.tasks.supervised.augment import translate
from hypernudge.tasks.supervised.supervised import SupervisedTask
from hypernudge.tasks.vision.augment import standardised
from hypernudge.tasks.vision.images import load_images
from hypernudge.tasks.vision.resnet import resnet20

SPACE = SearchSpace(
    [
        Real("lr", 1e-3, 1e-1, log=True),
        Real("momentum", 0.0, 0.9),
        Real("weight_decay", 1e-5, 1e-2, log=True),
        Real("label_smoothing", 0.0, 0.3),
    ]
)
IMAGES, WINDOW = 2000, 32
AUGMENTATION = 0.5  # of the digits, in the ordinary loop
UNITS = 1_000_000  # more than are ever measured


@dataclass(frozen=True)
class Workload:
    """A task, and its ordinary loop: the module, and what reads a mini-batch of inputs and labels."""

    task: GradientTask
    module: nn.Module
    read: Callable[[int], tuple[Tensor, Tensor]]


def make_task(name: str, data_dir: Path, batch_size: int, device: str = "cpu", members: int = 1) -> Workload:
    """Return a task and its ordinary loop.

    Args:
        name: Of the task.
        data_dir: Holds the data.
        batch_size: Of the digits tasks.
        device: Where ResNet-20 is trained.
        members: Trials of ResNet-20 that are in memory at a time.

    Raises:
        InvalidArgumentError: The data are not there.
    """
    if name in ("digits_mlp", "digits_cnn"):
        model = {"name": "mlp", "hidden": [32]} if name == "digits_mlp" else {"name": "cnn"}
        digits = supervised("digits", model, batch_size=batch_size, steps_per_unit=40, label=name)
        network = build_network(model, digits.dataset.shape, digits.dataset.classes)
        return Workload(digits, network, partial(_digits, digits))
    if name == "lm":
        language = LanguageTask(data_dir)
        return Workload(language, language.built(0), partial(_language, language))
    return _images(data_dir, device, members)


def _digits(task: SupervisedTask, step: int) -> tuple[Tensor, Tensor]:
    batch = task.batch(0, step)
    return translate(batch["x"], batch["noise"], AUGMENTATION), batch["y"]


def _language(task: LanguageTask, step: int) -> tuple[Tensor, Tensor]:
    batch = task.batch(0, step)
    return batch["x"], batch["y"]


def _images(data_dir: Path, device: str, members: int) -> Workload:
    """ResNet-20 on images of CIFAR-10: `ModuleTask`, so trials are trained one after the other."""
    part = load_images(
        "cifar10", folder=data_dir / "cifar10_jpeg", limit={"train": IMAGES, "validation": 64}
    ).parts
    mean, deviation = part["train"].statistics()

    def tensors(name: Literal["train", "validation"]) -> tuple[Tensor, Tensor]:
        images, labels = part[name].tensors()
        return standardised(images, mean, deviation), labels

    train, held_out = tensors("train"), tensors("validation")
    task = ModuleTask(
        lambda hp: resnet20(),
        (train, held_out, held_out),
        _loss,
        "accuracy",
        SPACE,
        name="resnet20",
        batch_size=32,
        steps_per_unit=2,
        units=UNITS,
        device=device.partition(":")[0],
        resident=members,
    )
    reader = MiniBatches(train, 32, trained_on=True)
    return Workload(task, resnet20(), lambda step: tuple(reader.read(0, step)))


def _loss(model: nn.Module, batch: Any, hp: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], hp["label_smoothing"])


class LanguageTask(GradientTask):
    """Next character, by a decoder of the library, as a pure loss that cohorts can train.

    On Tiny Shakespeare, or on a text that ships with Python where that is absent.
    """

    name, space, batch_size, steps_per_unit = "lm", SPACE, 8, 5
    metric, metric_range = "negative loss", (-math.inf, 0.0)

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / "tinyshakespeare" / "input.txt.gz"
        text = gzip.decompress(path.read_bytes()).decode() if path.is_file() else inspect.getsource(gzip)
        lines = text.splitlines(keepends=True)
        characters = train_tokenizer("char", lines)
        codes = [code for line in lines for code in characters.encode(line)]
        self.text = TokenPart(np.array(codes, np.uint8), words=0, size=0)
        self.vocabulary = characters.size
        self.module = self.built(0)

    def built(self, seed: int) -> TransformerLM:
        """Return the network with parameters drawn from a seed."""
        with seeded(seed):
            return TransformerLM((WINDOW,), self.vocabulary, width=64, depth=2)

    def init(self, seed: int) -> Params:
        return {name: value.detach() for name, value in self.built(seed).named_parameters()}

    def batch(self, seed: int, step: int) -> Batch:
        x, y = self.text.batch(seed, step, self.batch_size, WINDOW)
        return {"x": x, "y": y}

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        with twice_differentiable():  # plain operations, which can be batched over members
            logits = functional_call(self.module, params, (batch["x"],))
        return cross_entropy(logits, batch["y"], hp["label_smoothing"])

    def score(self, params: Params, split: Split) -> float:
        batch = self.batch(-1 if split == "test" else -2, 0)
        return -float(self.loss(params, batch, {"label_smoothing": 0.0}))


def ordinary_loop(work: Workload, hp: dict[str, float]) -> Callable[[], None]:
    """Return what trains one trial for one unit and scores it, as one would write it by hand."""
    module, task = work.module, work.task
    optimizer = torch.optim.SGD(
        module.parameters(), lr=hp["lr"], momentum=hp["momentum"], weight_decay=hp["weight_decay"]
    )
    position, names = 0, list(task.init(0))

    def unit() -> None:
        nonlocal position
        module.train()
        for _ in range(task.steps_per_unit):
            x, y = work.read(position)
            logits = module(x).flatten(0, -2)
            loss = F.cross_entropy(logits, y.flatten(), label_smoothing=hp["label_smoothing"])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            position += 1
        module.eval()
        with torch.no_grad():
            params = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            # As `ModuleTask` names them.
            params |= {f"model.{name}": value for name, value in params.items()}
            own = {name: params[name] for name in names}
            task.score(own, "validation")
            task.score(own, "test")

    return unit


def members_of(task: GradientTask, count: int) -> list[Trajectory]:
    """Return fresh members that differ in all but the learning rate."""
    streams = Streams(0)
    return [
        Trajectory(task.space.sample(streams("config", i)).replace(lr=0.01), streams.trial_seed(i))
        for i in range(count)
    ]


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
