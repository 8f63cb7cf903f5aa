"""Finding the loss in what a module returns."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def training_loss(output: Any) -> Tensor | None:
    """Return the scalar training loss in a module's output, or None.

    Understands a scalar tensor (a criterion), an object with `.loss` and a mapping with `"loss"`
    (models of the transformers library). Losses that need no gradient (evaluation) do not count.

    Args:
        output: What `forward` returned.

    Returns:
        The loss, shape `()` or one element.
    """
    if isinstance(output, Tensor):
        loss: Any = output
    elif isinstance(output, Mapping):
        loss = output.get("loss")
    else:
        loss = getattr(output, "loss", None)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        return None
    return loss if loss.requires_grad and torch.is_grad_enabled() else None
