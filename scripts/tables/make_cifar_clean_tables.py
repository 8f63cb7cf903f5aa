"""Every table of the CIFAR-100 runs on clean labels."""

import sys

from hypernudge.experiments.report.commands import clean_tables_command

if __name__ == "__main__":
    sys.exit(clean_tables_command("cifar100"))
