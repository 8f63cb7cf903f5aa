"""Networks of the built-in tasks, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hypernudge.registry import build


def build_network(spec: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return the network that `spec` describes: `name` and the network's own options.

    Args:
        spec: For example `{"name": "mlp", "hidden": [32]}`.
        shape: Shape of one sample.
        classes: Number of outputs.

    Raises:
        InvalidArgumentError: For an unknown name or option.
    """
    network: nn.Module = build("model", spec, shape=shape, classes=classes)
    return network
