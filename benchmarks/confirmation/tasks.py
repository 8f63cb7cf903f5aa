"""Two networks of the confirmation study that the library does not ship.

`character_model` is trained by AdamW, `small_resnet` by SGD. Their data are looked for in `$HYPERNUDGE_DATA`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.confirmation.networks import (
    Images,
    LanguageTask,
    ResNetTask,
    Transformer,
    built,
    cifar10,
    standardised,
)
from hypernudge.errors import require
from hypernudge.optimizers import AdamW
from hypernudge.space import Real, SearchSpace
from hypernudge.task import Batch, Split
from hypernudge.tasks.data.files import DATA_DIRECTORY, data_directory
from hypernudge.tasks.vision.resnet import CifarResNet

HELD_OUT = 0.1  # share of the text for each of validation and test, from its end
WINDOWS = 64  # of a held-out part that are scored
TRAINING, VALIDATION, TEST = 8000, 500, 500  # images


class CharacterModel(LanguageTask):
    """Next character on Tiny Shakespeare, two Transformer blocks of width 32, trained by AdamW."""

    name, family, batch_size, steps_per_unit = "char_lm", "tinyshakespeare", 8, 20
    optimizer = AdamW()
    space = SearchSpace(
        [
            Real("lr", 1e-5, 1e-1, log=True),
            Real("weight_decay", 1e-5, 1.0, log=True),
            Real("momentum", 0.5, 0.99),
            Real("label_smoothing", 0.0, 0.3),
        ]
    )

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / "tinyshakespeare" / "input.txt.gz"
        require(
            path.is_file(), "char_lm", f"needs its text in ${DATA_DIRECTORY}", str(path), "set the variable"
        )
        super().__init__(data_dir)
        n = len(self.text)
        first, second = int(n * (1 - 2 * HELD_OUT)), int(n * (1 - HELD_OUT))
        parts = {"validation": self.text[first:second], "test": self.text[second:]}
        self.text = self.text[:first]
        self.held_out: dict[str, Tensor] = {}
        for part, text in parts.items():
            starts = torch.linspace(0, len(text) - self.length - 1, WINDOWS).long().unsqueeze(1)
            self.held_out[part] = text[starts + torch.arange(self.length + 1)]
        vocabulary = self.module.tokens.num_embeddings
        self.module = built(lambda: Transformer(vocabulary, self.length, width=32))

    def score(self, params: Mapping[str, Any], split: Split) -> float:
        """Return the negative mean loss per character of a held-out part."""
        windows = self.held_out[split]
        batch: Batch = {"x": windows[:, :-1], "y": windows[:, 1:]}
        return -float(self.loss(dict(params), batch, {"label_smoothing": 0.0}))


def character_model() -> CharacterModel:
    """Return the character model's task."""
    return CharacterModel(data_directory())


class SmallResNet(ResNetTask):
    """ResNet-8 of width 8, 20,000 parameters, on 8,000 images of CIFAR-10's training part.

    500 more of that part validate, 500 images of the test part test.
    """

    name, family, batch_size, steps_per_unit = "resnet8", "cifar10", 32, 20
    space = SearchSpace(
        [
            Real("lr", 1e-4, 1.0, log=True),
            Real("momentum", 0.0, 0.99),
            Real("weight_decay", 1e-6, 1e-1, log=True),
            Real("label_smoothing", 0.0, 0.3),
        ]
    )

    def __init__(self, data_dir: Path) -> None:
        x, y = cifar10(data_dir, VALIDATION + TRAINING, "train")
        test, labels = cifar10(data_dir, TEST)
        training = x[VALIDATION:]
        held_out: dict[Split, Images] = {
            "validation": (standardised(x[:VALIDATION], training), y[:VALIDATION]),
            "test": (standardised(test, training), labels),
        }
        network = built(lambda: CifarResNet(8, width=8))
        super().__init__((standardised(training, training), y[VALIDATION:]), network, held_out)


def small_resnet() -> SmallResNet:
    """Return the small ResNet's task."""
    return SmallResNet(data_directory())
