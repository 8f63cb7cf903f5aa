"""How a rate falls from its peak to zero: the share of the peak over the share of the way."""

import math
from collections.abc import Callable

SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda way: 1.0 - way,
    "cosine": lambda way: 0.5 * (1.0 + math.cos(math.pi * way)),
    "1-sqrt": lambda way: 1.0 - math.sqrt(way),
    "none": lambda way: 1.0,
}
"""Each maps [0, 1] to [0, 1]: `cosine` is that of Loshchilov and Hutter (2017), `1-sqrt` that of Hägele et
al. (2024); `none` keeps the peak, for a schedule of the user's own that falls."""
AUTO = "auto"
"""`none` where the optimizer has a schedule already, `linear` elsewhere."""
CHOICES = (AUTO, *SHAPES)
EPISODES = 64
"""Episodes into which an annealing is cut for the records, at most."""


def share_left(shape: str, step: int, start: int, end: int) -> float:
    """Return the share of the peak left at `step` of an annealing over the steps `start` to `end` - 1."""
    if step >= end:
        return SHAPES[shape](1.0)
    return SHAPES[shape]((step - start) / (end - start)) if step > start else 1.0
