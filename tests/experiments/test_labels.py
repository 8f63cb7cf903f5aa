import random

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.labels import (
    NEXT_IN_SUPERCLASS,
    SUPERCLASSES,
    agnews_noise,
    cifar100_noise,
)

LABELS = [(7 * i) % 100 for i in range(20)]
# Positions and new labels, from a separate statement of the rule.
GOLDEN_SYMMETRIC = ([2, 3, 5, 6, 8, 12, 15, 16], [30, 71, 51, 61, 70, 81, 82, 20])
GOLDEN_ASYMMETRIC = ([3, 5, 6, 8, 15, 16], [31, 46, 43, 59, 20, 17])
GOLDEN_AGNEWS = ([0, 1, 2, 3, 7, 8, 11, 16], [3, 3, 3, 0, 2, 2, 0, 1])


def test_superclasses_partition_the_fine_classes_in_ascending_order():
    members = [fine for group in SUPERCLASSES.values() for fine in group]
    assert sorted(members) == list(range(100)) and len(SUPERCLASSES) == 20
    assert all(list(group) == sorted(group) for group in SUPERCLASSES.values())
    assert NEXT_IN_SUPERCLASS[95] == 4 and NEXT_IN_SUPERCLASS[4] == 30  # aquatic mammals, cyclic


def test_golden_symmetric_labels():
    noise = cifar100_noise(LABELS, "symmetric", 0.4, seed=3)
    assert noise.corrupted == GOLDEN_SYMMETRIC[0]
    assert [noise.labels[i] for i in noise.corrupted] == GOLDEN_SYMMETRIC[1]


def test_golden_asymmetric_labels():
    noise = cifar100_noise(LABELS, "asymmetric", 0.3, seed=3)
    assert noise.corrupted == GOLDEN_ASYMMETRIC[0]
    assert [noise.labels[i] for i in noise.corrupted] == GOLDEN_ASYMMETRIC[1]


def test_golden_agnews_labels():
    noise = agnews_noise([i % 4 for i in range(20)], 0.4, seed=42)
    assert noise.corrupted == GOLDEN_AGNEWS[0]
    assert [noise.labels[i] for i in noise.corrupted] == GOLDEN_AGNEWS[1]


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.25, 500), (0.4, 800), (1.0, 2000)])
def test_the_share_is_exact_and_no_chosen_label_stays(kind, rate, count):
    labels = [random.Random(1).randrange(100) for _ in range(2000)]
    noise = cifar100_noise(labels, kind, rate, seed=5)
    changed = [i for i in range(2000) if noise.labels[i] != labels[i]]
    assert changed == noise.corrupted and len(changed) == count and noise.clean == labels
    if kind == "asymmetric":
        groups = {fine: group for group in SUPERCLASSES.values() for fine in group}
        assert all(noise.labels[i] in groups[labels[i]] for i in changed)
    assert cifar100_noise(labels, kind, rate, seed=5) == noise
    assert rate in (0.0, 1.0) or cifar100_noise(labels, kind, rate, seed=6).corrupted != changed


def test_symmetric_labels_are_uniform_over_the_others():
    noise = cifar100_noise([50] * 99_000, "symmetric", 1.0, seed=0)
    counts = [noise.labels.count(label) for label in range(100)]
    assert counts[50] == 0
    others = counts[:50] + counts[51:]
    # Chi-square with 98 degrees of freedom: 99.9 % quantile 148.2.
    assert sum((count - 1000) ** 2 / 1000 for count in others) < 148.2


def test_agnews_labels_depend_on_their_own_seed_alone():
    labels = [i % 4 for i in range(500)]
    noise = agnews_noise(labels, 0.3, seed=42)
    assert len(noise.corrupted) == 150
    assert all((noise.labels[i] != labels[i]) == (i in set(noise.corrupted)) for i in range(500))
    assert agnews_noise(labels, 0.3, seed=43) != noise


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_bad_rates_are_refused(rate):
    with pytest.raises(InvalidArgumentError, match="--label-noise-rate"):
        cifar100_noise(LABELS, "symmetric", rate, seed=0)
    with pytest.raises(InvalidArgumentError, match="--label-noise-type"):
        cifar100_noise(LABELS, "none", 0.1, seed=0)
    with pytest.raises(InvalidArgumentError, match="--label-noise-rate"):
        agnews_noise([0, 1], max(rate, 1.0), seed=0)
