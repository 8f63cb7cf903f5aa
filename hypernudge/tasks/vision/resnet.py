"""Residual networks for images of 32x32 (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from hypernudge.errors import DEEPEST, WIDEST, InvalidArgumentError, require, require_whole


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around an identity without parameters (option A).

    Args:
        before: Channels that enter.
        after: Channels that leave; the identity is padded with zeros.
        stride: Of the first convolution; the identity is subsampled by it.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride, self.extra = stride, after - before
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, before, height, width)` to `(n, after, height / stride, width / stride)`."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + subsampled(x, self.stride, self.extra))


def subsampled(x: Tensor, stride: int, extra: int) -> Tensor:
    """Return every `stride`-th pixel, with `extra` channels of zeros."""
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, extra))


class CifarResNet(nn.Module):
    """The network of section 4.2: a convolution, three stages of blocks, the mean, a linear map.

    Convolutions are drawn uniformly with the variance of He et al. 2015, 2 / fan-in.

    Args:
        depth: Layers with weights, 6 n + 2 for n blocks a stage.
        num_classes: Number of outputs.
        width: Channels of the first stage, 16 in the paper; the others have two and four times as many.
        channels: Of the images.

    Raises:
        InvalidArgumentError: A depth that is not 6 n + 2, or a count below 1.
    """

    def __init__(self, depth: int = 20, num_classes: int = 10, width: int = 16, channels: int = 3) -> None:
        super().__init__()
        require_whole("depth", depth, 8, DEEPEST)
        require(
            depth % 6 == 2, "depth", "must be 6 n + 2 for n blocks a stage", depth, "20, 32, 44 are usual"
        )
        for argument, value in (("num_classes", num_classes), ("width", width), ("channels", channels)):
            require_whole(argument, value, 1, WIDEST)
        self.conv = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        blocks: list[ResidualBlock] = []
        for after, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            before = width if stride == 1 else after // 2
            blocks.append(ResidualBlock(before, after, stride))
            blocks += [ResidualBlock(after, after, 1) for _ in range((depth - 2) // 6 - 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # PyTorch draws them with variance 1 / (3 fan-in).
                module.weight.data.mul_(6**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(n, channels, 32, 32)`, or of another size, to logits `(n, num_classes)`."""
        x = self.blocks(F.relu(self.bn(self.conv(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def resnet20(num_classes: int = 10, width: int = 16, channels: int = 3) -> CifarResNet:
    """Return ResNet-20, 0.27 million parameters; see `CifarResNet`."""
    return CifarResNet(20, num_classes, width, channels)


def resnet32(num_classes: int = 10, width: int = 16, channels: int = 3) -> CifarResNet:
    """Return ResNet-32, 0.46 million parameters; see `CifarResNet`."""
    return CifarResNet(32, num_classes, width, channels)


def resnet44(num_classes: int = 10, width: int = 16, channels: int = 3) -> CifarResNet:
    """Return ResNet-44, 0.66 million parameters; see `CifarResNet`."""
    return CifarResNet(44, num_classes, width, channels)


def resnet56(num_classes: int = 10, width: int = 16, channels: int = 3) -> CifarResNet:
    """Return ResNet-56, 0.85 million parameters; see `CifarResNet`."""
    return CifarResNet(56, num_classes, width, channels)


def resnet110(num_classes: int = 10, width: int = 16, channels: int = 3) -> CifarResNet:
    """Return ResNet-110, 1.7 million parameters; see `CifarResNet`."""
    return CifarResNet(110, num_classes, width, channels)


def resnet18_cifar(num_classes: int = 100, channels: int = 3, width: int = 64) -> nn.Module:
    """Return torchvision's ResNet-18 with a stem for small images: a 3x3 convolution of stride 1, no pooling.

    Args:
        num_classes: Number of outputs.
        channels: Of the images.
        width: Channels of the first stage; each of the other three has twice as many as the one before.

    Raises:
        InvalidArgumentError: torchvision is not installed, or `width` is below 1.
    """
    require_whole("width", width, 1, WIDEST)
    try:
        from torchvision.models import ResNet
        from torchvision.models.resnet import BasicBlock
    except ImportError:
        raise InvalidArgumentError(
            "resnet18_cifar: needs torchvision, which is not installed; pip install 'hypernudge[vision]'"
        ) from None

    class Narrowed(ResNet):  # type: ignore[misc]  # widths are no arguments of torchvision's
        def _make_layer(self, block: Any, planes: int, *rest: Any, **options: Any) -> nn.Sequential:
            if planes == 64:
                self.inplanes = width
            made: nn.Sequential = super()._make_layer(block, planes * width // 64, *rest, **options)
            return made

    network: nn.Module = Narrowed(BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
    network.conv1 = nn.Conv2d(channels, width, 3, stride=1, padding=1, bias=False)
    network.maxpool = nn.Identity()
    if width != 64:
        network.bn1 = nn.BatchNorm2d(width)
        network.fc = nn.Linear(8 * width, num_classes)
    return network
