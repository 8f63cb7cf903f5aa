"""The built-in tasks by name, from their descriptions in a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from hypernudge.errors import require
from hypernudge.registry import build
from hypernudge.tasks.data import load_dataset
from hypernudge.tasks.spaces import build_space
from hypernudge.tasks.supervised import SupervisedTask

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def supervised(
    dataset: str | Mapping[str, Any],
    model: str | Mapping[str, Any],
    *,
    label: str | None = None,
    space: str | Mapping[str, Any] = "mid",
    batch_size: int = 32,
    steps_per_unit: int | None = None,
    optimizer: str | Mapping[str, Any] = "sgd",
    inputs: str = "scaled",
    split_seed: int = 0,
    dtype: str = "float32",
) -> SupervisedTask:
    """Return a classification task from names: data set, network, space, optimizer.

    Raises:
        InvalidArgumentError: For an unknown name or a value that breaks a rule.
    """
    require(dtype in DTYPES, "dtype", f"must be one of {sorted(DTYPES)}", dtype, "choose one")
    return SupervisedTask(
        load_dataset(dataset, split_seed, inputs),
        {"name": model} if isinstance(model, str) else model,
        build_space(space),
        batch_size=batch_size,
        steps_per_unit=steps_per_unit,
        optimizer=build("optimizer", {"name": optimizer} if isinstance(optimizer, str) else optimizer),
        name=label,
        dtype=DTYPES[dtype],
    )


digits_mlp = partial(supervised, dataset="digits", model="mlp", label="digits_mlp")
digits_cnn = partial(supervised, dataset="digits", model="cnn", label="digits_cnn")
breast_cancer_mlp = partial(supervised, dataset="breast_cancer", model="mlp", label="breast_cancer_mlp")
