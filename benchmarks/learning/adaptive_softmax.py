"""A softmax over many words in two steps: the frequent ones and a class of all others, then those.

Grave et al. 2017, "Efficient softmax approximation for GPUs": exact probabilities, but the many rare words
cost something only where one of them follows. PyTorch's `AdaptiveLogSoftmaxWithLoss` has neither weights that
are tied to the embedding nor a bias for the rare words.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn


class AdaptiveSoftmax(nn.Module):
    """Losses of words that are numbered by frequency, the most frequent first.

    The biases begin at the logarithms of the words' frequencies, so that an output of zeros gives each word
    its share of the text.

    Args:
        counts: How often each word was seen, descending, `(vocabulary,)`.
        width: Of what comes in.
        frequent: Words of the first step, in [1, vocabulary).
    """

    def __init__(self, counts: np.ndarray, width: int, frequent: int) -> None:
        super().__init__()
        shares = (counts + 0.5) / (counts + 0.5).sum()
        self.frequent = frequent
        self.bias = nn.Parameter(torch.from_numpy(np.log(shares)).float())
        self.of_class = nn.Parameter(torch.zeros(1, width))
        rare = np.log(shares[frequent:].sum(keepdims=True))
        self.bias_of_class = nn.Parameter(torch.from_numpy(rare).float())

    def forward(self, features: Tensor, words: Tensor, targets: Tensor) -> Tensor:
        """Return minus the log-probability of each target, nats, float32, in the shape of `targets`.

        Args:
            features: `(..., width)`.
            words: The vectors of all words, `(vocabulary, width)`.
            targets: int64 `(...)`.
        """
        first, flat, wanted = self.frequent, features.flatten(0, -2), targets.flatten()
        weight = torch.cat([words[:first], self.of_class])
        bias = torch.cat([self.bias[:first], self.bias_of_class])
        losses = _losses(F.linear(flat, weight, bias), wanted.clamp(max=first))
        rare = (wanted >= first).nonzero().squeeze(1)
        logits = F.linear(flat[rare], words[first:], self.bias[first:])
        return losses.index_add(0, rare, _losses(logits, wanted[rare] - first)).view(targets.shape)


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="none")
