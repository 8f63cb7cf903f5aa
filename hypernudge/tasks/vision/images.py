"""Image data sets by name: uint8 pixels and labels, memory-mapped, split, ready to be moved to a device."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypernudge.errors import InvalidArgumentError, require, require_between, require_flag, require_whole
from hypernudge.random import stream
from hypernudge.tasks.data.cache import (
    CachedArrays,
    Field,
    cache_directory,
    cached_arrays,
    fingerprint,
    open_arrays,
)
from hypernudge.tasks.data.catalogue import IMAGES, KnownData
from hypernudge.tasks.data.files import DATA_DIRECTORY, data_directory, find_folder
from hypernudge.tasks.vision.decode import Decoder
from hypernudge.tasks.vision.sources import PARTS, Source, find_source


@dataclass(frozen=True)
class ImagePart:
    """Rows of a memory-mapped array of images.

    Attributes:
        images: uint8 `(n, height, width, 3)`, of the whole source.
        labels: int64 `(n,)`.
        rows: The rows that belong to this part, ascending.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Return images uint8 `(b, height, width, 3)` and labels int64 `(b,)` of positions in this part."""
        rows = self.rows[np.asarray(index)]
        return torch.from_numpy(self.images[rows]), torch.from_numpy(self.labels[rows])

    def tensors(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return the whole part on a device, as `take` would."""
        images, labels = self.take(np.arange(len(self)))
        return images.to(device), labels.to(device)

    def statistics(self, at_most: int = 10_000) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel, float32 `(3,)`, pixels in [0, 1].

        They are those of the first `at_most` images of a fixed random order.
        """
        chosen = stream(0, "statistics", len(self)).permutation(len(self))[:at_most]
        count, total, squares = 0, np.zeros(3), np.zeros(3)
        for first in range(0, len(chosen), 500):
            pixels = (
                self.take(np.sort(chosen[first : first + 500]))[0].numpy().reshape(-1, 3).astype(np.float64)
            )
            count += len(pixels)
            total += pixels.sum(0)
            squares += (pixels**2).sum(0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        return torch.from_numpy(mean / 255).float(), torch.from_numpy(deviation / 255).float()


@dataclass(frozen=True)
class ImageData:
    """An image data set, split into "train", "validation" and "test".

    Attributes:
        name: Of the data set.
        classes: Number of labels.
        parts: The parts by name.
        source: Layout and digest of what was read: the lossy and lossless images of a data set differ.
    """

    name: str
    classes: int
    parts: dict[str, ImagePart]
    source: dict[str, Any]


def load_images(
    name: str,
    *,
    folder: str | Path | None = None,
    size: int | None = None,
    validation: float = 0.1,
    stratified: bool = True,
    split_seed: int = 0,
    limit: Mapping[str, int] | None = None,
    cache: Path | None = None,
) -> ImageData:
    """Return an image data set, decoded at the first call and memory-mapped afterwards.

    Validation is split from the training part; the test part is what the data set publishes for validation,
    where labels for testing are withheld (ImageNet), else for testing. Layouts: pickled batches (CIFAR), a
    folder per class (`train/CLASS/*.JPEG`, `val/CLASS/*.JPEG`), or Parquet files as on the Hugging Face hub
    (`train-*.parquet`).

    Args:
        name: A key of `hypernudge.tasks.data.catalogue.IMAGES`, or any name for images in `folder`.
        folder: Where the data set lies; looked for in the working directory and `$HYPERNUDGE_DATA` if absent.
        size: Side that images are resized to and cropped at, pixels; None where all are equally large.
        validation: Share of the training part that validates, in [0, 1).
        stratified: Whether validation takes the same share of every class, or of all images together.
        split_seed: Seed of the split and of subsets; the same for every study, so that scores are comparable.
        limit: Images at most by part, a random subset of it.
        cache: Where decoded images are kept; `$HYPERNUDGE_CACHE` if absent.

    Raises:
        InvalidArgumentError: The data are not there, of another layout, or damaged.
    """
    require_between("validation", validation, 0.0, 1.0, ends=True, remedy="0.1 is usual")
    if size is not None:
        require_whole("size", size, remedy="leave it out to keep images as they are")
    require(validation < 1, "validation", "must be below 1", validation, "0.1 is usual")
    require_flag("stratified", stratified)
    require_whole("split_seed", split_seed, 0)
    mapping = limit is None or isinstance(limit, Mapping)
    require(mapping, "limit", "must be a mapping of parts to images at most", limit, "write {train: 10000}")
    place = _folder(name, folder)
    found = {part: _found(name, place, part) for part in ("train", "test")}  # both, before one is decoded
    names = found["train"].classes
    kept = {part: _decoded(of, name, part, size, cache) for part, of in found.items()}
    described = {part: arrays.manifest["source"] for part, arrays in kept.items()}
    classes = IMAGES[name].classes if name in IMAGES else 0
    whole = {part: (arrays.arrays["images"], arrays.arrays["labels"]) for part, arrays in kept.items()}
    if not classes:
        classes = len(names) if names else int(whole["train"][1].max()) + 1
    for part, (images, labels) in whole.items():
        ok = len(labels) > 0 and labels.min() >= 0 and labels.max() < classes
        require(
            ok,
            name,
            f"labels of the {part} part must lie in [0, {classes})",
            _span(labels),
            "replace the files",
        )
        same = images.shape[1:] == whole["train"][0].shape[1:]
        require(same, name, "both parts must have images of one size", images.shape[1:3], "choose a size")
    rest, held = held_out(whole["train"][1], validation, split_seed, stratified=stratified)
    parts = {
        "train": ImagePart(*whole["train"], rest),
        "validation": ImagePart(*whole["train"], held),
        "test": ImagePart(*whole["test"], np.arange(len(whole["test"][1]))),
    }
    for part, count in (limit or {}).items():
        require(part in parts, "limit", f"parts must be among {sorted(parts)}", part, "correct it")
        require_whole(f"limit.{part}", count)
        parts[part] = _subset(parts[part], count, part, split_seed)
    return ImageData(name, classes, parts, described)


def read_part(
    name: str,
    part: str,
    *,
    folder: str | Path | None = None,
    size: int | None = None,
    cache: Path | None = None,
) -> ImagePart:
    """Return "train" or "test" as published, without a split; arguments and errors as of `load_images`."""
    arrays = _decoded(_found(name, _folder(name, folder), part), name, part, size, cache).arrays
    return ImagePart(arrays["images"], arrays["labels"], np.arange(len(arrays["labels"])))


def held_out(
    labels: np.ndarray, share: float, seed: int, *, stratified: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that stay and those that are held out, both ascending.

    Args:
        labels: int64 `(n,)`.
        share: Of the rows, in [0, 1].
        seed: Of the random order.
        stratified: Whether every class gives its share, rounded so that the total is right.
    """
    n = len(labels)
    order = stream(seed, "validation", n).permutation(n)
    count = round(share * n)
    if stratified and n:
        # Every row's rank within its class, in the random order, as a share of the class: the lowest leave.
        sizes = np.bincount(labels)
        by_class = order[np.argsort(labels[order], kind="stable")]
        starts = np.cumsum(sizes) - sizes
        rank = np.empty(n)
        rank[by_class] = (np.arange(n) - np.repeat(starts, sizes) + 0.5) / np.repeat(sizes, sizes)
        order = order[np.argsort(rank[order], kind="stable")]
    return np.sort(order[count:]), np.sort(order[:count])


def _subset(part: ImagePart, count: int, name: str, seed: int) -> ImagePart:
    if count >= len(part):
        return part
    chosen = np.sort(stream(seed, "subset", name, len(part)).permutation(len(part))[:count])
    return replace(part, rows=part.rows[chosen])


def _found(name: str, place: Path, part: str) -> Source:
    source = find_source(place, name, part, name)
    if source is None:
        raise _absent(name, place, part)
    return source


def _decoded(source: Source, name: str, part: str, size: int | None, cache: Path | None) -> CachedArrays:
    ok = source.layout != "pickles" or size in (None, 32)
    require(ok, "size", "must be 32 for pickled CIFAR", size, "leave it out")
    key = {"kind": "images", "layout": source.layout, "part": part, "size": size, "digest": source.digest()}
    place = (cache or cache_directory()) / f"{name}-{part}-{fingerprint(key)}"
    kept = open_arrays(place, key)
    if kept is not None:
        return kept
    with contextlib.ExitStack() as stack:
        decoder: Decoder | None = None
        if source.layout != "pickles":
            decoder = stack.enter_context(contextlib.closing(Decoder(size, name)))
        row = (size, size, 3) if size else _row(source, decoder)
        fields = {"images": Field("uint8", row), "labels": Field("int64")}
        return cached_arrays(place, key, fields, lambda start: source.shards(start, decoder))


def _row(source: Source, decoder: Decoder | None) -> tuple[int, int, int]:
    """Return the shape of the first image."""
    chunks = (chunk for shard in source.shards(0, decoder) for chunk in shard)  # a shard may be empty
    first: tuple[int, int, int] = next(chunks)["images"].shape[1:]
    return first


def _folder(name: str, folder: str | Path | None) -> Path:
    known = IMAGES.get(name, KnownData((name,), "name another folder"))
    folders, how = known.folders, known.how
    if folder is None:
        return find_folder(folders, name, "its images", how)
    require(isinstance(folder, str | Path), "folder", "must be text", folder, how)
    for place in (Path(folder), data_directory() / folder):
        if place.is_dir():
            return place
    require(False, name, f"folder must exist here or in ${DATA_DIRECTORY}", str(folder), how)
    raise AssertionError


def _absent(name: str, place: Path, part: str) -> InvalidArgumentError:
    there = ", ".join(sorted(path.name for path in place.iterdir())[:6]) or "nothing"
    how = IMAGES[name].how if name in IMAGES else "arrange the images in one of these ways"
    spelled = "|".join(PARTS[part])
    return InvalidArgumentError(
        f"{name}: its {part} part must be {spelled}/CLASS/*.jpeg, {spelled}-*.parquet or batches of CIFAR in "
        f"{place.resolve()}, which holds {there}; {how}"
    )


def _span(labels: np.ndarray) -> object:
    return (int(labels.min()), int(labels.max())) if len(labels) else "no labels"
