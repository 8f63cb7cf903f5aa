"""ResNet-20 on CIFAR-10 to its accuracy: 91 % on the test part in at most 60 epochs, within a time limit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.learning import resnet20

TARGET, EPOCHS = 0.91, 60


def measure(device: torch.device, limit: float, tiny: bool) -> dict[str, Any]:
    """Train over as many epochs as fit, 60 at most; return the curve and whether the target was reached."""
    settings = resnet20.Settings(
        minutes=0.85 * limit / 60,  # the steps that are timed are those of a bare loop
        epochs=2 if tiny else EPOCHS,
        weight_decay=5e-4,  # the paper's 1e-4 is for 164 epochs
        limit=64 if tiny else None,
        width=4 if tiny else 16,
        batch_size=32 if tiny else 128,
        device=device.type,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = resnet20.run(settings, Path(folder))
    return {**found, "target": TARGET, "reached": found["test"] is not None and found["test"] >= TARGET}
