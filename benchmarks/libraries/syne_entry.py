"""What Syne Tune starts for every trial: a function for one backend, a script for the other."""

from __future__ import annotations


def train(
    lr: float,
    weight_decay: float,
    momentum: float,
    augmentation: float,
    label_smoothing: float,
    units: int,
) -> None:
    """Train one trial and report after every unit; the library wants all imports inside."""
    from syne_tune import Reporter

    from benchmarks.libraries.job import Training

    config = {
        "lr": lr,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "augmentation": augmentation,
        "label_smoothing": label_smoothing,
    }
    training, report = Training(config, 0), Reporter()
    for unit in range(1, int(units) + 1):
        report(unit=unit, score=training.epoch())


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser()
    for name in ("lr", "weight_decay", "momentum", "augmentation", "label_smoothing", "units"):
        parser.add_argument(f"--{name}", type=float, required=True)
    known, _ = parser.parse_known_args()
    train(**vars(known))
