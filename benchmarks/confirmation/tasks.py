"""A character model under AdamW for the confirmation study: `benchmarks.confirmation.tasks:character_model`.

Its text is looked for in `$HYPERNUDGE_DATA`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.networks import LanguageTask, Transformer
from hypernudge.errors import require
from hypernudge.optimizers import AdamW
from hypernudge.space import Real, SearchSpace
from hypernudge.task import Batch, Split
from hypernudge.tasks.tables import DATA_DIRECTORY

HELD_OUT = 0.1  # share of the text for each of validation and test, from its end
WINDOWS = 64  # of a held-out part that are scored


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
        self.module = Transformer(vocabulary, self.length, width=32)

    def score(self, params: Mapping[str, Any], split: Split) -> float:
        """Return the negative mean loss per character of a held-out part."""
        windows = self.held_out[split]
        batch: Batch = {"x": windows[:, :-1], "y": windows[:, 1:]}
        return -float(self.loss(dict(params), batch, {"label_smoothing": 0.0}))


def character_model() -> CharacterModel:
    """Return the character model's task."""
    return CharacterModel(Path(os.environ.get(DATA_DIRECTORY) or "."))
