"""Usual losses whose hyper-parameters may be tensors, so that a hyper-gradient flows through them."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float | Tensor = 0.0) -> Tensor:
    """Return the mean cross-entropy, nats; `F.cross_entropy` with a label smoothing that has a derivative.

    Args:
        logits: `(..., classes)`.
        targets: int64 `(...)`.
        label_smoothing: Weight of the uniform distribution (Szegedy et al. 2016).
    """
    log_p = F.log_softmax(logits, dim=-1)
    hit = -log_p.gather(-1, targets.unsqueeze(-1)).mean()
    if isinstance(label_smoothing, float | int) and label_smoothing == 0:
        return hit
    loss: Tensor = (1.0 - label_smoothing) * hit - label_smoothing * log_p.mean()
    return loss
