"""What a loss per token says about the text, whatever its tokens are."""

from __future__ import annotations

import math


def perplexity_per_word(loss: float, tokens: int, words: int) -> float:
    """Return the perplexity per word, ends of lines counted as words.

    Args:
        loss: Mean negative log-likelihood per token, nats.
        tokens: In the text.
        words: In the text.
    """
    nats = loss * tokens / words
    return math.exp(nats) if nats < 709 else math.inf


def bits_per_byte(loss: float, tokens: int, size: int) -> float:
    """Return the bits that a code by this model needs per byte of UTF-8.

    It compares models of different tokens, unless these leave out what the text says (`<unk>` for a word).

    Args:
        loss: Mean negative log-likelihood per token, nats.
        tokens: In the text.
        size: Of the text, bytes.
    """
    return loss * tokens / (size * math.log(2))
