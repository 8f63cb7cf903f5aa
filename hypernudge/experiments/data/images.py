"""CIFAR-100 for ResNet-18: files as torchvision keeps them, augmentation on tensors, a validation split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.batches import subset
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.experiment import UnavailableError
from hypernudge.experiments.labels import NoisyLabels, cifar100_noise
from hypernudge.experiments.task_data import Inputs, TaskData
from hypernudge.tasks.vision.augment import crop_and_flip
from hypernudge.tasks.vision.cifar import LAYOUTS, batch_files, read_cifar
from hypernudge.tasks.vision.images import held_out

FOLDER = LAYOUTS["cifar100"].folder
SIDE, PADDING = 32, 4
MEAN, DEVIATION = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
VALIDATION = 0.1  # of the training file: 5,000 images of the real one
SPLIT_SEED = 42


def read_cifar100(data_dir: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images uint8 `(n, 3, 32, 32)` and fine labels int64 `(n,)` of "train" and "test".

    Raises:
        UnavailableError: The files are not there.
        InvalidArgumentError: They are not what they must be.
    """
    found = {}
    for part in ("train", "test"):
        files = batch_files(data_dir, "cifar100", part)
        if not all(path.is_file() for path in files):
            raise UnavailableError(
                f"--data-dir: must hold {FOLDER}/{part}, but got {str(data_dir)!r}; with a network run "
                "`python experiments/task_cifar100.py --download` once, or name the folder that holds it"
            )
        found[part] = read_cifar(files, "cifar100", "--data-dir")
    return found


def download(data_dir: Path) -> None:
    """Fetch CIFAR-100 with torchvision, unless it is there.

    Raises:
        InvalidArgumentError: It cannot be fetched.
    """
    from torchvision.datasets import CIFAR100

    try:
        CIFAR100(root=str(data_dir), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise InvalidArgumentError(
            f"--download: CIFAR-100 cannot be fetched ({error}); put {FOLDER}/train and {FOLDER}/test "
            f"under {data_dir} by hand"
        ) from None


def _digest(files: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    sha = hashlib.sha256()
    for part in sorted(files):
        for array in files[part]:
            sha.update(array.tobytes())
    return sha.hexdigest()


class ImageSamples:
    """Images in memory; see `Samples`.

    Args:
        images: uint8 `(n, 3, 32, 32)` by part.
        labels: int64 `(n,)` by part.
        device: Where the model is.
    """

    def __init__(
        self, images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], device: torch.device
    ) -> None:
        self.images = {part: torch.from_numpy(array).to(device) for part, array in images.items()}
        self.labels = {part: torch.from_numpy(array) for part, array in labels.items()}
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(MEAN, device=device).view(shape)
        self._deviation = torch.tensor(DEVIATION, device=device).view(shape)

    def batch(self, part: str, rows: Tensor, augmentation: np.random.Generator | None) -> Inputs:
        """Return float32 images; cropped from a black border of 4 and flipped at random if augmented."""
        images = self.images[part][rows.to(self.images[part].device)]
        if augmentation is not None:
            images = random_crop_and_flip(images, augmentation)
        return {"x": (images.float().div_(255).sub_(self._mean)).div_(self._deviation)}

    def length(self, part: str, rows: Tensor) -> int:
        """Images have no length."""
        del part, rows
        return 1

    def example(self, size: int, length: int) -> Inputs:
        """Return images without data."""
        del length
        return {"x": torch.empty(size, 3, SIDE, SIDE, device="meta")}


def random_crop_and_flip(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Crop each image at random from itself with a black border, then mirror half of them.

    Args:
        images: `(b, 3, 32, 32)`.
        generator: Draws offsets and coins for the whole batch.
    """
    offsets = torch.from_numpy(generator.integers(0, 2 * PADDING + 1, size=(len(images), 2)))
    flips = torch.from_numpy(generator.random(len(images)) < 0.5)
    return crop_and_flip(images, offsets.to(images.device), flips.to(images.device), PADDING)


def load_images(config: RunConfig, data_dir: Path, device: torch.device) -> TaskData:
    """Read the files, split, take subsets, corrupt the training labels.

    `validation="split"` holds a tenth of the training file out; `"test"` validates on the test file, as the
    published experiment did (its peak accuracy is then chosen on the test set).

    Raises:
        InvalidArgumentError: The files cannot be used.
    """
    files = read_cifar100(data_dir)
    parts = {"train": files["train"], "validation": files["test"]}
    if config.data["validation"] == "split":
        images, labels = files["train"]
        rest, out = held_out(labels, VALIDATION, SPLIT_SEED, stratified=False)
        parts = {
            "train": (images[rest], labels[rest]),
            "validation": (images[out], labels[out]),
            "test": files["test"],
        }
    taken = {part: subset(len(y), config.limit(part), part) for part, (_, y) in parts.items()}
    images_of = {part: np.ascontiguousarray(parts[part][0][rows]) for part, rows in taken.items()}
    labels_of = {part: parts[part][1][rows] for part, rows in taken.items()}
    noise: NoisyLabels | None = None
    if config.noisy:
        noise = cifar100_noise(
            labels_of["train"].tolist(), config.label_noise_type, config.label_noise_rate, config.seed
        )
        labels_of["train"] = np.array(noise.labels, dtype=np.int64)
    samples = ImageSamples(images_of, labels_of, device)
    return TaskData("CIFAR-100", "resnet18", samples, _digest(files), noise)
