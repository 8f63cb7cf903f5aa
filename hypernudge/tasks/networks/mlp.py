"""A multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hypernudge.errors import require_widths


class MLP(nn.Module):
    """Flattens its input; ReLU between linear layers.

    Args:
        shape: Shape of one sample.
        classes: Number of outputs.
        hidden: Widths of the hidden layers; empty gives a linear model.
    """

    is_chain = True  # `forward` is `layers`, nothing else

    def __init__(self, shape: tuple[int, ...], classes: int, hidden: Sequence[int] = (32,)) -> None:
        super().__init__()
        require_widths("hidden", hidden)
        features = 1
        for size in shape:
            features *= size
        widths = [features, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, *shape)` to logits `(n, classes)`."""
        logits: Tensor = self.layers(x)
        return logits
