"""Evaluate saved results: JSON lines, tables, figures, `evaluation.json`."""

from __future__ import annotations

import sys

from hypernudge.harness.evaluate import main

if __name__ == "__main__":
    sys.exit(main(program="python -m src.evaluate"))
