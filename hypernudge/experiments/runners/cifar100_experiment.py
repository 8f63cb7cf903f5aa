"""ResNet-18 on CIFAR-100: options, files, defaults."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hypernudge.experiments.config import MODES, NOISE_TYPES, OPTIMIZERS, RunConfig
from hypernudge.experiments.data.images import ImageSamples, download, load_images
from hypernudge.experiments.experiment import limited
from hypernudge.experiments.runners.arguments import Option, build_parser, config_arguments, subsets
from hypernudge.experiments.task_data import Samples, TaskData
from hypernudge.tasks.vision.cifar import LAYOUTS
from hypernudge.tasks.vision.resnet import resnet18_cifar

METHOD_NAMES = {"baseline": "Baseline", "adaptive": "AdaptiveScheduler", "random": "RandomScheduler"}


class Cifar100Experiment:
    """The experiment on images; see `Experiment`."""

    name = "cifar100"
    lengths: tuple[int, ...] = (1,)

    def parser(self) -> argparse.ArgumentParser:
        """Return the command line."""
        method: list[Option] = [
            ("--control-mode", {"choices": MODES, "help": "bare optimizer, AEES, or its random control"}),
            ("--optimizer", {"choices": OPTIMIZERS, "help": "what is steered"}),
            ("--momentum", {"type": float, "help": "of SGD"}),
        ]
        data: list[Option] = [
            ("--data-dir", {"type": Path, "metavar": "DIR", "help": "holds cifar-100-python/"}),
            (
                "--download",
                {"action": "store_true", "help": "fetch CIFAR-100 with torchvision if it is not there"},
            ),
            (
                "--validation",
                {"choices": ("split", "test"), "help": "a tenth of the training images, or the test images"},
            ),
            ("--label-noise-type", {"choices": NOISE_TYPES, "help": "how training labels are made wrong"}),
            ("--label-noise-rate", {"type": float, "help": "share of training labels made wrong"}),
        ]
        defaults = {
            "control_mode": "baseline",
            "optimizer": "AdamW",
            "momentum": 0.9,
            "data_dir": Path("data/cifar100"),
            "validation": "split",
            "label_noise_type": "none",
            "label_noise_rate": 0.0,
            "epochs": 10,
            "batch_size": 128,
            "lr": 1e-3,
            "weight_decay": 1e-4,
            "episode_length": 200,
        }
        return build_parser(self.name, __doc__ or "", defaults, {"method": method, "data": data})

    def configure(self, options: argparse.Namespace) -> RunConfig:
        """Return what the options say about the run."""
        return RunConfig(
            task_name=self.name,
            method_name=METHOD_NAMES[options.control_mode],
            control_mode=options.control_mode,
            optimizer=options.optimizer,
            momentum=options.momentum,
            label_noise_type=options.label_noise_type,
            label_noise_rate=options.label_noise_rate,
            schedule_unit="epoch",
            data={"validation": options.validation, **subsets(options)},
            **config_arguments(options),
        )

    def default_output(self, config: RunConfig) -> Path:
        """Return `results/cifar100_{mode}_{optimizer}_seed{n}.json`."""
        return Path(
            f"results/{self.name}_{config.control_mode}_{config.optimizer.lower()}_seed{config.seed}.json"
        )

    def prepare(self, options: argparse.Namespace) -> Mapping[str, Any] | None:
        """Fetch the data set if that is asked for; the run goes on."""
        if options.download and not options.dry_run:
            download(options.data_dir)
        return None

    def load_data(self, options: argparse.Namespace, config: RunConfig, device: torch.device) -> TaskData:
        """Load the images."""
        return load_images(config, options.data_dir, device)

    def model(self, options: argparse.Namespace, *, skeleton: bool) -> nn.Module:
        """Return a ResNet-18."""
        del options
        with torch.device("meta" if skeleton else "cpu"):
            return resnet18_cifar(LAYOUTS["cifar100"].classes)

    def blank(self) -> Samples:
        """Return no images."""
        return ImageSamples({}, {}, torch.device("cpu"))

    def declared(self, config: RunConfig) -> tuple[dict[str, int], int]:
        """Return the sizes of CIFAR-100's parts."""
        split = config.data["validation"] == "split"
        rows = {"train": 45_000, "validation": 5_000} if split else {"train": 50_000, "validation": 10_000}
        return limited(rows, config), 1
