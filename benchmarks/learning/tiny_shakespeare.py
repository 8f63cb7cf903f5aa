"""A small character model on Tiny Shakespeare, as nanoGPT trains it on a CPU.

Four layers of width 128 with four heads, windows of 64 characters, batches of 12, 2,000 steps of AdamW from
rate 1e-3 to 1e-4 (100 steps of warm-up, half a cosine), decay .1 on matrices, betas .9 and .99, gradients
clipped at 1, no dropout; nine tenths of the text are trained on. nanoGPT's page gives a validation loss of
1.88. It is estimated there on windows at random, here on all of the other tenth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.learning.text import language_task
from benchmarks.learning.trace import Meter, begun, curve, described
from hypernudge.tasks.language.data import load_text
from hypernudge.tasks.language.transformer import TransformerLM

PUBLISHED = 1.88  # nats per character, https://github.com/karpathy/nanoGPT


@dataclass(frozen=True)
class Settings:
    """Of a training.

    Attributes:
        steps: Of the optimizer.
        steps_per_unit: Between two scores.
        lr: Peak rate.
        width: Of the model.
        depth: Blocks.
        heads: Attention heads.
        length: Characters of a window.
        batch_size: Windows.
        precision: `"float32"` or `"bf16"` (autocast).
        device: As in `ModuleTask`.
        seed: Of everything drawn.
    """

    steps: int = 2000
    steps_per_unit: int = 200
    lr: float = 1e-3
    width: int = 128
    depth: int = 4
    heads: int = 4
    length: int = 64
    batch_size: int = 12
    precision: str = "float32"
    device: str = "cpu"
    seed: int = 0


def run(settings: Settings, folder: Path, shown: Any = lambda row: None) -> dict[str, Any]:
    """Train, or go on with what an earlier run with these settings has left in `folder`."""
    data = load_text("tinyshakespeare", tokens="char", held_out=(0.1, 0.0))
    begun(folder, asdict(settings), dict)
    units = -(-settings.steps // settings.steps_per_unit)
    meter = Meter()
    task = language_task(
        data.parts,
        lambda hp: TransformerLM(
            (settings.length,), data.vocabulary, settings.width, settings.depth, settings.heads
        ),
        meter,
        name="tiny_shakespeare",
        length=settings.length,
        stride=settings.length,
        batch_size=settings.batch_size,
        steps_per_unit=settings.steps_per_unit,
        units=units,
        device=settings.device,
        precision=settings.precision,
        schedule={"name": "cosine", "warmup": 0.05, "final_factor": 0.1},
        optimizer={"name": "adamw", "decay": "matrices"},
        fixed={"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1, "grad_clip": 1.0},
        folder=folder / "checkpoints",
    )
    rows = curve(task, {"lr": settings.lr}, settings.seed, units, folder / "curve.json", meter, shown=shown)
    loss = -rows[-1]["validation"]
    characters = {part: len(data.parts[part]) for part in ("train", "validation")}
    found = {"validation_loss": loss, "published": PUBLISHED, "reached": loss <= PUBLISHED}
    return described("tiny_shakespeare", asdict(settings), rows, **found, characters=characters)
