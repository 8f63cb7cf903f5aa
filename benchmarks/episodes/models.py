"""Models and batches on which the overhead of episodes is measured."""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """A residual block of ResNet-18."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.skip = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, c, h, w)` to `(b, c', h / stride, w / stride)`."""
        return torch.relu(self.body(x) + self.skip(x))


def resnet18() -> nn.Module:
    """Return ResNet-18 with its ImageNet stem: on 32x32 inputs the cheapest, so the hardest on overhead."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    for inside, outside, stride in [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]:
        layers += [Block(inside, outside, stride), Block(outside, outside, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 100))


class Transformer(nn.Module):
    """A 20-million-parameter language model: six layers of width 512, tied to a vocabulary of 2,048."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(2048, 512)
        layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens `(b, t)` to logits `(b * t, 2048)`."""
        hidden: Tensor = self.layers(self.tokens(x))
        return (hidden @ self.tokens.weight.T).flatten(0, 1)


def workload(name: str, device: torch.device) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a model and one batch."""
    torch.manual_seed(0)  # a benchmark's own process; layers initialise from the global generator
    if name == "mlp_26k":
        mlp = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
        return mlp.to(device), torch.randn(128, 64, device=device), torch.randint(10, (128,), device=device)
    if name == "resnet18":
        images = torch.randn(32, 3, 32, 32, device=device)
        return resnet18().to(device), images, torch.randint(100, (32,), device=device)
    tokens = torch.randint(2048, (4, 32), device=device)
    return Transformer().to(device), tokens, tokens.flatten()
