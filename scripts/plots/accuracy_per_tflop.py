"""Accuracy per TFLOP, as bars."""

import sys

from hypernudge.experiments.report.commands import plot_command

if __name__ == "__main__":
    sys.exit(plot_command("accuracy_per_tflop"))
