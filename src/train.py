"""Run one variation, all its seeds."""

from __future__ import annotations

from hypernudge.harness.launch import leave
from hypernudge.harness.train import main

if __name__ == "__main__":
    leave(main(program="python -m src.train"))
