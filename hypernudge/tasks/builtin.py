"""The built-in tasks by name, from their descriptions in a configuration file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import torch

from hypernudge.errors import is_real, require, require_choice, unknown_name
from hypernudge.optimizers import BELOW_1, Optimizer, rule_from
from hypernudge.optimizers import LIMITS as RULE_LIMITS
from hypernudge.space import Categorical, SearchSpace
from hypernudge.tasks.data.datasets import load_dataset
from hypernudge.tasks.data.label_noise import with_label_noise
from hypernudge.tasks.spaces import build_space
from hypernudge.tasks.supervised.regularised import OBJECTIVES, PENALTIES, RegularisedTask, is_regularised
from hypernudge.tasks.supervised.supervised import SupervisedTask

LIMITS = {
    **RULE_LIMITS,
    "augmentation": (0.0, 1e3),
    "label_smoothing": (0.0, 1.0),
    **dict.fromkeys(PENALTIES, (0.0, 1e6)),
}
"""Values with which training makes sense at all, by name."""
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
    adapted while a trial trains (`Episodes`); a space may hold the names of
    `hypernudge.tasks.supervised.regularised`.

    Raises:
        InvalidArgumentError: For an unknown name or a value that breaks a rule.
    """
    require_choice("dtype", dtype, DTYPES)
    named = label is None or isinstance(label, str)
    require(named, "label", "must be text", label, "leave it out for the names of data set and model")
    network = {"name": model} if isinstance(model, str) else model
    described = isinstance(network, Mapping) and "name" in network
    require(described, "model", "must be a name, or a mapping with a name and options", model, "'mlp', say")
    rule, searched = rule_from(optimizer), build_space(space)
    kind, extra = _class_for(searched, episodes)
    check_read(searched, kind.reads, rule)
    data = load_dataset(dataset, split_seed, inputs)
    task = kind(
        with_label_noise(data, label_noise, label_noise_kind, split_seed),
        network,
        searched,
        batch_size=batch_size,
        steps_per_unit=steps_per_unit,
        optimizer=rule,
        name=label,
        dtype=DTYPES[dtype],
        **extra,
    )
    task.described = {
        "inputs": inputs,
        "split_seed": split_seed,
        "label_noise": label_noise,
        "label_noise_kind": label_noise_kind,
    }
    return task


def check_read(space: SearchSpace, reads: Sequence[str], optimizer: Optimizer) -> None:
    """Refuse a hyper-parameter that neither loss nor optimizer reads, or with values that they cannot have.

    An optimizer that does not say what it reads may read anything.

    Raises:
        InvalidArgumentError: Naming the hyper-parameter and those that would be read.
    """
    own = getattr(optimizer, "reads", None)
    for parameter in space:
        where = f"space.{parameter.name}"
        if own is not None and parameter.name not in (*reads, *own):
            rule = "must be read by the task's loss or its optimizer"
            raise unknown_name(where, parameter.name, {*reads, *own}, rule)
        values = parameter.choices if isinstance(parameter, Categorical) else (parameter.low, parameter.high)
        if parameter.name == "objective":
            wrong = [value for value in values if value not in OBJECTIVES]
            require(not wrong, where, f"choices must be among {OBJECTIVES}", wrong, "correct it")
        elif parameter.name in LIMITS:
            low, high = LIMITS[parameter.name]
            unset = parameter.name != "lr"  # a choice of None leaves the others at their defaults
            wrong = [v for v in values if not ((is_real(v) and low <= v <= high) or (v is None and unset))]
            end = "1)" if high == BELOW_1 else f"{high:g}]"
            require(not wrong, where, f"must lie in [{low:g}, {end}", wrong, "correct its range")


def _class_for(
    space: SearchSpace, episodes: Mapping[str, Any] | None
) -> tuple[type[SupervisedTask], dict[str, Any]]:
    """Return the plainest class that does what is asked for, and its own options."""
    if episodes is not None:
        from hypernudge.tasks.supervised.episodic import Episodes, EpisodicTask

        mapping = isinstance(episodes, Mapping)
        require(mapping, "episodes", "must be a mapping", episodes, "write {lr_candidates: [0.5, 1, 2]}")
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
