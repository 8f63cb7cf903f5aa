"""A small convolutional network for small images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hypernudge.errors import require


class SmallCNN(nn.Module):
    """Blocks of 3x3 convolution, ReLU and 2x2 max-pooling, then one linear layer.

    Args:
        shape: `(channels, height, width)` of one image; each block halves height and width.
        classes: Number of outputs.
        channels: Channels of each block.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, channels: Sequence[int] = (8, 16)) -> None:
        super().__init__()
        require(len(shape) == 3, "shape", "a CNN needs (channels, height, width)", shape, "use 'mlp'")
        smallest = min(shape[1], shape[2]) >> len(channels)
        require(smallest >= 1, "channels", f"{shape} images allow fewer blocks", list(channels), "drop some")
        layers: list[nn.Module] = []
        before = shape[0]
        for after in channels:
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            before = after
        pixels = (shape[1] >> len(channels)) * (shape[2] >> len(channels))
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * pixels, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, height, width)` to logits `(n, classes)`."""
        logits: Tensor = self.layers(x)
        return logits
