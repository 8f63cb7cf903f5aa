"""Augmentations that are differentiable in their magnitude.

The random numbers are drawn with the mini-batch; what is done with them, scaled by the magnitude, is smooth.
So the loss has a derivative with respect to the magnitude, and magnitude 0 is exactly no augmentation.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor


def translate(images: Tensor, offset: Tensor, magnitude: Any) -> Tensor:
    """Shift images by up to `magnitude` pixels along each axis, with bilinear interpolation and zero borders.

    Args:
        images: `(n, channels, height, width)`.
        offset: `(n, 2)` in [-1, 1]: the share of the magnitude along height and width.
        magnitude: Pixels, a float or 0-dimensional tensor in [0, 1].

    A shift by a fraction of a pixel is a blend of the image with its neighbour, so bilinear translation
    within one pixel is two blends, one per axis.
    """
    for axis, (before, after) in enumerate((((0, 0, 0, 1), (0, 0, 1, 0)), ((0, 1, 0, 0), (1, 0, 0, 0)))):
        size = images.shape[2 + axis]
        next_one = F.pad(images, before).narrow(2 + axis, 1, size)
        previous = F.pad(images, after).narrow(2 + axis, 0, size)
        amount = offset[:, axis].reshape(-1, 1, 1, 1)
        neighbour = torch.where(amount > 0, next_one, previous)
        images = images + magnitude * amount.abs() * (neighbour - images)
    return images


def jitter(features: Tensor, noise: Tensor, magnitude: Any) -> Tensor:
    """Add standard normal `noise`, same shape as `features`, scaled by `magnitude` (standard deviations)."""
    moved: Tensor = features + magnitude * noise
    return moved
