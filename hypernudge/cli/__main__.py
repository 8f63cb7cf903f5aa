"""`python -m hypernudge.cli`: how `run` starts the child that evaluates."""

from __future__ import annotations

from hypernudge.cli.app import main
from hypernudge.harness.running.interruption import leave

if __name__ == "__main__":
    leave(main())
