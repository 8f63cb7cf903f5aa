"""Copy saved runs of the AEES experiments into MLflow or W&B."""

import sys

from hypernudge.experiments.report.export import export_command

if __name__ == "__main__":
    sys.exit(export_command())
