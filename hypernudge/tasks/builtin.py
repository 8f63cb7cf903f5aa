"""The built-in tasks by name, from their descriptions in a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import torch

from hypernudge.errors import require
from hypernudge.optimizers import rule_from
from hypernudge.space import SearchSpace
from hypernudge.tasks.data import load_dataset
from hypernudge.tasks.label_noise import with_label_noise
from hypernudge.tasks.regularised import RegularisedTask, is_regularised
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
    label_noise: float = 0.0,
    label_noise_kind: str = "symmetric",
    episodes: Mapping[str, Any] | None = None,
) -> SupervisedTask:
    """Return a classification task from names: data set, network, space, optimizer.

    `label_noise` of the training labels are wrong (`with_label_noise`); with `episodes` the learning rate is
    adapted while a trial trains (`Episodes`); a space may hold the names of `hypernudge.tasks.regularised`.

    Raises:
        InvalidArgumentError: For an unknown name or a value that breaks a rule.
    """
    require(dtype in DTYPES, "dtype", f"must be one of {sorted(DTYPES)}", dtype, "choose one")
    data = load_dataset(dataset, split_seed, inputs)
    kind, extra = _class_for(build_space(space), episodes)
    return kind(
        with_label_noise(data, label_noise, label_noise_kind, split_seed),
        {"name": model} if isinstance(model, str) else model,
        build_space(space),
        batch_size=batch_size,
        steps_per_unit=steps_per_unit,
        optimizer=rule_from(optimizer),
        name=label,
        dtype=DTYPES[dtype],
        **extra,
    )


def _class_for(
    space: SearchSpace, episodes: Mapping[str, Any] | None
) -> tuple[type[SupervisedTask], dict[str, Any]]:
    """Return the plainest class that does what is asked for, and its own options."""
    if episodes is not None:
        from hypernudge.tasks.episodic import Episodes, EpisodicTask

        known = {field.name for field in fields(Episodes)}
        unknown = sorted(set(episodes) - known)
        require(not unknown, "episodes", f"keys must be among {sorted(known)}", unknown, "remove them")
        return EpisodicTask, {"episodes": Episodes(**episodes)}
    if is_regularised(space):
        return RegularisedTask, {}
    return SupervisedTask, {}


digits_mlp = partial(supervised, dataset="digits", model="mlp", label="digits_mlp")
digits_cnn = partial(supervised, dataset="digits", model="cnn", label="digits_cnn")
breast_cancer_mlp = partial(supervised, dataset="breast_cancer", model="mlp", label="breast_cancer_mlp")
