from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.language.data import load_text
from hypernudge.tasks.language.kneser_ney import KneserNey, discounts
from tests.experiments.tools import DATA

TINY = np.array([0, 1, 2, 0, 1, 3, 0, 1, 2])  # a b c a b d a b c, and one word that never occurs


def by_hand(word, context, words=TINY, vocabulary=5):
    """The textbook's recursion over dictionaries."""
    trigrams = Counter(zip(words, words[1:], words[2:], strict=False))
    bigrams = Counter()
    for _, b, c in trigrams:
        bigrams[b, c] += 1
    unigrams = Counter(c for _, c in set(pairwise(words)))
    levels = [{(c,): n for c, n in unigrams.items()}, bigrams, trigrams]

    def probability(word, context):
        grams = levels[len(context)]
        cut = discounts(np.array(list(grams.values())))
        below = probability(word, context[1:]) if context else 1 / vocabulary
        with_context = {gram[-1]: n for gram, n in grams.items() if gram[:-1] == context}
        total = sum(with_context.values())
        if total == 0:
            return below
        seen = with_context.get(word, 0)
        share = max(seen - cut[min(seen, 3) - 1], 0) / total if seen else 0
        left = sum(cut[min(n, 3) - 1] for n in with_context.values()) / total
        return share + left * below

    return probability(word, context)


def test_probabilities_are_those_of_a_calculation_on_paper():
    model = KneserNey(TINY, 5)
    # Trigrams: abc 2, bca 1, cab 1, abd 1, bda 1, dab 1; no count of 3, so the discounts are .5, 1, 1.5.
    # Bigrams by contexts: bc 1, bd 1, ca 1, da 1, ab 2. Words by contexts: a 2 (c, d), b 1, c 1, d 1.
    p_c = (1 - 0.5) / 5 + (1 + 3 * 0.5) / 5 / 5
    p_bc = (1 - 0.5) / 2 + (0.5 + 0.5) / 2 * p_c
    p_abc = (2 - 1) / 3 + (1 + 0.5) / 3 * p_bc
    assert (p_c, p_bc, p_abc) == pytest.approx((0.2, 0.35, 0.508333333))
    found = model.probabilities(np.array([0, 1, 2]))
    p_b = (1 - 0.5) / 5 + (1 + 3 * 0.5) / 5 / 5
    p_ab = (2 - 1) / 2 + 1 / 2 * p_b
    assert found == pytest.approx([p_ab, p_abc])
    # A context that never occurred: the order below; a word that never occurred: its share of what is left.
    assert model.probabilities(np.array([4, 1, 2]))[1] == pytest.approx(p_bc)
    p_e = (1 + 3 * 0.5) / 5 / 5
    assert model.probabilities(np.array([4, 4, 4])) == pytest.approx([p_e, p_e])
    assert model.perplexity(np.array([0, 1, 2])) == pytest.approx((p_ab * p_abc) ** -0.5)


@pytest.mark.parametrize("words", [TINY, np.random.default_rng(0).zipf(1.5, 3000) % 12], ids=["tiny", "zipf"])
def test_they_sum_to_one_and_are_those_of_dictionaries(words):
    vocabulary = 12
    model = KneserNey(words, vocabulary)
    for context in ((0, 1), (1, 2), (11, 3), (7, 11)):
        found = [model.probabilities(np.array([*context, word]))[1] for word in range(vocabulary)]
        assert sum(found) == pytest.approx(1.0, abs=1e-12) and min(found) > 0
        slow = [by_hand(word, context, words.tolist(), vocabulary) for word in range(vocabulary)]
        assert found == pytest.approx(slow)


def test_discounts_follow_the_formula_or_fall_back():
    counts = np.repeat([1, 2, 3, 4], [100, 40, 20, 10])
    y = 100 / 180
    assert discounts(counts) == pytest.approx((1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.5))
    assert discounts(np.array([1, 1, 2])) == (0.5, 1.0, 1.5)
    assert discounts(np.repeat([1, 2, 3, 4], [100, 10, 40, 9])) == (0.5, 1.0, 1.5)  # one would be negative


def test_it_beats_counting_words_on_text_with_order():
    text = np.frombuffer(b"the cat sat on the mat and the cat ran to the mat " * 20, np.uint8)
    model = KneserNey(text, 256)
    assert model.perplexity(text[:500]) < 2
    shares = np.bincount(text) / len(text)
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    assert model.perplexity(text[:500]) < np.exp(entropy)


def test_bad_input_is_refused():
    for tokens, vocabulary, named in (
        (TINY[:2], 5, "tokens"),
        (TINY, 3, r"\[0, 3\)"),
        (TINY, 0, "vocabulary"),
    ):
        with pytest.raises(InvalidArgumentError, match=named):
            KneserNey(tokens, vocabulary)


@pytest.mark.skipif(not (DATA / "wikitext2").is_dir(), reason=f"WikiText-2 is not at {DATA}")
def test_on_real_text_it_is_between_guessing_and_knowing(tmp_path):
    data = load_text("wikitext2", folder=DATA / "wikitext2", train_on="validation", cache=tmp_path)
    model = KneserNey(data.parts["train"].tokens, data.vocabulary)
    assert 50 < model.perplexity(data.parts["test"].tokens) < 500
