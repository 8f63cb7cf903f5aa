"""A vision transformer (Dosovitskiy et al. 2021), for where timm is not installed."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from hypernudge.errors import DEEPEST, WIDEST, require, require_between, require_whole


class Attention(nn.Module):
    """Self-attention over all positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, positions, width)` to the same shape."""
        n, positions, width = x.shape
        q, k, v = self.qkv(x).view(n, positions, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(n, positions, width))
        return mixed


class Perceptron(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., width)` to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and perceptron, each on the normalised input and added to it (pre-norm)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width, 4 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, positions, width)` to the same shape."""
        x = x + self.dropout(self.attn(self.norm1(x)))
        out: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return out


class Patches(nn.Module):
    """Cuts images into square patches and projects each."""

    def __init__(self, patch_size: int, width: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, height, width)` to `(n, patches, width)`."""
        out: Tensor = self.proj(x).flatten(2).mT
        return out


class VisionTransformer(nn.Module):
    """ViT with a class token and learned positions; parameters are named and shaped as timm's.

    The defaults are `timm/vit_tiny_patch16_224` with `img_size=32, patch_size=4`: 5.4 million parameters.
    Attention can be differentiated twice within `hypernudge.hypergradient.attention.twice_differentiable`.

    Args:
        num_classes: Number of outputs.
        img_size: Side of an image, pixels.
        patch_size: Side of a patch, a divisor of `img_size`.
        width: Size of an embedding, a multiple of `heads`.
        depth: Number of blocks.
        heads: Attention heads.
        dropout: Share of each block's outputs that is dropped in training.
        channels: Of the images.

    Raises:
        InvalidArgumentError: A size that does not divide, or a value out of range.
    """

    def __init__(
        self,
        num_classes: int = 10,
        img_size: int = 32,
        patch_size: int = 4,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        dropout: float = 0.0,
        channels: int = 3,
    ) -> None:
        super().__init__()
        counts = {"num_classes": num_classes, "img_size": img_size, "patch_size": patch_size, "width": width}
        for argument, value in {**counts, "heads": heads, "channels": channels}.items():
            require_whole(argument, value, 1, WIDEST)
        require_whole("depth", depth, 1, DEEPEST)
        divides = img_size % patch_size == 0
        require(divides, "patch_size", f"must divide img_size {img_size}", patch_size, "4 is usual for 32")
        require(width % heads == 0, "width", f"must be a multiple of heads {heads}", width, "change one")
        require_between("dropout", dropout, 0.0, 1.0, ends=True, remedy="0.1 is usual")
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, (img_size // patch_size) ** 2 + 1, width))
        self.patch_embed = Patches(patch_size, width, channels)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(n, channels, img_size, img_size)` to logits `(n, num_classes)`."""
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        x = self.norm(self.blocks(self.dropout(x)))
        logits: Tensor = self.head(x[:, 0])
        return logits
