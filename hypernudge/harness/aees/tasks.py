"""The three experiments by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypernudge.harness.aees.cifar100 import Cifar100
from hypernudge.harness.aees.command import main
from hypernudge.harness.aees.experiment import Experiment
from hypernudge.harness.aees.text import Text
from hypernudge.harness.aees.texts import AGNEWS, SST2

EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    "cifar100": Cifar100,
    "sst2": lambda: Text(SST2),
    "agnews": lambda: Text(AGNEWS),
}


def run_experiment(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run the command of an experiment; returns the exit code."""
    return main(EXPERIMENTS[name](), arguments)
