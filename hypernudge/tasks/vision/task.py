"""Image classification by name: data, network, optimizer, space, schedule and augmentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypernudge.errors import require, require_whole, unknown_name
from hypernudge.optimizers import setting
from hypernudge.tasks.module.devices import device_of
from hypernudge.tasks.module.scores import accuracy
from hypernudge.tasks.module.task import ModuleTask
from hypernudge.tasks.named import NamedParts, devices_for, options_for, seen
from hypernudge.tasks.networks.losses import cross_entropy
from hypernudge.tasks.vision.augment import Augmentation, standardised
from hypernudge.tasks.vision.images import ImageData, ImagePart, load_images

RESIDENT = 2 << 30  # bytes of images that are kept on a device as a whole
MEASURED = 50_000_000  # values that mean and deviation of the channels are taken from
LEAST = 256  # images of a batch that is scored
LIMITS = {"label_smoothing": (0.0, 1.0), "augmentation": (0.0, 1.0)}


class ImageBatches:
    """The images of a part as uint8, read by rows, with the draws of their augmentation.

    Args:
        part: Of a data set.
        augmentation: What is drawn for; nothing is where None.
        device: A part of at most `RESIDENT` bytes lies there as a whole, if it is not the CPU.
    """

    def __init__(self, part: ImagePart, augmentation: Augmentation | None, device: torch.device) -> None:
        self._part, self._augmentation = part, augmentation
        size = len(part) * int(np.prod(part.images.shape[1:]))
        # On a CPU the memory-mapped file serves all processes.
        self._whole = part.tensors(device) if device.type != "cpu" and size <= RESIDENT else None

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        images, labels = self._take(np.array([row]))
        return images[0], labels[0]

    def read_batch(self, rows: np.ndarray, seed: int, step: int) -> dict[str, Tensor]:
        """Return images, labels, and what augmentation draws at this seed and step."""
        images, labels = self._take(rows)
        drawn = self._augmentation.draw(seed, step, len(rows)) if self._augmentation else {}
        return {"images": images, "labels": labels, **drawn}

    def in_order(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images and labels, `size` at a time."""
        for first in range(0, len(self), size):
            yield self._take(np.arange(first, min(first + size, len(self))))

    def _take(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        if self._whole is None:
            return self._part.take(rows)
        index = torch.from_numpy(rows).to(self._whole[0].device)
        return self._whole[0][index], self._whole[1][index]


class ImageClassification(ModuleTask):
    """Image classification by names; the score is accuracy on the validation part.

    Names that are read, from the space or from `fixed`: those of `ModuleTask`, `label_smoothing`,
    `augmentation` (magnitude in [0, 1] of what of the augmentation is scaled; 1 where it is neither tuned nor
    fixed), and the options of the network: `width`, say, or `dropout`.

    Args:
        dataset: A name, or a mapping with `name` and options of `load_images`: `folder`, `size`, `limit`,
            `validation`, ...
        model: A network for images, or a mapping with its `name` and options.
        label: Name in records.
        space: The search space.
        optimizer: `"sgd"`, `"adamw"`, or a mapping with such a `name` and options.
        schedule: Of the learning rate, see `ModuleTask`.
        augmentation: Options of `Augmentation`; if absent, mirrored images, crops from a border of an eighth
            of the side, and colour changed by at most .4 times the magnitude.
        fixed: Values that are not tuned, such as `grad_clip`.
        batch_size: Images of a step.
        steps_per_unit: Steps between two scores; an epoch if absent.
        units: Of the longest training; those of the study's scheduler if absent.
        device: See `ModuleTask`, as for `precision`, `channels_last`, `compile` and `resident`.
        precision: See there.
        channels_last: See there.
        compile: See there.
        resident: See there.
        score_test: Whether the test part is scored after every unit.
        devices: That train one trial together, each with its share of a mini-batch; see `ParallelTraining`.
        strategy: How: `"auto"` or `"ddp"`.

    Raises:
        InvalidArgumentError: An unknown name or option, a value that breaks a rule, or data that are not
            there.
    """

    def __init__(
        self,
        dataset: str | Mapping[str, Any],
        model: str | Mapping[str, Any],
        *,
        label: str | None = None,
        space: str | Mapping[str, Any] = "mid",
        optimizer: str | Mapping[str, Any] = "sgd",
        schedule: str | Mapping[str, Any] = "cosine",
        augmentation: Mapping[str, Any] | None = None,
        fixed: Mapping[str, Any] | None = None,
        batch_size: int = 128,
        steps_per_unit: int | None = None,
        units: int | None = None,
        device: str = "auto",
        precision: str = "float32",
        channels_last: bool = False,
        compile: bool = False,
        resident: int = 1,
        score_test: bool = False,
        devices: int = 1,
        strategy: str = "auto",
    ) -> None:
        given = dict(locals())
        name, options = options_for("dataset", load_images, dataset)
        plan = NamedParts(model, space, optimizer, schedule, fixed, LIMITS)
        require_whole("batch_size", batch_size)
        place = device_of(device)
        data = load_images(name, **options)
        height, width, channels = data.parts["train"].images.shape[1:]
        drawn = _augmentation(augmentation, height)
        reads = {"label_smoothing", *(("augmentation",) if drawn.magnified else ())}
        network = plan.network((channels, height, width), data.classes, reads)
        train = ImageBatches(data.parts["train"], drawn, place)
        held = [
            ImageBatches(data.parts[part], None, place)
            for part in (("validation", "test") if score_test else ("validation",))
        ]
        size = max(batch_size, LEAST)
        images = _Images(data, drawn, place, precision, channels_last)
        super().__init__(
            network,
            (train, *(partial(part.in_order, size) for part in held)),
            images.loss,
            images.score,
            plan.space,
            name=label or f"{name}_{plan.model['name']}",
            metric="accuracy",
            metric_range=(0.0, 1.0),
            optimizer=plan.optimizer,
            schedule=plan.schedule,
            fixed=plan.fixed,
            batch_size=batch_size,
            steps_per_unit=steps_per_unit,
            units=units,
            device=device,
            precision=precision,  # type: ignore[arg-type]  # the name is checked there
            channels_last=channels_last,
            compile=compile,
            resident=resident,
            score_test=score_test,
            devices=devices_for(devices, strategy, place, "image_classification", given),
        )
        self.family, self.data_source = name, data.source
        self.settings |= {"model": plan.model, "augmentation": drawn, "devices": [devices, strategy]}
        self.settings |= {"dataset": seen(options), "data": data.source}


class _Images:
    """Loss and score of a network on images of a data set, standardised by its training part."""

    def __init__(
        self,
        data: ImageData,
        augmentation: Augmentation,
        device: torch.device,
        precision: str,
        channels_last: bool,
    ) -> None:
        train = data.parts["train"]
        per_image = int(np.prod(train.images.shape[1:]))
        statistics = train.statistics(max(1, min(10_000, MEASURED // per_image)))
        dtype = torch.float64 if precision == "float64" else torch.float32
        self._mean, self._deviation = (value.to(device, dtype) for value in statistics)
        self._augmentation, self._channels_last = augmentation, channels_last

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], hp: Mapping[str, Any]) -> Tensor:
        """Return the cross-entropy of augmented images."""
        magnitude = setting(hp, "augmentation", 1.0) if self._augmentation.magnified else 1.0
        x = self._augmentation(batch["images"], batch, self._mean, self._deviation, magnitude)
        return cross_entropy(model(self._laid_out(x)), batch["labels"], setting(hp, "label_smoothing"))

    def score(self, model: nn.Module, split: Iterable[Any]) -> float:
        """Return the accuracy on images as they are."""
        return accuracy(model, ((self._standardised(images), labels) for images, labels in split))

    def _standardised(self, images: Tensor) -> Tensor:
        return self._laid_out(standardised(images, self._mean, self._deviation))

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self._channels_last else x


def _augmentation(given: Mapping[str, Any] | None, side: int) -> Augmentation:
    if given is None:
        return Augmentation(crop=side // 8, colour=0.4)
    mapping = isinstance(given, Mapping)
    require(mapping, "augmentation", "must be a mapping", given, "write {flip: true, crop: 4}")
    known = [field.name for field in fields(Augmentation)]
    for option in given:
        if option not in known:
            raise unknown_name(f"augmentation.{option}", option, known)
    return Augmentation(**given)
