"""An interpolated 3-gram model with modified Kneser-Ney smoothing (Chen and Goodman 1998).

It needs no training beyond counting: a neural language model that has learned something lies below its
perplexity on the same split.
"""

from __future__ import annotations

import math

import numpy as np

from hypernudge.errors import require, require_whole

FALLBACK = (0.5, 1.0, 1.5)


def discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """Return what is taken from n-grams seen once, twice, and more often.

    Their formula needs n-grams that are seen one to four times; where there are none, or it leaves the range
    [0, count], the discounts are 0.5, 1 and 1.5.
    """
    one, two, three, four = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(one, two, three) == 0:
        return FALLBACK
    y = one / (one + 2 * two)
    found = (1 - 2 * y * two / one, 2 - 3 * y * three / two, 3 - 4 * y * four / three)
    inside = all(0 <= discount <= k for k, discount in enumerate(found, start=1))
    return found if inside else FALLBACK


class _Order:
    """The n-grams of one length: discounted shares, and what their contexts give to the order below.

    Args:
        grams: Distinct n-grams as numbers, ascending; the context is `gram // vocabulary`.
        counts: Of each.
        vocabulary: Number of words.
    """

    def __init__(self, grams: np.ndarray, counts: np.ndarray, vocabulary: int) -> None:
        taken = np.array([0.0, *discounts(counts)])[np.minimum(counts, 3)]
        self._grams = grams
        self._contexts, first = np.unique(grams // vocabulary, return_index=True)
        totals = np.add.reduceat(counts, first)
        self._shares = np.maximum(counts - taken, 0.0) / np.repeat(totals, np.diff([*first, len(grams)]))
        self._left = np.add.reduceat(np.minimum(taken, counts), first) / totals
        self._vocabulary = vocabulary

    def probability(self, grams: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Return the probabilities of n-grams' last words, given those of the order below."""
        share = _looked_up(self._grams, self._shares, grams, 0.0)
        # A context that was never seen leaves everything to the order below.
        left = _looked_up(self._contexts, self._left, grams // self._vocabulary, 1.0)
        result: np.ndarray = share + left * below
        return result


class KneserNey:
    """The probability of each word of a text given the two before it.

    The lower orders count in how many contexts a word was seen, the lowest is interpolated with the uniform
    distribution; so every word has a positive probability, and they sum to 1 in every context.

    Args:
        tokens: The training text, whole numbers in [0, vocabulary), `(n,)` with n at least 3.
        vocabulary: Number of words, at most 2,000,000.

    Raises:
        InvalidArgumentError: Too few tokens, or one outside the vocabulary.
    """

    def __init__(self, tokens: np.ndarray, vocabulary: int) -> None:
        require_whole("vocabulary", vocabulary, 1, 2_000_000)
        words = self._checked(tokens, vocabulary)
        trigrams, counts = np.unique(self._packed(words, 3, vocabulary), return_counts=True)
        bigrams = np.unique(self._packed(words, 2, vocabulary))
        self._vocabulary = vocabulary
        after, contexts = np.unique(trigrams % vocabulary**2, return_counts=True)
        lowest, of_lowest = np.unique(bigrams % vocabulary, return_counts=True)
        self._orders = [
            _Order(lowest, of_lowest, vocabulary),
            _Order(after, contexts, vocabulary),
            _Order(trigrams, counts, vocabulary),
        ]

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Return the probability of every token but the first, `(n - 1,)`; the second has one before it."""
        words = self._checked(tokens, self._vocabulary)
        n = self._vocabulary
        below = self._orders[0].probability(words[1:], np.full(len(words) - 1, 1.0 / n))
        below = self._orders[1].probability(self._packed(words, 2, n), below)
        above = self._orders[2].probability(self._packed(words, 3, n), below[1:])
        return np.concatenate([below[:1], above])

    def perplexity(self, tokens: np.ndarray) -> float:
        """Return the perplexity per token, the first one left out."""
        return math.exp(-float(np.log(self.probabilities(tokens)).mean()))

    @staticmethod
    def _packed(words: np.ndarray, order: int, vocabulary: int) -> np.ndarray:
        packed = np.zeros(len(words) - order + 1, dtype=np.int64)
        for place in range(order):
            packed = packed * vocabulary + words[place : len(words) - order + 1 + place]
        return packed

    @staticmethod
    def _checked(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
        words = np.asarray(tokens).astype(np.int64)
        require(words.ndim == 1 and len(words) >= 3, "tokens", "must be at least 3", words.shape, "add text")
        inside = words.min() >= 0 and words.max() < vocabulary
        rule = f"must lie in [0, {vocabulary})"
        require(bool(inside), "tokens", rule, (int(words.min()), int(words.max())), "raise the vocabulary")
        return words


def _looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, absent: float) -> np.ndarray:
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], absent)
