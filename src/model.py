"""Every network by its configuration: baseline, proposed and ablation variations share them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hypernudge.tasks.networks import build_network


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """Return the network that `config` describes.

    Args:
        config: `name` ("mlp", "resnet20", "vit", "timm/resnet50", "transformer_lm", ...), `shape` of one
            sample, `classes` (of a language model: its vocabulary), and the network's own options.

    Raises:
        InvalidArgumentError: For an unknown name or option.
    """
    spec = {key: value for key, value in config.items() if key not in ("shape", "classes")}
    return build_network(spec, tuple(config["shape"]), int(config["classes"]))
