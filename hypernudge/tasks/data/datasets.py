"""Data sets by name: features, labels and a fixed split, ready for training.

`digits` (1,797 images of 8x8, ten classes) and `breast_cancer` (569 x 30, two classes) are read from the
files that ship inside scikit-learn, without importing it: that import takes longer than a small study.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import require, require_choice, require_whole, unknown_name
from hypernudge.random import stream
from hypernudge.tasks.data.catalogue import builder_for

SPLIT = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class Dataset:
    """A classification data set, split.

    `x` holds float64 arrays by split ("train", "validation", "test"), shape `(n, features)`, or
    `(n, channels, height, width)` for images; `y` holds int64 labels `(n,)`.
    """

    name: str
    kind: str  # "images" or "table"
    classes: int
    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x["train"].shape[1:])


def sklearn_file(name: str) -> Path:
    """Return a data file that ships inside scikit-learn, without importing it.

    Raises:
        InvalidArgumentError: scikit-learn is not installed.
    """
    spec = importlib.util.find_spec("sklearn")
    found = spec is not None and spec.origin is not None
    require(found, "dataset", "its file ships inside scikit-learn", name, "pip install hypernudge[harness]")
    assert spec is not None and spec.origin is not None  # for the type checker
    return Path(spec.origin).parent / "datasets" / "data" / name


def split_indices(n: int, seed: int, fractions: tuple[float, float, float] = SPLIT) -> dict[str, np.ndarray]:
    """Return a random partition of `range(n)` into train, validation and test; a function of `seed` only."""
    order = stream(seed, "split", n).permutation(n)
    train, validation = round(fractions[0] * n), round((fractions[0] + fractions[1]) * n)
    parts = np.split(order, [train, validation])
    return dict(zip(("train", "validation", "test"), parts, strict=True))


def _digits(split_seed: int, inputs: str) -> Dataset:
    with gzip.open(sklearn_file("digits.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    images = table[:, :64].reshape(-1, 1, 8, 8) / (16.0 if inputs == "scaled" else 1.0)
    labels = table[:, 64].astype(np.int64)
    parts = split_indices(len(labels), split_seed)
    x = {name: images[index] for name, index in parts.items()}
    return Dataset("digits", "images", 10, x, {name: labels[index] for name, index in parts.items()})


def _breast_cancer(split_seed: int, inputs: str) -> Dataset:
    table = np.loadtxt(sklearn_file("breast_cancer.csv"), delimiter=",", skiprows=1)
    return _table("breast_cancer", table[:, :30], table[:, 30].astype(np.int64), split_seed, inputs)


def _table(name: str, features: np.ndarray, labels: np.ndarray, split_seed: int, inputs: str) -> Dataset:
    """Split a table with classes 0, 1, ...; standardise it by its training part if `inputs` are "scaled"."""
    parts = split_indices(len(labels), split_seed)
    if inputs == "scaled":
        mean, deviation = features[parts["train"]].mean(0), features[parts["train"]].std(0)
        # A column may be constant in the training part alone.
        features = (features - mean) / np.where(deviation > 0, deviation, 1.0)
    x = {part: features[index] for part, index in parts.items()}
    y = {part: labels[index] for part, index in parts.items()}
    return Dataset(name, "table", int(labels.max()) + 1, x, y)


LOADERS: dict[str, Callable[[int, str], Dataset]] = {"digits": _digits, "breast_cancer": _breast_cancer}


_kept: ContextVar[dict[str, Dataset] | None] = ContextVar("kept", default=None)


@contextlib.contextmanager
def last_kept() -> Iterator[None]:
    """Keep the data set that was loaded last, for tasks on the same data that are built one after another."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def load_dataset(name: str | Mapping[str, Any], split_seed: int = 0, inputs: str = "scaled") -> Dataset:
    """Return the data set `name`, split 60/20/20 by `split_seed`.

    Args:
        name: A key of `LOADERS`, or the description of a table (see `read_table` in
            `hypernudge.tasks.data.tables`).
        split_seed: Seed of the split; the same for every study, so that scores are comparable.
        inputs: `"scaled"` (pixels to [0, 1], tables standardised on the training part) or `"raw"`.

    Raises:
        InvalidArgumentError: For an unknown name or kind of inputs, or if the data file is not installed.
    """
    require_choice("inputs", inputs, ("scaled", "raw"))
    require_whole("split_seed", split_seed, 0)
    kept, key = _kept.get(), repr((name, split_seed, inputs))
    if kept is not None and key in kept:
        return kept[key]
    data = _loaded(name, split_seed, inputs)
    if kept is not None:
        kept.clear()
        kept[key] = data
    return data


def _loaded(name: str | Mapping[str, Any], split_seed: int, inputs: str) -> Dataset:
    if isinstance(name, Mapping) and "table" in name:
        from hypernudge.tasks.data.tables import read_table

        return _table(*read_table(name, split_seed), split_seed, inputs)
    task = builder_for(name)
    rule = "must be a table or a small data set"
    require(task is None, "dataset", rule, name, f"write the task {task}, which trains on it")
    if not isinstance(name, str) or name not in LOADERS:
        raise unknown_name("dataset", name, LOADERS)
    return LOADERS[name](split_seed, inputs)
