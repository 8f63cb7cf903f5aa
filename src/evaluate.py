"""Evaluate saved results: JSON lines, tables, figures, `evaluation.json`."""

from __future__ import annotations

from hypernudge.harness.evaluate import main
from hypernudge.harness.launch import leave

if __name__ == "__main__":
    leave(main(program="python -m src.evaluate"))
