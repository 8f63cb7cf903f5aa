"""The three experiments by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypernudge.experiments.data.text_sources import AGNEWS, SST2
from hypernudge.experiments.experiment import Experiment
from hypernudge.experiments.runners.cifar100_experiment import Cifar100Experiment
from hypernudge.experiments.runners.command import main
from hypernudge.experiments.runners.text_experiment import TextExperiment

EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    "cifar100": Cifar100Experiment,
    "sst2": lambda: TextExperiment(SST2),
    "agnews": lambda: TextExperiment(AGNEWS),
}


def run_experiment(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run the command of an experiment; returns the exit code."""
    return main(EXPERIMENTS[name](), arguments)
