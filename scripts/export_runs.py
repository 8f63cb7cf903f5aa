"""Copy saved runs of the AEES experiments into MLflow or W&B."""

import sys

from hypernudge.evidence.aees.export import export_command

if __name__ == "__main__":
    sys.exit(export_command())
