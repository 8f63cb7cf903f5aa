"""The library's Transformer for small texts of many words: more is dropped, and rare words cost less."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.learning.adaptive_softmax import AdaptiveSoftmax
from hypernudge.tasks.language.transformer import TransformerLM


class WordModel(nn.Module):
    """A Transformer that returns the losses of words that are numbered by frequency.

    In training, a share of the *words* is dropped for a whole mini-batch, wherever they stand (Gal and
    Ghahramani 2016), and a share of what the output layer gets.

    Args:
        length: Words of a window at most.
        counts: How often each word was seen, descending, `(vocabulary,)`.
        width: As the next ones, of the Transformer.
        depth: Blocks.
        heads: Attention heads.
        dropout: Of embeddings and branches, and of what the output layer gets.
        word_dropout: Share of the vocabulary.
        frequent: Words of the output's first step; see `AdaptiveSoftmax`.
    """

    def __init__(
        self,
        length: int,
        counts: np.ndarray,
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        word_dropout: float,
        frequent: int,
    ) -> None:
        super().__init__()
        self.model = _WordsDropped((length,), len(counts), width, depth, heads, dropout)
        self.model.word_dropout = word_dropout
        self.dropout = nn.Dropout(dropout)
        self.output = AdaptiveSoftmax(counts, width, frequent)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Map words and what follows each, int64 `(n, length)`, to losses, nats, of the same shape."""
        features = self.dropout(self.model.features(tokens))
        losses: Tensor = self.output(features, self.model.embedding.weight, targets)
        return losses


class _WordsDropped(TransformerLM):
    word_dropout = 0.0

    def embedded(self, tokens: Tensor) -> Tensor:
        x, p = super().embedded(tokens), self.word_dropout
        if not self.training or p == 0:
            return x
        kept = torch.rand(self.embedding.num_embeddings, device=x.device) >= p
        return x * (kept[tokens].unsqueeze(-1) / (1 - p)).to(x.dtype)
