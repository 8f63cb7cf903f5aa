"""The three experiments by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypernudge.experiments.data.texts import AGNEWS, SST2
from hypernudge.experiments.experiment import Experiment
from hypernudge.experiments.runners.cifar100 import Cifar100
from hypernudge.experiments.runners.command import main
from hypernudge.experiments.runners.text import Text

EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    "cifar100": Cifar100,
    "sst2": lambda: Text(SST2),
    "agnews": lambda: Text(AGNEWS),
}


def run_experiment(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run the command of an experiment; returns the exit code."""
    return main(EXPERIMENTS[name](), arguments)
