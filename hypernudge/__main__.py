"""`python -m hypernudge`: the command, where its script is not on the path."""

from __future__ import annotations

from hypernudge.cli.app import main
from hypernudge.harness.running.interruption import leave

if __name__ == "__main__":
    leave(main())
