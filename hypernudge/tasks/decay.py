"""Which parameters decay: matrices do, and neither biases nor the scales of normalisation."""

from __future__ import annotations

from typing import Any

from torch import nn


def decayed(model: nn.Module) -> dict[str, bool]:
    """Return for each trainable parameter by name whether it decays: whether it has two dimensions or more.

    A parameter that is used twice (tied embeddings) appears once, as in `named_parameters`.
    """
    return {name: value.dim() >= 2 for name, value in model.named_parameters() if value.requires_grad}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return what an optimizer of `torch.optim` takes: matrices with the decay, everything else without.

    Args:
        model: Its trainable parameters are taken.
        weight_decay: Of the first group.
    """
    decays = decayed(model)
    params = dict(model.named_parameters())
    groups = []
    for of_group, rate in ((True, weight_decay), (False, 0.0)):
        chosen = [params[name] for name, does in decays.items() if does == of_group]
        if chosen:
            groups.append({"params": chosen, "weight_decay": rate})
    return groups
