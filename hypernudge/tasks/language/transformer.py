"""A pre-norm Transformer decoder (Vaswani et al. 2017) with rotary positions and tied embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from hypernudge.errors import require, require_between, require_whole


class Block(nn.Module):
    """Causal self-attention and a perceptron, each on the normalised input and added to it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Map `(n, length, width)` to the same shape."""
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # No dropout of attention weights: fused and plain attention would draw it in different orders.
        mixed = F.scaled_dot_product_attention(
            rotated(q, cosine, sine), rotated(k, cosine, sine), v, is_causal=True
        )
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(n, length, width)))
        result: Tensor = x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))
        return result


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair of features `i`, `i + d / 2` by its position's angle (Su et al. 2021, RoFormer).

    Args:
        x: `(..., length, d)`.
        cosine: Of the angles, `(length, d / 2)`.
        sine: Likewise.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class TransformerLM(nn.Module):
    """A language model: token embedding, pre-norm blocks, normalisation, the embedding again as output.

    About `classes * width + 12 * depth * width ** 2` parameters: 1 million with a vocabulary of 2,048,
    width 128 and depth 4, 124 million with 50,257, 768 and 12. Linear layers have no biases. Weights are
    drawn from N(0, 0.02^2), those that end a branch divided by sqrt(2 depth) (Radford et al. 2019). Attention
    can be differentiated twice within `hypernudge.hypergradient.attention.twice_differentiable`.

    Args:
        shape: `(length,)`, tokens of a window at most.
        classes: Number of tokens in the vocabulary.
        width: Size of an embedding, a multiple of `2 * heads`.
        depth: Number of blocks.
        heads: Attention heads.
        dropout: Share of the embeddings and of each branch's outputs that is dropped in training.

    Raises:
        InvalidArgumentError: A value out of range, or a width that does not divide.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require(len(shape) == 1, "shape", "a language model needs (length,)", shape, "use another network")
        length = shape[0]
        counts = {"classes": classes, "width": width, "depth": depth, "heads": heads, "shape": length}
        for argument, value in counts.items():
            require_whole(argument, value)
        even = width % (2 * heads) == 0
        require(even, "width", f"must be a multiple of twice the {heads} heads", width, "change one of them")
        require_between("dropout", dropout, 0.0, 1.0, ends=True, remedy="0.1 is usual")
        self.embedding = nn.Embedding(classes, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        half = width // heads // 2
        frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
        self.cosine: Tensor
        self.sine: Tensor
        self.register_buffer("cosine", angle.cos().float(), persistent=False)
        self.register_buffer("sine", angle.sin().float(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() >= 2:
                ends = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * depth) ** 0.5 if ends else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens int64 `(n, length)` to logits of the next ones, `(n, length, classes)`.

        Raises:
            InvalidArgumentError: The window is longer than the model was made for.
        """
        return F.linear(self.features(tokens), self.embedding.weight)

    def features(self, tokens: Tensor) -> Tensor:
        """Map tokens int64 `(n, length)` to what the output layer gets, `(n, length, width)`.

        Raises:
            InvalidArgumentError: The window is longer than the model was made for.
        """
        length, most = tokens.shape[-1], len(self.cosine)
        require(length <= most, "length", f"must be at most {most}", length, "make the model with this shape")
        x = self.dropout(self.embedded(tokens))
        cosine, sine = self.cosine[:length].to(x.dtype), self.sine[:length].to(x.dtype)
        for block in self.blocks:
            x = block(x, cosine, sine)
        result: Tensor = self.norm(x)
        return result

    def embedded(self, tokens: Tensor) -> Tensor:
        """Map tokens int64 `(n, length)` to their vectors, `(n, length, width)`."""
        result: Tensor = self.embedding(tokens)
        return result
