"""The three tasks of the study: networks of the kinds people train, at a size that two CPU cores can tune.

Images are CIFAR-10's, 10,000 of its training part reduced to 16 by 16 pixels, 500 others validate; the text
is WikiText-2's validation file, its last part held out. They are looked for in `$HYPERNUDGE_DATA`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from hypernudge.random import stream
from hypernudge.space import Real, SearchSpace
from hypernudge.tasks.language.data import load_text
from hypernudge.tasks.language.transformer import next_token_loss, transformer_lm
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.spaces import SPACES
from hypernudge.tasks.vision.augment import Augmentation, standardised
from hypernudge.tasks.vision.images import load_images
from hypernudge.tasks.vision.resnet import resnet20
from hypernudge.tasks.vision.vit import VisionTransformer

PIXELS, TRAINING, VALIDATION = 16, 10_000, 500
AUGMENTATION = Augmentation(flip=True, crop=2, colour=0.4, cutout=6)
ADAMW_SPACE = SearchSpace(  # as in the confirmation study
    [
        Real("lr", 1e-5, 1e-1, log=True),
        Real("weight_decay", 1e-5, 1.0, log=True),
        Real("momentum", 0.5, 0.99),
        Real("augmentation", 0.0, 1.0),
        Real("label_smoothing", 0.0, 0.3),
    ]
)
TEXT_SPACE = SearchSpace([p for p in ADAMW_SPACE if p.name != "augmentation"])


def resnet(batch_size: int = 32, steps_per_unit: int = 20, width: int = 8) -> ModuleTask:
    """Return ResNet-20 of half the width, 68,000 parameters, under SGD in the mid space."""
    options = {"batch_size": batch_size, "steps_per_unit": steps_per_unit, "optimizer": "sgd"}
    return image_task("resnet20", lambda: resnet20(width=width), SPACES["mid"], **options)


def vit(batch_size: int = 16, steps_per_unit: int = 30, width: int = 48, depth: int = 4) -> ModuleTask:
    """Return a vision transformer with patches of 4 by 4 pixels, 117,000 parameters, under AdamW."""
    options = {"batch_size": batch_size, "steps_per_unit": steps_per_unit, "optimizer": "adamw"}
    return image_task("vit", lambda: VisionTransformer(10, PIXELS, 4, width, depth, 3), ADAMW_SPACE, **options)


def language_model(
    batch_size: int = 4,
    steps_per_unit: int = 14,
    length: int = 32,
    vocabulary: int = 1024,
    width: int = 128,
    depth: int = 4,
) -> ModuleTask:
    """Return a decoder of 0.9 million parameters on WikiText-2's validation file in BPE, under AdamW."""
    text = load_text("wikitext2", tokens="bpe", vocabulary=vocabulary, train_on="validation")
    held = [batch for batch, _ in zip(text.parts["validation"].windows(length, 32), range(4), strict=False)]

    def loss(model: nn.Module, batch: Any, hp: Mapping[str, Any]) -> Tensor:
        return next_token_loss(model(batch[0]), batch[1], hp.get("label_smoothing", 0.0))

    def score(model: nn.Module, split: Any) -> float:
        losses = [(next_token_loss(model(x), y), y.numel()) for x, y in split]
        return -sum(float(value) * n for value, n in losses) / sum(n for _, n in losses)

    task = ModuleTask(
        lambda hp: transformer_lm(text.vocabulary, width, depth, 4, length=length),
        (lambda seed, step: text.parts["train"].batch(seed, step, batch_size, length), lambda: held),
        loss,
        score,
        TEXT_SPACE,
        name="language_model",
        metric="negative loss",
        metric_range=(-10.0, 0.0),
        optimizer="adamw",
        batch_size=batch_size,
        steps_per_unit=steps_per_unit,
        device="cpu",
        resident=64,
    )
    task.family = "wikitext2"
    return task


def image_task(
    name: str, build: Callable[[], nn.Module], space: SearchSpace, batch_size: int, **options: Any
) -> ModuleTask:
    """Return a task on the reduced CIFAR-10; `options` as of `ModuleTask`."""
    data = load_images("cifar10", size=PIXELS, limit={"train": TRAINING, "validation": VALIDATION})
    x, y = data.parts["train"].tensors()
    mean, deviation = data.parts["train"].statistics()
    held, labels = data.parts["validation"].tensors()

    def batch(seed: int, step: int) -> dict[str, Tensor]:
        epoch, position = divmod(step, len(x) // batch_size)
        order = stream(seed, "order", epoch).permutation(len(x))
        rows = order[position * batch_size : (position + 1) * batch_size]
        return {"x": x[rows], "y": y[rows], **AUGMENTATION.draw(seed, step, batch_size)}

    def loss(model: nn.Module, batch: Any, hp: Mapping[str, Any]) -> Tensor:
        images = AUGMENTATION(batch["x"], batch, mean, deviation, hp["augmentation"])
        return next_token_loss(model(images), batch["y"], hp["label_smoothing"])

    held_out = standardised(held, mean, deviation), labels
    task = ModuleTask(
        lambda hp: build(),
        (batch, held_out),
        loss,
        "accuracy",
        space,
        name=name,
        batch_size=batch_size,
        device="cpu",
        resident=64,
        **options,
    )
    task.family = "cifar10"
    return task
