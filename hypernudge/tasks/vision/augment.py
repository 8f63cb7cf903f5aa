"""Augmentation of a whole mini-batch on its device, from random numbers that belong to seed and step.

What is drawn (`Augmentation.draw`) does not depend on the images or on the magnitude, and is a function of
seed and step alone; so training resumes without the state of a loader. What is done with it is differentiable
in the magnitude wherever it is continuous: translation, cutout and colour are, mirroring and crops are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor

from hypernudge.errors import require_between, require_whole
from hypernudge.random import torch_stream
from hypernudge.tasks.supervised.augment import translate, translation_taps

Draws = Mapping[str, Tensor]


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, in this order; the magnitude multiplies the last three.

    Attributes:
        flip: Mirror every second image, at random.
        crop: Pixels that images are padded with before a crop of the old size at random; 0 for none.
        colour: Largest relative change of brightness, contrast and saturation.
        shift: Largest translation along each axis, pixels, bilinear.
        cutout: Side of a square at random that is set to the mean (DeVries and Taylor 2017), pixels.

    Raises:
        InvalidArgumentError: A negative amount.
    """

    flip: bool = True
    crop: int = 4
    colour: float = 0.0
    shift: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        for argument, pixels in (("crop", self.crop), ("cutout", self.cutout)):
            require_whole(argument, pixels, 0)
        require_between("colour", self.colour, 0.0, 1.0, ends=True)
        require_between("shift", self.shift, 0.0, 1e6, ends=True)

    @property
    def magnified(self) -> bool:
        """Whether the magnitude changes anything."""
        return bool(self.colour or self.shift or self.cutout)

    def draw(self, seed: int, step: int, n: int) -> dict[str, Tensor]:
        """Return the random numbers of `n` images, first dimension n, on the CPU."""
        generator = torch_stream(seed, "augmentation", step)

        def uniform(columns: int) -> Tensor:
            return torch.rand((n, columns), generator=generator)

        # Always all of them, so that what is switched on does not change the others.
        place, coin, colour, shift, centre = uniform(2), uniform(1), uniform(3), uniform(2), uniform(2)
        return {
            "offset": (place * (2 * self.crop + 1)).long().clamp_(max=2 * self.crop),
            "flip": (coin < 0.5).squeeze(1) & self.flip,
            "colour": 2.0 * colour - 1.0,
            "shift": 2.0 * shift - 1.0,
            "centre": centre,
        }

    def __call__(
        self, images: Tensor, draws: Draws, mean: Tensor, deviation: Tensor, magnitude: Any = 1.0
    ) -> Tensor:
        """Return augmented, standardised images, `(n, 3, height, width)` of the type of `mean`.

        Args:
            images: uint8 `(n, height, width, 3)`.
            draws: From `draw`, on any device.
            mean: `(3,)`, of each channel, pixels in [0, 1].
            deviation: `(3,)`, likewise.
            magnitude: Float or 0-dimensional tensor in [0, 1]; 0 switches colour, translation and cutout off.
        """
        offset, flip = (draws[name].to(images.device) for name in ("offset", "flip"))
        x = crop_and_flip(images.permute(0, 3, 1, 2), offset, flip, self.crop)
        x = x.to(mean.dtype) / 255
        if self.colour:
            x = jitter_colour(x, draws["colour"].to(x), self.colour * magnitude)
        x = (x - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)
        if self.shift:
            x = shifted(x, draws["shift"].to(x), self.shift * magnitude, math.ceil(self.shift))
        if self.cutout:
            x = cut_out(x, draws["centre"].to(x), self.cutout, magnitude)
        return x


def standardised(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return images as an `Augmentation` does that augments nothing; arguments as there."""
    x = images.permute(0, 3, 1, 2).to(mean.dtype) / 255
    return (x - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)


def crop_and_flip(images: Tensor, offset: Tensor, flip: Tensor, padding: int) -> Tensor:
    """Crop each image from itself with a border of zeros, then mirror some.

    Args:
        images: `(n, channels, height, width)` of any type.
        offset: int64 `(n, 2)` in [0, 2 * padding], along height and width; `padding` is the middle.
        flip: bool `(n,)`, which images are mirrored along their width.
        padding: Pixels.
    """
    n, channels, height, width = images.shape
    down = offset[:, :1] + torch.arange(height, device=images.device)
    span = torch.arange(width, device=images.device)
    across = offset[:, 1:] + torch.where(flip[:, None], span.flip(0), span)
    padded = F.pad(images, (padding,) * 4)
    which = torch.arange(n, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return padded[which, channel, down[:, None, :, None], across[:, None, None, :]]


def shifted(images: Tensor, offset: Tensor, magnitude: Any, most: int) -> Tensor:
    """Move images by `magnitude * offset` pixels, with bilinear interpolation and a border of zeros.

    Differentiable in the magnitude; `hypernudge.tasks.supervised.augment` has this for one pixel at most.

    Args:
        images: `(n, channels, height, width)`, floating point.
        offset: `(n, 2)` in [-1, 1], along height and width.
        magnitude: Pixels, a float or 0-dimensional tensor in [0, most].
        most: Pixels.
    """
    distance = (magnitude * offset.abs()).clamp(max=most)  # has a derivative at magnitude 0 too
    whole = distance.detach().trunc()
    none = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    moved = crop_and_flip(images, (whole * offset.sign()).long() + most, none, most)
    return translate(translation_taps(moved, offset), torch.ones_like(offset), distance - whole)


def cut_out(images: Tensor, centre: Tensor, side: int, magnitude: Any) -> Tensor:
    """Set a square of each standardised image to zero, which is the mean; differentiable in the magnitude.

    Args:
        images: `(n, channels, height, width)`.
        centre: `(n, 2)` in [0, 1), along height and width; the square may reach over the border.
        side: Of the square, pixels.
        magnitude: 1 sets the square to zero, 0 leaves it, between them it is scaled.
    """
    inside = []
    for axis, length in enumerate(images.shape[2:]):
        first = (centre[:, axis : axis + 1] * length).floor() - side // 2
        pixel = torch.arange(length, device=images.device)
        inside.append((pixel >= first) & (pixel < first + side))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    cut: Tensor = images * (1.0 - magnitude * square.to(images.dtype))
    return cut


def jitter_colour(images: Tensor, amount: Tensor, magnitude: Any) -> Tensor:
    """Change brightness, contrast and saturation by factors `1 + magnitude * amount`, in this order.

    As torchvision's functions of these names, but not clipped to [0, 1], where the derivative would end.

    Args:
        images: `(n, 3, height, width)` in [0, 1].
        amount: `(n, 3)` in [-1, 1].
        magnitude: Float or 0-dimensional tensor.
    """
    brightness, contrast, saturation = (1.0 + magnitude * amount).view(-1, 3, 1, 1, 1).unbind(1)
    x = images * brightness
    x = grey(x).mean((2, 3), keepdim=True) * (1.0 - contrast) + x * contrast
    coloured: Tensor = grey(x) * (1.0 - saturation) + x * saturation
    return coloured


def grey(images: Tensor) -> Tensor:
    """Return the luma of RGB images (ITU-R BT.601), `(n, 1, height, width)`."""
    red, green, blue = images.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)
