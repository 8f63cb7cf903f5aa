"""CIFAR-10 and CIFAR-100 as their authors publish them and torchvision keeps them: pickled batches."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require

SIDE = 32


@dataclass(frozen=True)
class Layout:
    """Where the batches of a data set are: its folder, files by part, the key of its labels, its classes."""

    folder: str
    files: dict[str, tuple[str, ...]]
    labels: str
    classes: int


LAYOUTS = {
    "cifar10": Layout(
        "cifar-10-batches-py",
        {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        "labels",
        10,
    ),
    "cifar100": Layout("cifar-100-python", {"train": ("train",), "test": ("test",)}, "fine_labels", 100),
}


def _numpy_names() -> dict[str, Any]:
    # Taken from arrays themselves: old files name modules that NumPy warns of when they are imported.
    array = np.zeros(1)
    functions = [array.__reduce__()[0], array[0].__reduce__()[0], array.__reduce_ex__(5)[0]]
    return {"ndarray": np.ndarray, "dtype": np.dtype} | {f.__name__: f for f in functions}


class _ArraysOnly(pickle.Unpickler):
    """Loads arrays, strings, numbers and containers of them, which a batch holds; nothing that could run."""

    _NAMES = _numpy_names()

    def find_class(self, module: str, name: str) -> Any:
        """Return what NumPy rebuilds an array with; nothing is imported."""
        if module.split(".")[0] == "numpy" and name in self._NAMES:
            return self._NAMES[name]
        if (module, name) == ("_codecs", "encode"):  # how Python 2 wrote bytes
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no image file needs")


def batch_files(folder: Path, name: str, part: str) -> list[Path]:
    """Return the files of a part, in order, whether they are all there or not."""
    layout = LAYOUTS[name]
    root = folder / layout.folder if (folder / layout.folder).is_dir() else folder
    return [root / file for file in layout.files[part]]


def read_cifar(files: Sequence[Path], name: str, argument: str = "data_dir") -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 `(n, 3, 32, 32)`, and labels, int64 `(n,)`, of batch files.

    Args:
        files: From `batch_files`.
        name: `"cifar10"` or `"cifar100"` (whose fine labels are read).
        argument: What the user has named, for errors.

    Raises:
        InvalidArgumentError: A file is not what it must be.
    """
    layout = LAYOUTS[name]
    batches = [_read_batch(path, layout, argument) for path in files]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return images, labels


def _read_batch(path: Path, layout: Layout, argument: str) -> tuple[np.ndarray, np.ndarray]:
    title = f"CIFAR-{layout.classes}"
    try:
        table = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        images = np.asarray(table["data"], dtype=np.uint8).reshape(-1, 3, SIDE, SIDE)
        labels = np.asarray(table[layout.labels], dtype=np.int64)
    except Exception as error:  # unpickling a damaged file fails in many ways
        raise InvalidArgumentError(
            f"{argument}: {path} must be a {title} file, but {error}; download it again"
        ) from None
    ok = len(labels) == len(images) > 0 and labels.min() >= 0 and labels.max() < layout.classes
    rule = f"{path} must hold as many labels below {layout.classes} as images"
    require(ok, argument, rule, len(labels), "replace it")
    return images, labels
