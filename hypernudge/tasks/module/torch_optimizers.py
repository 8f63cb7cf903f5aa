"""PyTorch's optimizers for the update rules that warm starts know, fused where there is such a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hypernudge.errors import require
from hypernudge.optimizers import SGD, AdamW, Optimizer, setting
from hypernudge.tasks.decay import parameter_groups

FUSED = ("cpu", "cuda", "mps")  # devices with one kernel for all parameters


def check_trainable(rule: Optimizer) -> None:
    """Refuse an update rule that no optimizer of PyTorch follows.

    Raises:
        InvalidArgumentError: If it is neither SGD with coupled weight decay nor AdamW.
    """
    known = (type(rule) is SGD and not rule.decoupled) or type(rule) is AdamW
    rule_text = "must be SGD with coupled weight decay, or AdamW: what torch.optim has"
    require(known, "optimizer", rule_text, rule, "write 'sgd' or 'adamw'")


def torch_optimizer(
    rule: Optimizer, model: nn.Module, hp: Mapping[str, Any], device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimizer of `torch.optim` that makes the steps of `rule` at a configuration."""
    real = all(value.is_floating_point() for value in model.parameters() if value.requires_grad)
    fused = device.type in FUSED and real
    lr, decay = float(hp["lr"]), float(setting(hp, "weight_decay"))
    params: Any = [value for value in model.parameters() if value.requires_grad]
    if getattr(rule, "decay", "all") == "matrices":
        params = parameter_groups(model, decay)
    if isinstance(rule, AdamW):
        beta1 = float(setting(hp, "beta1", setting(hp, "momentum", rule.beta1)))
        betas = (beta1, float(setting(hp, "beta2", rule.beta2)))
        return torch.optim.AdamW(params, lr, betas, rule.eps, decay, fused=fused)
    return torch.optim.SGD(params, lr, float(setting(hp, "momentum")), weight_decay=decay, fused=fused)
