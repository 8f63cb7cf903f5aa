"""CIFAR-100 for ResNet-18: files as torchvision keeps them, augmentation on tensors, a validation split."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.aees.batches import subset
from hypernudge.harness.aees.config import RunConfig
from hypernudge.harness.aees.experiment import UnavailableError
from hypernudge.harness.aees.labels import NoisyLabels, cifar100_noise
from hypernudge.harness.aees.problem import Inputs, Problem
from hypernudge.random import stream

FOLDER = "cifar-100-python"
CLASSES, SIDE, PADDING = 100, 32, 4
MEAN, DEVIATION = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
VALIDATION = 0.1  # of the training file: 5,000 images of the real one
SPLIT_SEED = 42


class _ArraysOnly(pickle.Unpickler):
    """Loads arrays, bytes and containers: what the data set consists of, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of NumPy's arrays."""
        allowed = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}
        if module.split(".")[0] == "numpy" and name in allowed:
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 2 wrote bytes
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no image file needs")


def read_cifar100(data_dir: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images uint8 `(n, 3, 32, 32)` and fine labels int64 `(n,)` of "train" and "test".

    Raises:
        UnavailableError: The files are not there.
        InvalidArgumentError: They are not what they must be.
    """
    found = {}
    for part in ("train", "test"):
        path = data_dir / FOLDER / part
        if not path.is_file():
            raise UnavailableError(
                f"--data-dir: must hold {FOLDER}/{part}, but got {str(data_dir)!r}; with a network run "
                "`python experiments/task_cifar100.py --download` once, or name the folder that holds it"
            )
        try:
            table = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
            images = np.asarray(table["data"], dtype=np.uint8).reshape(-1, 3, SIDE, SIDE)
            labels = np.asarray(table["fine_labels"], dtype=np.int64)
        except Exception as error:  # unpickling a damaged file fails in many ways
            raise InvalidArgumentError(
                f"--data-dir: {path} must be a CIFAR-100 file, but {error}; download it again"
            ) from None
        ok = len(labels) == len(images) > 0 and labels.min() >= 0 and labels.max() < CLASSES
        require(
            ok,
            "--data-dir",
            f"{path} must hold as many labels below 100 as images",
            len(labels),
            "replace it",
        )
        found[part] = (images, labels)
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


class Images:
    """Images in memory; see :class:`~hypernudge.harness.aees.problem.Samples`.

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
    size = len(images)
    offsets = generator.integers(0, 2 * PADDING + 1, size=(size, 2))
    flips = generator.random(size) < 0.5
    span = np.arange(SIDE)
    down = offsets[:, :1] + span
    across = offsets[:, 1:] + np.where(flips[:, None], span[::-1], span)
    padded = nn.functional.pad(images, (PADDING,) * 4)
    rows, columns = (torch.from_numpy(index).to(images.device) for index in (down, across))
    which = torch.arange(size, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    return padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]


class CifarNet(nn.Module):
    """ResNet-18 (He et al. 2016) with a stem for small images: a 3x3 convolution of stride 1, no pooling."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet18

        self.net = resnet18(weights=None, num_classes=CLASSES)
        self.net.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
        self.net.maxpool = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(b, 3, 32, 32)` to logits `(b, 100)`."""
        logits: Tensor = self.net(x)
        return logits


def load_images(config: RunConfig, data_dir: Path, device: torch.device) -> Problem:
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
        order = stream(SPLIT_SEED, "validation", len(labels)).permutation(len(labels))
        held = round(VALIDATION * len(labels))
        out, rest = np.sort(order[:held]), np.sort(order[held:])
        parts = {
            "train": (images[rest], labels[rest]),
            "validation": (images[out], labels[out]),
            "test": files["test"],
        }
    limits = {"train": config.data["max_train_samples"]}
    taken = {
        part: subset(len(y), limits.get(part, config.data["max_eval_samples"]), part)
        for part, (_, y) in parts.items()
    }
    images_of = {part: np.ascontiguousarray(parts[part][0][rows]) for part, rows in taken.items()}
    labels_of = {part: parts[part][1][rows] for part, rows in taken.items()}
    noise: NoisyLabels | None = None
    if config.noisy:
        noise = cifar100_noise(
            labels_of["train"].tolist(), config.label_noise_type, config.label_noise_rate, config.seed
        )
        labels_of["train"] = np.array(noise.labels, dtype=np.int64)
    return Problem("CIFAR-100", "resnet18", Images(images_of, labels_of, device), _digest(files), noise)
