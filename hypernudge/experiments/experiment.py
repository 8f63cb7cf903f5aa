"""What the command needs to know of an experiment; implemented for images and for text."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.config import RunConfig
from hypernudge.experiments.task_data import Samples, TaskData


class UnavailableError(InvalidArgumentError):
    """Data or a model that is not on this machine; the message says what to run."""


class Experiment(Protocol):
    """One of the three experiments."""

    name: str
    lengths: tuple[int, ...]

    def parser(self) -> argparse.ArgumentParser:
        """Return its command line."""
        ...

    def configure(self, options: argparse.Namespace) -> RunConfig:
        """Return what the options say about the run.

        Raises:
            InvalidArgumentError: An option breaks a rule.
        """
        ...

    def default_output(self, config: RunConfig) -> Path:
        """Return where a result goes if no output is named."""
        ...

    def prepare(self, options: argparse.Namespace) -> Mapping[str, Any] | None:
        """Do what is separate from the measured run, if that is asked for; return what was done."""
        ...

    def load_data(self, options: argparse.Namespace, config: RunConfig, device: torch.device) -> TaskData:
        """Load the data.

        Raises:
            UnavailableError: They are not on this machine.
            InvalidArgumentError: They cannot be used.
        """
        ...

    def model(self, options: argparse.Namespace, *, skeleton: bool) -> nn.Module:
        """Return the initial model, or one without weights on the meta device.

        Raises:
            UnavailableError: Its weights are not on this machine.
        """
        ...

    def blank(self) -> Samples:
        """Return samples without data: enough to count FLOPs."""
        ...

    def declared(self, config: RunConfig) -> tuple[dict[str, int], int]:
        """Return the published size of each part, subsets taken, and the greatest length of a sample."""
        ...


def limited(rows: Mapping[str, int], config: RunConfig) -> dict[str, int]:
    """Return the sizes of parts after the subsets that the configuration asks for."""
    limits = {part: config.limit(part) for part in rows}
    return {part: min(size, size if (most := limits[part]) is None else most) for part, size in rows.items()}
