"""Tokenised texts as mini-batches, padded to the longest text of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hypernudge.experiments.batches import subset
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.data.text_sources import TextTask
from hypernudge.experiments.data.tokens import Tokens
from hypernudge.experiments.labels import NoisyLabels, agnews_noise
from hypernudge.experiments.task_data import Inputs, TaskData


class TextSamples:
    """Token ids in memory; see `Samples`.

    Args:
        ids: Token ids of every sample by part.
        labels: int64 `(n,)` by part.
        pad: Id that shorter texts are padded with.
        device: Where the model is.
    """

    def __init__(
        self,
        ids: dict[str, Sequence[Sequence[int]]],
        labels: dict[str, np.ndarray],
        pad: int,
        device: torch.device,
    ) -> None:
        self.ids = {part: [torch.tensor(row) for row in rows] for part, rows in ids.items()}
        self.labels = {part: torch.from_numpy(array) for part, array in labels.items()}
        self._pad, self._device = pad, device

    def batch(self, part: str, rows: Tensor, augmentation: np.random.Generator | None) -> Inputs:
        """Return ids and mask, int64 `(b, longest)`; text is not augmented."""
        del augmentation
        chosen = [self.ids[part][row] for row in rows.tolist()]
        ids = pad_sequence(chosen, batch_first=True, padding_value=self._pad)
        lengths = torch.tensor([len(row) for row in chosen])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        return {"input_ids": ids.to(self._device), "attention_mask": mask.to(self._device)}

    def length(self, part: str, rows: Tensor) -> int:
        """Return the length of the longest text."""
        return max(len(self.ids[part][row]) for row in rows.tolist())

    def example(self, size: int, length: int) -> Inputs:
        """Return ids without data."""
        # A mask would be looked into, which cannot be done without data, and costs no FLOPs that are counted.
        return {"input_ids": torch.ones(size, length, dtype=torch.int64, device="meta")}


def load_texts(task: TextTask, config: RunConfig, tokens: Tokens, device: torch.device) -> TaskData:
    """Take subsets of the tokenised parts and corrupt the training labels."""
    ids: dict[str, Sequence[Sequence[int]]] = {}
    labels: dict[str, np.ndarray] = {}
    for part, (rows, given) in tokens.parts.items():
        taken = subset(len(given), config.limit(part), part)
        ids[part] = [rows[row] for row in taken]
        labels[part] = np.asarray(given, dtype=np.int64)[taken]
    noise: NoisyLabels | None = None
    if config.noisy:
        seed = config.seed if config.label_noise_seed is None else config.label_noise_seed
        noise = agnews_noise(labels["train"].tolist(), config.label_noise_rate, seed, task.classes)
        labels["train"] = np.array(noise.labels, dtype=np.int64)
    samples = TextSamples(ids, labels, tokens.of.pad_token_id, device)
    return TaskData(task.title, config.data["model_name"], samples, tokens.of.digest, noise)
