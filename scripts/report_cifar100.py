"""Every table and figure of the cifar100 runs."""

import sys

from hypernudge.experiments.report.commands import report_command

if __name__ == "__main__":
    sys.exit(report_command("cifar100"))
