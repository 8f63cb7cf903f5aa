"""A small convolutional network for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hypernudge.errors import require, require_widths


class SmallCNN(nn.Module):
    """Blocks of a 3x3 convolution with stride 2 and ReLU, then one linear layer.

    Args:
        shape: `(channels, height, width)` of one image; each block halves height and width (rounding up).
        classes: Number of outputs.
        channels: Channels of each block.
    """

    is_chain = True  # `forward` is `layers`, nothing else

    def __init__(self, shape: tuple[int, ...], classes: int, channels: Sequence[int] = (8, 16)) -> None:
        super().__init__()
        require(len(shape) == 3, "shape", "a CNN needs (channels, height, width)", shape, "use 'mlp'")
        require_widths("channels", channels, least=1)
        layers: list[nn.Module] = []
        before, height, width = shape
        for after in channels:
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
            before, height, width = after, (height + 1) // 2, (width + 1) // 2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, height, width)` to logits `(n, classes)`."""
        logits: Tensor = self.layers(x)
        return logits
