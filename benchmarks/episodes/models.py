"""Models and batches on which the overhead of episodes is measured."""

import torch
from torch import Tensor, nn

from hypernudge.tasks.language.transformer import TransformerLM

VOCABULARY, LENGTH = 2048, 32


def resnet18() -> nn.Module:
    """Return that of torchvision: its ImageNet stem is cheapest on 32x32 inputs, so hardest on overhead."""
    from torchvision.models import resnet18 as published

    network: nn.Module = published(num_classes=100)
    return network


def transformer() -> nn.Module:
    """Return a decoder of 20 million parameters; its logits are `(n * length, vocabulary)`."""
    return nn.Sequential(TransformerLM((LENGTH,), VOCABULARY, width=512, depth=6, heads=8), nn.Flatten(0, 1))


def workload(name: str, device: torch.device) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a model and one batch."""
    torch.manual_seed(0)  # a benchmark's own process; layers initialise from the global generator
    if name == "mlp_26k":
        mlp = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
        return mlp.to(device), torch.randn(128, 64, device=device), torch.randint(10, (128,), device=device)
    if name == "resnet18":
        images = torch.randn(32, 3, 32, 32, device=device)
        return resnet18().to(device), images, torch.randint(100, (32,), device=device)
    tokens = torch.randint(VOCABULARY, (4, LENGTH), device=device)
    return transformer().to(device), tokens, tokens.flatten()
