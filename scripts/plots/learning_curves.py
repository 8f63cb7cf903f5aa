"""Validation accuracy over epochs."""

import sys

from hypernudge.experiments.report.commands import plot_command

if __name__ == "__main__":
    sys.exit(plot_command("learning_curves"))
