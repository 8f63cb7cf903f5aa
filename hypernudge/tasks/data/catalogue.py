"""Data sets of images and texts that are known by name: where they are looked for, and how to get them.

Nothing here needs PyTorch: plans are read without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownData:
    """A data set.

    Attributes:
        folders: That may hold it, the best first: lossless before lossy, tokenised before raw.
        how: To get it, for errors.
        classes: Number of classes; 0 for texts.
    """

    folders: tuple[str, ...]
    how: str
    classes: int = 0


def _torchvision(name: str, hub: str) -> str:
    theirs = f"torchvision.datasets.{name}(root=..., download=True)"
    return f"get it with {theirs}, or as Parquet from the hub ({hub})"


IMAGES = {
    "cifar10": KnownData(
        ("cifar-10-batches-py", "cifar10", "cifar10_jpeg"), _torchvision("CIFAR10", "uoft-cs/cifar10"), 10
    ),
    "cifar100": KnownData(
        ("cifar-100-python", "cifar100"), _torchvision("CIFAR100", "uoft-cs/cifar100"), 100
    ),
    "imagenet": KnownData(
        ("imagenet", "imagenet-1k", "ILSVRC/Data/CLS-LOC"),
        "get it from image-net.org (folders train/CLASS and val/CLASS) or from the hub (ILSVRC/imagenet-1k)",
        1000,
    ),
}


def _wikitext(size: str) -> KnownData:
    name = f"wikitext-{size}"
    published = (name, f"wikitext{size}", f"{name}-v1", f"wikitext/{name}-v1")
    raw = (f"{name}-raw", f"{name}-raw-v1", f"wikitext/{name}-raw-v1")
    how = f"get {name}-v1 (tokenised) or {name}-raw-v1 from the Hugging Face hub (Salesforce/wikitext)"
    return KnownData((*published, *raw), how)


TEXTS = {
    "wikitext2": _wikitext("2"),
    "wikitext103": _wikitext("103"),
    "tinyshakespeare": KnownData(
        ("tinyshakespeare",), "get data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn"
    ),
}


def builder_for(dataset: object) -> str | None:
    """Return the registered task that trains on a data set described in a configuration, if it is known."""
    name = dataset.get("name") if isinstance(dataset, Mapping) and "table" not in dataset else dataset
    if not isinstance(name, str):
        return None
    return "image_classification" if name in IMAGES else "language_model" if name in TEXTS else None
