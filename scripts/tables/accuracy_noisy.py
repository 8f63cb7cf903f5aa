"""Accuracies on labels made wrong in training."""

import sys

from hypernudge.experiments.report.commands import table_command

if __name__ == "__main__":
    sys.exit(table_command("noisy"))
