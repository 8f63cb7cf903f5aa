"""Evaluate saved results: JSON lines, tables, figures, `evaluation.json`."""

from __future__ import annotations

from hypernudge.harness.running.interruption import leave, orderly


def main() -> int:
    """Return the exit code of the evaluation."""
    from hypernudge.cli.evidence import report  # takes long, and Ctrl-C is listened to by now

    return report(program="python -m src.evaluate")


if __name__ == "__main__":
    leave(orderly(main, advice=""))
