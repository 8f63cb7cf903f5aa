"""A word-level Transformer on WikiText-2's small files, against an interpolated Kneser-Ney 3-gram.

Trained on the published validation file, since the training file is not at hand, and tested on the published
test file: its perplexity compares with nothing but that of the 3-gram here, which has counted the same text
under the same vocabulary. The last tenth of the file decides when to stop; the 3-gram counts that tenth, too.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.text import language_task
from benchmarks.learning.trace import Meter, Row, curve, described
from hypernudge.tasks.language.data import TextData, load_text
from hypernudge.tasks.language.kneser_ney import KneserNey
from hypernudge.tasks.language.transformer import transformer_lm


@dataclass(frozen=True)
class Settings:
    """Of a training.

    Attributes:
        units: At most; one is as many steps as it takes to draw the text once.
        patience: Units without a better score on the tenth, after which it stops.
        lr: Peak rate of AdamW.
        weight_decay: Of matrices.
        dropout: Of embeddings and branches.
        ema: Decay of the averaged weights, which are scored.
        width: Of the model.
        depth: Blocks.
        heads: Attention heads.
        length: Words of a window.
        stride: Words between two windows that are scored.
        batch_size: Windows.
        precision: `"float32"` or `"bf16"` (autocast).
        device: As in `ModuleTask`.
        seed: Of everything drawn.
    """

    units: int = 40
    patience: int = 5
    lr: float = 2e-3
    weight_decay: float = 0.3
    dropout: float = 0.5
    ema: float = 0.995
    width: int = 192
    depth: int = 2
    heads: int = 4
    length: int = 64
    stride: int = 32
    batch_size: int = 32
    precision: str = "float32"
    device: str = "cpu"
    seed: int = 0


def run(settings: Settings, folder: Path, shown: Any = lambda row: None) -> dict[str, Any]:
    """Train, or go on with what an earlier run with these settings has left in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = load_text("wikitext2", tokens="word", train_on="validation", held_out=(0.1, 0.0))
    counted = three_grams(data)
    steps = max(1, len(data.parts["train"]) // (settings.batch_size * settings.length))
    meter = Meter()
    task = language_task(
        data,
        lambda hp: transformer_lm(
            data.vocabulary,
            settings.width,
            settings.depth,
            settings.heads,
            settings.dropout,
            settings.length,
        ),
        meter,
        name="wikitext2",
        length=settings.length,
        stride=settings.stride,
        batch_size=settings.batch_size,
        steps_per_unit=steps,
        units=settings.units,
        device=settings.device,
        precision=settings.precision,
        schedule={"name": "cosine", "warmup": 0.05, "final_factor": 0.05},
        optimizer={"name": "adamw", "decay": "matrices"},
        fixed={"weight_decay": settings.weight_decay, "ema": settings.ema, "grad_clip": 1.0},
        folder=folder / "checkpoints",
    )

    def enough(rows: list[Row]) -> bool:
        return len(rows) - 1 - _best(rows) >= settings.patience

    rows = curve(
        task,
        {"lr": settings.lr},
        settings.seed,
        settings.units,
        folder / "curve.json",
        meter,
        enough=enough,
        shown=shown,
    )
    best = rows[_best(rows)]
    perplexity = {part: math.exp(-best[part]) for part in ("validation", "test")}
    found = {
        "perplexity": perplexity["test"],
        "perplexity_held_out": perplexity["validation"],
        "chosen_unit": best["unit"],
        "kneser_ney": counted,
        "below_kneser_ney": perplexity["test"] < min(counted.values()),
        "words": {part: len(tokens) for part, tokens in data.parts.items()},
        "vocabulary": data.vocabulary,
    }
    return described("wikitext2", asdict(settings), rows, **found)


def three_grams(data: TextData) -> dict[str, float]:
    """Return test perplexities of 3-grams that have counted what is trained on, and the whole file."""
    train, held_out, test = (
        np.asarray(data.parts[name].tokens).astype(np.int64) for name in ("train", "validation", "test")
    )
    whole = np.concatenate([train, held_out])
    return {
        name: KneserNey(tokens, data.vocabulary).perplexity(test)
        for name, tokens in (("trained_on", train), ("whole_file", whole))
    }


def _best(rows: list[Row]) -> int:
    """Return which row has the best score on the held-out tenth."""
    return max(range(len(rows)), key=lambda index: rows[index]["validation"] or -math.inf)
