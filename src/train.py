"""Run one variation, all its seeds."""

from __future__ import annotations

import sys

from hypernudge.harness.train import main

if __name__ == "__main__":
    sys.exit(main(program="python -m src.train"))
