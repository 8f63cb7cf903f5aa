"""Run one variation, all its seeds."""

from __future__ import annotations

from hypernudge.harness.running.interruption import leave, orderly


def main() -> int:
    """Return the exit code of the trainer."""
    from hypernudge.harness.running import train  # takes long, and Ctrl-C is listened to by now

    return train.main(program="python -m src.train")


if __name__ == "__main__":
    leave(orderly(main))
