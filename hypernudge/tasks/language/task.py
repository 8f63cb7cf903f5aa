"""Language modelling by names: text, tokens, network, optimizer, space and schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypernudge.errors import require_whole
from hypernudge.optimizers import setting
from hypernudge.task import Split
from hypernudge.tasks.language.data import TokenPart, load_text
from hypernudge.tasks.module.devices import device_of
from hypernudge.tasks.module.task import ModuleTask
from hypernudge.tasks.named import NamedParts, devices_for, options_for, seen
from hypernudge.tasks.networks.losses import cross_entropy

SCORED = 8192  # tokens of a batch that is scored, at least one window
LIMITS = {"label_smoothing": (0.0, 1.0)}
ADAMW = {"name": "adamw", "decay": "matrices"}


class Windows:
    """Windows of a part at random places; an epoch has as many as the part would be cut into.

    Args:
        part: Of a text.
        length: Tokens of a window.

    Raises:
        InvalidArgumentError: The part is not longer than a window.
    """

    def __init__(self, part: TokenPart, length: int) -> None:
        self._part, self._length = part, length
        part.check_length(length)

    def __len__(self) -> int:
        return (len(self._part) - 1) // self._length

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        tokens, targets = self._part.batch(row, 0, 1, self._length)
        return tokens[0], targets[0]

    def read_batch(self, rows: np.ndarray, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Return as many windows as rows, with what follows each token, `(n, length)` both."""
        return self._part.batch(seed, step, len(rows), self._length)


def mean_loss(model: nn.Module, windows: Iterable[Any]) -> float:
    """Return the mean cross-entropy per token, nats."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for tokens, targets in windows:
        total += cross_entropy(model(tokens), targets).cpu().double() * targets.numel()
        count += targets.numel()
    return float(total / count)


class LanguageModel(ModuleTask):
    """A language model by names; the score is minus the loss per token, nats, on the validation part.

    `reported` says what a score is as perplexity per word and as bits per byte.

    Names that are read, from the space or from `fixed`: those of `ModuleTask`, `label_smoothing` (of the
    training loss alone), and the options of the network, such as `dropout`, `width` or `depth`.

    Args:
        dataset: A name, or a mapping with `name` and options of `load_text`: `folder`, `tokens`,
            `vocabulary`, `train_on`, `limit`, ...
        model: A network for texts, or a mapping with its `name` and options.
        length: Tokens of a window.
        label: Name in records.
        space: The search space.
        optimizer: `"sgd"`, `"adamw"`, or a mapping with such a `name` and options; AdamW with decay on
            matrices alone if absent.
        schedule: Of the learning rate, see `ModuleTask`.
        fixed: Values that are not tuned, such as `grad_clip`.
        batch_size: Windows of a step.
        steps_per_unit: Steps between two scores; an epoch if absent.
        units: Of the longest training; those of the study's scheduler if absent.
        device: See `ModuleTask`, as for `precision`, `compile` and `resident`.
        precision: See there.
        compile: See there.
        resident: See there.
        score_test: Whether the test part is scored after every unit.
        devices: That train one trial together, each with its share of a mini-batch; see `ParallelTraining`.
        strategy: How: `"auto"` or `"ddp"`.

    Raises:
        InvalidArgumentError: An unknown name or option, a value that breaks a rule, or a text that is not
            there.
    """

    shipped_prior = "language"

    def __init__(
        self,
        dataset: str | Mapping[str, Any],
        model: str | Mapping[str, Any] = "transformer_lm",
        *,
        length: int = 256,
        label: str | None = None,
        space: str | Mapping[str, Any] = "language",
        optimizer: str | Mapping[str, Any] = ADAMW,
        schedule: str | Mapping[str, Any] = "cosine",
        fixed: Mapping[str, Any] | None = None,
        batch_size: int = 16,
        steps_per_unit: int | None = None,
        units: int | None = None,
        device: str = "auto",
        precision: str = "float32",
        compile: bool = False,
        resident: int = 1,
        score_test: bool = False,
        devices: int = 1,
        strategy: str = "auto",
    ) -> None:
        given = dict(locals())
        name, options = options_for("dataset", load_text, dataset)
        plan = NamedParts(model, space, optimizer, schedule, fixed, LIMITS)
        require_whole("length", length)
        require_whole("batch_size", batch_size)
        place = device_of(device)
        text = load_text(name, **options)
        network = plan.network((length,), text.vocabulary, {"label_smoothing"})
        scored = ("validation", "test") if score_test else ("validation",)
        together = max(1, SCORED // length)
        super().__init__(
            network,
            (
                Windows(text.parts["train"], length),
                *(partial(text.parts[part].windows, length, together) for part in scored),
            ),
            _training_loss,
            lambda module, split: -mean_loss(module, split),
            plan.space,
            name=label or f"{name}_{plan.model['name']}",
            metric="negative loss",
            metric_range=(-np.inf, 0.0),
            optimizer=plan.optimizer,
            schedule=plan.schedule,
            fixed=plan.fixed,
            batch_size=batch_size,
            steps_per_unit=steps_per_unit,
            units=units,
            device=device,
            precision=precision,  # type: ignore[arg-type]  # the name is checked there
            compile=compile,
            resident=resident,
            score_test=score_test,
            devices=devices_for(devices, strategy, place, "language_model", given),
        )
        self.family, self.data_source, self._parts = name, text.source, text.parts
        self.settings |= {"model": plan.model, "length": length, "devices": [devices, strategy]}
        self.settings |= {"dataset": seen(options), "data": text.source}

    def reported(self, score: float, split: Split) -> dict[str, float]:
        """Return what a score on a split is in numbers that do not depend on the tokens."""
        part = self._parts[split]
        return {
            "perplexity_per_word": part.perplexity(-score),
            "bits_per_byte": part.bits_per_byte(-score),
        }


def _training_loss(model: nn.Module, batch: Any, hp: Mapping[str, Any]) -> Tensor:
    tokens, targets = batch
    return cross_entropy(model(tokens), targets, setting(hp, "label_smoothing"))
