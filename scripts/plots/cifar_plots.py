"""Every figure of the CIFAR-100 runs."""

import sys

from hypernudge.experiments.report.commands import all_plots_command

if __name__ == "__main__":
    sys.exit(all_plots_command("cifar100"))
