"""A word-level Transformer on WikiText-2's small files, against an interpolated Kneser-Ney 3-gram.

Trained on the published validation file, since the training file is not at hand, and tested on the published
test file: its perplexity compares with nothing but that of the 3-gram here, which has counted the same text
under the same vocabulary. The last tenth of the file says which unit is the best, and ends the training;
`whole_file` is a 3-gram that has counted that tenth, too. The network stands alone: neither counts nor a
cache of the words before are mixed in, and the test file is scored once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.learning.text import language_task, minus_loss, scored_windows
from benchmarks.learning.trace import Meter, Row, begun, curve, described
from benchmarks.learning.word_model import WordModel
from hypernudge.results.files import replacing
from hypernudge.tasks.language.data import TextData, TokenPart, load_text
from hypernudge.tasks.language.kneser_ney import KneserNey


@dataclass(frozen=True)
class Settings:
    """Of a training.

    Attributes:
        units: At most; one is as many steps as it takes to draw the text once.
        patience: Units without a better score on the tenth, after which it stops.
        lr: Peak rate of AdamW.
        weight_decay: Of matrices.
        dropout: Of embeddings, branches, and what the output layer gets.
        word_dropout: Share of the vocabulary that is dropped from a mini-batch.
        ema: Decay of the averaged weights, which are scored.
        width: Of the model.
        depth: Blocks.
        heads: Attention heads.
        frequent: Words of the output's first step.
        length: Words of a window.
        stride: Words between two windows of the test.
        batch_size: Windows.
        precision: `"float32"` or `"bf16"` (autocast).
        device: As in `ModuleTask`.
        seed: Of everything drawn.
    """

    units: int = 14
    patience: int = 3
    lr: float = 2e-3
    weight_decay: float = 0.1
    dropout: float = 0.5
    word_dropout: float = 0.2
    ema: float = 0.995
    width: int = 192
    depth: int = 2
    heads: int = 4
    frequent: int = 2000
    length: int = 64
    stride: int = 16
    batch_size: int = 16
    precision: str = "bf16"
    device: str = "cpu"
    seed: int = 0


def mean_loss(model: nn.Module, tokens: Tensor, following: Tensor, count: int) -> Tensor:
    """Return the mean loss, nats, of a `WordModel`; see `loss_of_logits`."""
    losses: Tensor = model(tokens, following)[:, -count:]
    return losses.mean()


def by_frequency(data: TextData) -> tuple[dict[str, TokenPart], np.ndarray]:
    """Return the parts with words numbered by how often they are trained on, and the counts, descending."""
    counts = np.bincount(data.parts["train"].tokens, minlength=data.vocabulary)
    order = np.argsort(-counts, kind="stable")
    number = np.empty(len(order), data.parts["train"].tokens.dtype)
    number[order] = np.arange(len(order))
    parts = {name: replace(part, tokens=number[part.tokens]) for name, part in data.parts.items()}
    return parts, counts[order]


class Best:
    """The score on the held-out tenth, which keeps the weights that had the best one, on disk."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.score = -math.inf
        if file.exists():
            self.score = torch.load(file, weights_only=True)["score"]

    def __call__(self, model: nn.Module, split: Any) -> float:
        """Return minus the mean loss per word."""
        score = minus_loss(model, split, mean_loss)
        if score > self.score:
            self.score = score
            with replacing(self.file) as file:
                torch.save({"score": score, "model": model.state_dict()}, file)
        return score


def run(settings: Settings, folder: Path, shown: Any = lambda row: None) -> dict[str, Any]:
    """Train, or go on with what an earlier run with these settings has left in `folder`."""
    data = load_text("wikitext2", tokens="word", train_on="validation", held_out=(0.1, 0.0))
    begun(folder, asdict(settings), dict)
    counted = three_grams(data)
    parts, counts = by_frequency(data)
    steps = max(1, len(parts["train"]) // (settings.batch_size * settings.length))
    meter, best = Meter(), Best(folder / "best.pt")

    def model(hp: Any = None) -> nn.Module:
        return WordModel(
            settings.length,
            counts,
            settings.width,
            settings.depth,
            settings.heads,
            settings.dropout,
            settings.word_dropout,
            min(settings.frequent, data.vocabulary - 1),
        )

    task = language_task(
        parts,
        model,
        meter,
        name="wikitext2",
        score=best,
        mean_loss=mean_loss,
        length=settings.length,
        stride=settings.length,
        batch_size=settings.batch_size,
        steps_per_unit=steps,
        units=settings.units,
        device=settings.device,
        precision=settings.precision,
        schedule={"name": "cosine", "warmup": 0.05, "final_factor": 0.05},
        optimizer={"name": "adamw", "decay": "matrices"},
        fixed={"beta2": 0.99, "weight_decay": settings.weight_decay, "ema": settings.ema, "grad_clip": 1.0},
        folder=folder / "checkpoints",
    )

    def enough(rows: list[Row]) -> bool:
        return len(rows) - 1 - _best(rows) >= settings.patience

    hp, file = {"lr": settings.lr}, folder / "curve.json"
    rows = curve(
        task,
        hp,
        settings.seed,
        settings.units,
        file,
        meter,
        parts=("validation",),
        enough=enough,
        shown=shown,
    )
    chosen = model().to(task.device)
    chosen.load_state_dict(torch.load(best.file, map_location=task.device, weights_only=True)["model"])
    perplexity = tested(chosen, parts["test"], settings)
    found = {
        "perplexity": perplexity,
        "perplexity_held_out": math.exp(-best.score),
        "chosen_unit": rows[_best(rows)]["unit"],
        "kneser_ney": counted,
        "below_kneser_ney": perplexity < min(counted.values()),
        "words": {part: len(tokens) for part, tokens in data.parts.items()},
        "vocabulary": data.vocabulary,
        "parameters": sum(value.numel() for value in chosen.parameters()),
    }
    return described("wikitext2", asdict(settings), rows, **found)


def tested(model: nn.Module, part: TokenPart, settings: Settings) -> float:
    """Return the perplexity per word of a part, in full precision."""
    device = next(model.parameters()).device

    def windows() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for tokens, following, count in scored_windows(part, settings.length, settings.stride):
            yield tokens.to(device), following.to(device), torch.tensor([count])

    model.eval()
    with torch.no_grad():
        return math.exp(-minus_loss(model, windows(), mean_loss))


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
