"""Wrong labels on purpose, in the training part only: how methods fare where the loss misleads."""

from __future__ import annotations

from dataclasses import replace

from hypernudge.errors import require_choice, require_share
from hypernudge.random import stream
from hypernudge.tasks.data.datasets import Dataset

KINDS = ("symmetric", "asymmetric")


def with_label_noise(dataset: Dataset, rate: float, kind: str = "symmetric", seed: int = 0) -> Dataset:
    """Return the data set with `round(rate * n)` training labels replaced by wrong ones.

    Which samples are hit and what they become follows from `seed` alone, and the samples hit at a lower rate
    are among those hit at a higher one. Validation and test labels stay as they are.

    Args:
        dataset: A split classification data set.
        rate: Share of the training labels, in [0, 1).
        kind: "symmetric" (any other class, each equally likely) or "asymmetric" (the next class, the last
            becoming the first: confusions that have a direction).
        seed: Seed of the draw.

    Raises:
        InvalidArgumentError: For a rate or a kind that is not known.

    Source: the two kinds as in Patrini et al. (2017), "Making deep neural networks robust to label noise".
    """
    require_share("label_noise", rate, "0.2 is a fifth of the labels")
    require_choice("label_noise_kind", kind, KINDS)
    labels = dataset.y["train"]
    order = stream(seed, "label noise", "samples").permutation(len(labels))
    # As many draws as samples whatever the rate, so that a sample becomes the same at every rate.
    step = stream(seed, "label noise", kind).integers(1, dataset.classes, size=len(labels))
    hit = order[: round(rate * len(labels))]
    wrong = labels.copy()
    wrong[hit] = (labels[hit] + (step[hit] if kind == "symmetric" else 1)) % dataset.classes
    return replace(dataset, y={**dataset.y, "train": wrong})
