"""Encoded images (JPEG, PNG) to pixels of one size."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, one_line, require


@dataclass(frozen=True)
class Encoded:
    """One image as it lies in its file: a name for errors, its bytes, its label."""

    name: str
    data: bytes
    label: int


class Decoder:
    """Decodes images in threads.

    With a `size`, the shorter side is resized to it (bicubic, antialiased) and the middle square is kept. A
    JPEG that is much larger is decoded at a fraction of its resolution, never below twice `size`. Without a
    size, all images must be equally large.

    Args:
        size: Side of the result, pixels; None for images as they are.
        argument: What the user has named, for errors.

    Raises:
        InvalidArgumentError: Pillow is not installed.
    """

    def __init__(self, size: int | None, argument: str) -> None:
        try:
            from PIL import Image
        except ImportError:
            raise InvalidArgumentError(
                f"{argument}: needs Pillow to decode images, which is not installed; pip install "
                "'hypernudge[vision]'"
            ) from None
        self._image: Any = Image
        self._size, self._argument = size, argument
        self._pool = ThreadPoolExecutor(min(32, os.cpu_count() or 1))

    def __call__(self, images: Sequence[Encoded]) -> dict[str, np.ndarray]:
        """Return `images`, uint8 `(n, height, width, 3)`, and `labels`, int64 `(n,)`.

        Raises:
            InvalidArgumentError: One cannot be decoded, or has another size.
        """
        arrays = list(self._pool.map(self._decoded, images))
        for image, array in zip(images, arrays, strict=True):
            same = array.shape == arrays[0].shape
            rule = f"images must be equally large, {arrays[0].shape[:2]}, but {image.name}"
            require(same, self._argument, rule, array.shape[:2], "choose a size to resize them to")
        return {"images": np.stack(arrays), "labels": np.array([image.label for image in images], np.int64)}

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown()

    def _decoded(self, encoded: Encoded) -> np.ndarray:
        try:
            with self._image.open(io.BytesIO(encoded.data)) as image:
                if self._size is None:
                    return np.asarray(self._rgb(image))
                # Only JPEG knows this; it chooses a fraction that is no smaller than what is asked for.
                image.draft("RGB", (2 * self._size, 2 * self._size))
                pixels = self._rgb(image)
        except (OSError, ValueError, SyntaxError, self._image.DecompressionBombError) as error:
            known = "cannot identify" not in str(error)  # Pillow would show an address of our own
            reason = str(error) if known else "cannot identify its format"
            raise InvalidArgumentError(
                f"{self._argument}: {one_line(encoded.name)} must be an image, but {reason}; replace it"
            ) from None
        scale = self._size / min(pixels.size)
        width, height = (max(self._size, round(side * scale)) for side in pixels.size)
        left, top = (width - self._size) // 2, (height - self._size) // 2
        pixels = pixels.resize((width, height), self._image.Resampling.BICUBIC)
        return np.asarray(pixels.crop((left, top, left + self._size, top + self._size)))

    def _rgb(self, image: Any) -> Any:
        """Return an image with three channels of 8 bits; of 16, which Pillow would cut off, the upper."""
        if image.mode.startswith("I"):
            image = self._image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
        elif "transparency" in image.info:  # of a palette: Pillow warns, and drops it in the same way
            image.info.pop("transparency")
        return image.convert("RGB")
