"""ResNet-20 on CIFAR-10 (He et al. 2016, section 4.2), over as many epochs as a budget allows.

SGD with rate .1, momentum .9 and weight decay 1e-4, batches of 128, crops of images padded by 4 pixels,
mirrored at random: the paper's recipe. Its 64,000 steps do not fit, so the schedule runs over the epochs that
do: half a cosine to 0 after one epoch of warm-up, or the paper's steps (by .1 at half and three quarters).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.learning.trace import SPACE, Meter, Row, begun, curve, described
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.module.devices import device_of
from hypernudge.tasks.module.mini_batches import MiniBatches
from hypernudge.tasks.vision.augment import Augmentation, standardised
from hypernudge.tasks.vision.images import load_images
from hypernudge.tasks.vision.resnet import resnet20
from hypernudge.tasks.vision.task import ImageBatches

AUGMENTATION = Augmentation(flip=True, crop=4)
TIMED = 12  # steps that are timed, after two that are not
EVALUATED = 500  # images scored at a time


@dataclass(frozen=True)
class Settings:
    """Of a training.

    Attributes:
        core_minutes: Of training, processor time of all threads.
        minutes: Of training, wall time, in place of that.
        epochs: At most.
        schedule: `"cosine"` or `"step"`.
        lr: Peak rate.
        weight_decay: Coupled.
        batch_size: Images.
        held_out: Share of the 50,000 images that is not trained on, but scored.
        limit: Images of each part at most; all if None.
        width: Channels of the first stage.
        precision: `"float32"` or `"bf16"` (autocast).
        device: As in `ModuleTask`.
        seed: Of everything drawn.
    """

    core_minutes: float = 80.0
    minutes: float | None = None
    epochs: int = 164
    schedule: str = "cosine"
    lr: float = 0.1
    weight_decay: float = 1e-4
    batch_size: int = 128
    held_out: float = 0.0
    limit: int | None = None
    width: int = 16
    precision: str = "float32"
    device: str = "cpu"
    seed: int = 0


class Images:
    """The data set on a device: what is trained on, and what is scored."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        limit = {} if settings.limit is None else dict.fromkeys(("train", "test"), settings.limit)
        data = load_images("cifar10", validation=settings.held_out, limit=limit)
        self.source = data.source
        mean, deviation = data.parts["train"].statistics()
        self.mean, self.deviation = mean.to(device), deviation.to(device)
        self.images = {name: len(part) for name, part in data.parts.items()}
        self.steps = -(-self.images["train"] // settings.batch_size)
        self.train = ImageBatches(data.parts["train"], AUGMENTATION, device)
        self._scored = {name: ImageBatches(data.parts[name], None, device) for name in ("validation", "test")}

    def augmented(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the images of a batch as a network sees them in training."""
        return AUGMENTATION(batch["images"], batch, self.mean, self.deviation)

    def scored(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images as a network sees them otherwise, and labels."""
        for images, labels in self._scored[name].in_order(EVALUATED):
            yield standardised(images.to(self.mean.device), self.mean, self.deviation), labels


def make_task(settings: Settings, images: Images, epochs: int, meter: Meter, folder: Path) -> ModuleTask:
    """Return the training of so many epochs."""

    def loss(model: nn.Module, batch: Mapping[str, Tensor], hp: Any) -> Tensor:
        logits = model(images.augmented(batch))
        value = F.cross_entropy(logits, batch["labels"])
        meter.note(model, value, batch["labels"], logits)
        return value

    # `ModuleTask` wants a part to validate on; where nothing is held out, it is empty, and scores NaN.
    parts = [lambda: images.scored("validation"), lambda: images.scored("test")]
    return ModuleTask(
        lambda hp: resnet20(width=settings.width),
        (images.train, *parts),
        loss,
        "accuracy",
        SPACE,
        name="cifar10_resnet20",
        schedule=_schedule(settings.schedule, epochs),
        fixed={"momentum": 0.9, "weight_decay": settings.weight_decay},
        batch_size=settings.batch_size,
        steps_per_unit=images.steps,
        units=epochs,
        device=settings.device,
        precision=settings.precision,  # type: ignore[arg-type]
        channels_last=True,
        checkpoint_dir=folder,
        keep_checkpoints=True,
    )


def _schedule(name: str, epochs: int) -> dict[str, Any]:
    if name == "cosine":
        return {"name": "cosine", "warmup": min(1 / epochs, 0.5) if epochs > 1 else 0.0}
    return {"name": "step"}


def epochs_that_fit(settings: Settings, images: Images) -> int:
    """Return how many epochs the budget allows, at least one, by the time of a few steps and of scoring."""
    model = resnet20(width=settings.width).to(images.mean.device)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, 0.9, fused=True)
    autocast = torch.autocast(images.mean.device.type, torch.bfloat16, enabled=settings.precision == "bf16")

    batches = MiniBatches(images.train, settings.batch_size, trained_on=True)

    def step(number: int) -> None:
        batch = {k: v.to(images.mean.device) for k, v in batches.read(settings.seed, number).items()}
        with autocast:
            value = F.cross_entropy(model(images.augmented(batch)), batch["labels"])
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def steps() -> None:
        for number in range(TIMED):
            step(number)

    def score() -> None:
        with torch.no_grad(), autocast:
            model(next(images.scored("test"))[0])

    per_step = _seconds(steps, settings, images) / TIMED
    per_image = _seconds(score, settings, images) / min(EVALUATED, images.images["test"])
    scored = images.images["validation"] + images.images["test"]
    epoch = per_step * images.steps + per_image * scored
    budget = settings.core_minutes if settings.minutes is None else settings.minutes
    return max(1, min(settings.epochs, int(60 * budget / epoch)))


def _seconds(work: Any, settings: Settings, images: Images) -> float:
    clock = time.process_time if settings.minutes is None else time.perf_counter
    work()  # the first call chooses kernels
    _synchronise(images.mean.device)
    begun = clock()
    work()
    _synchronise(images.mean.device)
    return clock() - begun


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run(settings: Settings, folder: Path, shown: Any = lambda row: None) -> dict[str, Any]:
    """Train, or go on with what an earlier run with these settings has left in `folder`.

    Returns:
        The result, with the accuracy on the test part after the last epoch.
    """
    images = Images(settings, device_of(settings.device))
    wanted = asdict(settings)
    plan = begun(folder, wanted, lambda: {"epochs": epochs_that_fit(settings, images)})
    epochs = int(plan["epochs"])
    meter = Meter()
    task = make_task(settings, images, epochs, meter, folder / "checkpoints")
    hp = {"lr": settings.lr}
    rows: list[Row] = curve(task, hp, settings.seed, epochs, folder / "curve.json", meter, shown=shown)
    found = {"test": rows[-1].get("test"), "validation": rows[-1].get("validation"), "epochs": epochs}
    source = {part: about["digest"] for part, about in images.source.items()}
    return described("resnet20", wanted, rows, **found, images=images.images, source=source)
