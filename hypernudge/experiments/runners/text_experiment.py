"""A pretrained transformer on SST-2 or AG News: options, caches, defaults."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hypernudge.errors import require
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.data.pretrained import load_model, load_tokenizer
from hypernudge.experiments.data.text_batches import TextSamples, load_texts
from hypernudge.experiments.data.text_sources import AGNEWS, TextTask, local_files, read_hub, read_local
from hypernudge.experiments.data.tokens import Tokens, load_tokens, save_tokens, source_of, tokenize
from hypernudge.experiments.experiment import limited
from hypernudge.experiments.runners.arguments import Option, build_parser, config_arguments, count, subsets
from hypernudge.experiments.task_data import Samples, TaskData

METHODS = {"AdamW": "baseline", "AdaptiveScheduler": "adaptive", "RandomScheduler": "random"}


class TextExperiment:
    """The experiments on text; see `Experiment`.

    Args:
        task: Which data set.
    """

    lengths: tuple[int, ...] = (8, 16, 32)

    def __init__(self, task: TextTask) -> None:
        self.task, self.name = task, task.name

    def parser(self) -> argparse.ArgumentParser:
        """Return the command line."""
        method: list[Option] = [
            (
                "--method",
                {"choices": tuple(METHODS), "help": "bare AdamW, AEES around it, or its random control"},
            ),
            ("--model-name", {"metavar": "NAME", "help": "name on the hub, path, or package:NAME"}),
        ]
        data: list[Option] = [
            ("--dataset-dir", {"type": Path, "metavar": "DIR", "help": f"local files: {_names(self.task)}"}),
            ("--train-file", {"metavar": "NAME", "help": "training file in it, if not the usual one"}),
            ("--max-length", {"type": count, "help": "tokens that a text is cut to"}),
            (
                "--cache-dir",
                {"metavar": "DIR", "help": "of models and data sets (default: that of Hugging Face)"},
            ),
            (
                "--tokenized-dataset-dir",
                {
                    "type": Path,
                    "metavar": "DIR",
                    "help": "tokens, made once and used again (default: data/tokenized/...)",
                },
            ),
            ("--local-files-only", {"action": "store_true", "help": "never use the network"}),
            ("--pretokenize-only", {"action": "store_true", "help": "make the tokens and stop"}),
            ("--hf-token", {"help": "for private models (default: $HF_TOKEN); never printed or recorded"}),
        ]
        noise: list[Option] = [
            (
                "--label-noise-rate",
                {"type": float, "help": "share of training labels made wrong, any other class"},
            ),
            (
                "--label-noise-seed",
                {"type": int, "help": "of the wrong labels, whatever the seed of the run"},
            ),
        ]
        defaults = {
            "method": "AdamW",
            "model_name": "distilbert-base-uncased",
            "max_length": 128,
            "label_noise_rate": 0.0,
            "label_noise_seed": 42,
            "epochs": 3,
            "batch_size": 16,
            "lr": 5e-5,
            "weight_decay": 0.01,
            "episode_length": 100,
        }
        own = {"method": method, "data": data + (noise if self.task is AGNEWS else [])}
        return build_parser(self.name, f"A pretrained transformer on {self.task.title}.", defaults, own)

    def configure(self, options: argparse.Namespace) -> RunConfig:
        """Return what the options say about the run; paths do not enter."""
        rate = getattr(options, "label_noise_rate", 0.0)
        require(0 <= rate < 1, "--label-noise-rate", "must lie in [0, 1)", rate, "0.4 is 40 %")
        longest = options.max_length
        require(longest >= 4, "--max-length", "must be at least 4", longest, "128 is usual")
        return RunConfig(
            task_name=self.name,
            method_name=options.method,
            control_mode=METHODS[options.method],
            label_noise_type="symmetric" if rate > 0 else "none",
            label_noise_rate=rate,
            label_noise_seed=options.label_noise_seed if rate > 0 else None,
            data={"model_name": options.model_name, "max_length": longest, **subsets(options)},
            **config_arguments(options),
        )

    def default_output(self, config: RunConfig) -> Path:
        """Return `results/{task}_{method}_seed{n}.json`."""
        return Path(f"results/{self.name}_{config.method_name.lower()}_seed{config.seed}.json")

    def prepare(self, options: argparse.Namespace) -> Mapping[str, Any] | None:
        """Make the tokens if that is all that is asked for."""
        if not options.pretokenize_only or options.dry_run:
            return None
        tokens, made = self._tokens(options)
        return {
            "event": "pretokenized" if made else "kept",
            "folder": self._folder(options).as_posix(),
            "rows": tokens.of.rows,
            "max_length": tokens.of.max_length,
        }

    def load_data(self, options: argparse.Namespace, config: RunConfig, device: torch.device) -> TaskData:
        """Load the tokens, or make them."""
        return load_texts(self.task, config, self._tokens(options)[0], device)

    def model(self, options: argparse.Namespace, *, skeleton: bool) -> nn.Module:
        """Return the encoder with a new head."""
        return load_model(options.model_name, self.task.classes, skeleton=skeleton, **_fetching(options))

    def blank(self) -> Samples:
        """Return no texts."""
        return TextSamples({}, {}, 0, torch.device("cpu"))

    def declared(self, config: RunConfig) -> tuple[dict[str, int], int]:
        """Return the published sizes, and the length that texts are cut to."""
        return limited(self.task.rows, config), int(config.data["max_length"])

    def _folder(self, options: argparse.Namespace) -> Path:
        """Return where tokens are kept: a folder of their own for every model and length."""
        if options.tokenized_dataset_dir is not None:
            return Path(options.tokenized_dataset_dir)
        slug = "".join(c if c.isalnum() else "-" for c in options.model_name).strip("-")
        return Path(f"data/tokenized/{self.name}_{slug}_{options.max_length}")

    def _tokens(self, options: argparse.Namespace) -> tuple[Tokens, bool]:
        """Return the tokens, and whether they had to be made."""
        folder = self._folder(options)
        files = None
        if options.dataset_dir is not None:
            files = local_files(self.task, options.dataset_dir, options.train_file)
        source = source_of(files)
        found = load_tokens(self.task, folder, options.model_name, options.max_length, source)
        if found is not None:
            return found, False
        if files is not None:
            parts = read_local(self.task, files)
        else:
            parts = read_hub(self.task, **_fetching(options))
        tokenizer = load_tokenizer(options.model_name, **_fetching(options))
        tokens = tokenize(self.task, parts, tokenizer, options.model_name, options.max_length, source)
        if not options.dry_run:
            save_tokens(tokens, folder)
        return tokens, True


def _fetching(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "cache_dir": options.cache_dir,
        # A dry run fetches nothing either.
        "local_files_only": options.local_files_only or options.dry_run,
        "token": options.hf_token or os.environ.get("HF_TOKEN"),
    }


def _names(task: TextTask) -> str:
    return ", ".join(task.files.values())
