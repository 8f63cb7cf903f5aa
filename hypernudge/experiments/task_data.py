"""What a task hands to the trainer: a model, labelled parts, mini-batches, and what a step costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the usual name

from hypernudge.experiments.labels import NoisyLabels
from hypernudge.flops import count_flops

Inputs = Mapping[str, Tensor]


class Samples(Protocol):
    """The labelled parts of a data set: "train", "validation", and "test" where there is one."""

    @property
    def labels(self) -> Mapping[str, Tensor]:
        """Labels by part, int64 `(n,)`."""
        ...

    def batch(self, part: str, rows: Tensor, augmentation: np.random.Generator | None) -> Inputs:
        """Return the inputs of `rows`, on the samples' device; augmented if a generator is given."""
        ...

    def length(self, part: str, rows: Tensor) -> int:
        """Return the padded length of that batch, tokens; 1 for images."""
        ...

    def example(self, size: int, length: int) -> Inputs:
        """Return inputs of a batch of `size` samples of that length without data, on the meta device."""
        ...


@dataclass(frozen=True)
class TaskData:
    """Everything a run trains on.

    Attributes:
        dataset_name: Name of the data set.
        model_name: As given on the command line.
        samples: Inputs and labels; training labels are those that are trained on.
        digest: SHA-256 of the data set before subsets and label noise.
        noise: What was done to the training labels; None if nothing.
    """

    dataset_name: str
    model_name: str
    samples: Samples
    digest: str
    noise: NoisyLabels | None = None

    def size(self, part: str) -> int:
        """Number of samples of a part; 0 if there is none."""
        return len(self.samples.labels.get(part, ()))


def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
    """Return the logits `(b, classes)` of a batch, whatever kind of model it is."""
    out = model(**inputs)
    logits: Tensor = out if isinstance(out, Tensor) else out.logits
    return logits


class StepCosts:
    """FLOPs of a training step and of an evaluation, by batch size and length, without running them.

    A step costs the same for every sample of a batch, and at most quadratically in the length (attention), so
    one sample at three lengths says everything; a test compares with counting the real step. What a fused
    kernel computes a second time to save memory does not count: equal runs cost the same on every device.

    Args:
        skeleton: The model on the meta device.
        samples: Says what a batch looks like.
        lengths: Three lengths to count at, or one where samples have no length.
    """

    def __init__(self, skeleton: nn.Module, samples: Samples, lengths: tuple[int, ...] = (1,)) -> None:
        self._lengths = lengths
        self._flops = {
            training: [_count(skeleton, samples, length, training) for length in lengths]
            for training in (True, False)
        }

    def __call__(self, size: int, length: int, *, training: bool) -> float:
        """Return the FLOPs of a batch of `size` samples of `length`."""
        total = 0.0
        for i, value in enumerate(self._flops[training]):
            others = [x for j, x in enumerate(self._lengths) if j != i]
            weight = 1.0
            for x in others:  # Lagrange's interpolation, exact for a quadratic
                weight *= (length - x) / (self._lengths[i] - x)
            total += weight * value
        return size * float(round(total))


def _count(skeleton: nn.Module, samples: Samples, length: int, training: bool) -> float:
    size = 2  # batch normalisation wants more than one sample
    skeleton.train(training)
    with torch.set_grad_enabled(training):

        def step() -> None:
            logits = logits_of(skeleton, samples.example(size, length))
            if training:
                labels = torch.zeros(size, dtype=torch.int64, device=logits.device)
                F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]

        _, flops = count_flops(step)
    return flops / size
