"""Wrong training labels on purpose, exactly as in the published AEES experiments.

Both kinds depend on nothing but the seed, the rate and the labels, so that a run can be repeated anywhere.
`hypernudge.tasks.data.label_noise` is the same idea for tasks of our own, over addressed random streams.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hypernudge.errors import require

SUPERCLASSES: dict[str, tuple[int, int, int, int, int]] = {
    "aquatic mammals": (4, 30, 55, 72, 95),
    "fish": (1, 32, 67, 73, 91),
    "flowers": (54, 62, 70, 82, 92),
    "food containers": (9, 10, 16, 28, 61),
    "fruit and vegetables": (0, 51, 53, 57, 83),
    "household electrical devices": (22, 39, 40, 86, 87),
    "household furniture": (5, 20, 25, 84, 94),
    "insects": (6, 7, 14, 18, 24),
    "large carnivores": (3, 42, 43, 88, 97),
    "large man-made outdoor things": (12, 17, 37, 68, 76),
    "large natural outdoor scenes": (23, 33, 49, 60, 71),
    "large omnivores and herbivores": (15, 19, 21, 31, 38),
    "medium-sized mammals": (34, 63, 64, 66, 75),
    "non-insect invertebrates": (26, 45, 77, 79, 99),
    "people": (2, 11, 35, 46, 98),
    "reptiles": (27, 29, 44, 78, 93),
    "small mammals": (36, 50, 65, 74, 80),
    "trees": (47, 52, 56, 59, 96),
    "vehicles 1": (8, 13, 48, 58, 90),
    "vehicles 2": (41, 69, 81, 85, 89),
}
"""The fine classes of CIFAR-100's superclasses (Krizhevsky 2009), ascending."""

NEXT_IN_SUPERCLASS = {
    fine: members[(place + 1) % len(members)]
    for members in SUPERCLASSES.values()
    for place, fine in enumerate(members)
}


@dataclass(frozen=True)
class NoisyLabels:
    """Training labels before and after.

    Attributes:
        labels: What is trained on.
        clean: What they were.
        corrupted: Positions that were changed, ascending.
    """

    labels: list[int]
    clean: list[int]
    corrupted: list[int]


def cifar100_noise(labels: Sequence[int], kind: str, rate: float, seed: int) -> NoisyLabels:
    """Corrupt `round(n * rate)` CIFAR-100 labels.

    All positions are shuffled by `random.Random(seed)` and the first ones taken. Symmetric: in that order,
    each of the other 99 classes is equally likely. Asymmetric: the next fine class of the same superclass,
    the last one becoming the first.

    Raises:
        InvalidArgumentError: An unknown kind, or a rate outside [0, 1].
    """
    kinds = ("symmetric", "asymmetric")
    require(kind in kinds, "--label-noise-type", f"must be one of {kinds}", kind, "choose one")
    require(0 <= rate <= 1, "--label-noise-rate", "must lie in [0, 1]", rate, "0.4 is 40 %")
    generator = random.Random(seed)
    order = list(range(len(labels)))
    generator.shuffle(order)
    chosen = order[: round(len(labels) * rate)]
    wrong = list(labels)
    for position in chosen:
        if kind == "symmetric":
            drawn = generator.randrange(99)
            wrong[position] = drawn if drawn < labels[position] else drawn + 1
        else:
            wrong[position] = NEXT_IN_SUPERCLASS[labels[position]]
    return NoisyLabels(wrong, list(labels), sorted(chosen))


def agnews_noise(labels: Sequence[int], rate: float, seed: int, classes: int = 4) -> NoisyLabels:
    """Corrupt `round(rate * n)` labels of a sample by `random.Random(seed)`, ascending: any other class.

    Raises:
        InvalidArgumentError: A rate outside [0, 1).
    """
    require(0 <= rate < 1, "--label-noise-rate", "must lie in [0, 1)", rate, "0.4 is 40 %")
    generator = random.Random(seed)
    chosen = sorted(set(generator.sample(range(len(labels)), round(rate * len(labels)))))
    wrong = list(labels)
    for position in chosen:
        wrong[position] = generator.choice([c for c in range(classes) if c != labels[position]])
    return NoisyLabels(wrong, list(labels), chosen)
