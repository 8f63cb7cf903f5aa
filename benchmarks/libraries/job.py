"""The job itself, without any tuning library: a small MLP on the digits in an ordinary PyTorch loop.

Only PyTorch, NumPy and hypernudge's data are used, so that it runs in any library's own environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F  # noqa: N812

from hypernudge.tasks.builtin import supervised
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.supervised.augment import translate
from hypernudge.tasks.supervised.supervised import SupervisedTask

TRIALS, UNITS, ETA, BATCH = 64, 27, 3, 32
MODEL = {"name": "mlp", "hidden": [32]}
# The space "mid" of hypernudge, spelled out for the others: name, low, high, logarithmic.
SPACE = (
    ("lr", 1e-4, 1.0, True),
    ("weight_decay", 1e-6, 1e-1, True),
    ("momentum", 0.0, 0.99, False),
    ("augmentation", 0.0, 1.0, False),
    ("label_smoothing", 0.0, 0.3, False),
)


@cache
def task() -> SupervisedTask:
    """Return data and mini-batches; one unit is an epoch of 33 steps of 32 samples."""
    torch.set_num_threads(1)
    return supervised("digits", MODEL, batch_size=BATCH, label="digits_mlp")


class Training:
    """One trial: initialised on construction, an epoch for every call of `epoch`."""

    def __init__(self, config: Mapping[str, float], seed: int) -> None:
        self.task, self.seed, self.step = task(), seed, 0
        self.magnitude, self.smoothing = config["augmentation"], config["label_smoothing"]
        torch.manual_seed(seed)
        self.module = build_network(MODEL, self.task.dataset.shape, self.task.dataset.classes)
        self.optimizer = torch.optim.SGD(
            self.module.parameters(),
            lr=config["lr"],
            momentum=config["momentum"],
            weight_decay=config["weight_decay"],
        )

    def epoch(self) -> float:
        """Train for an epoch; return the accuracy on the validation part."""
        for _ in range(self.task.steps_per_unit):
            batch = self.task.batch(self.seed, self.step)
            logits = self.module(translate(batch["x"], batch["noise"], self.magnitude))
            loss = F.cross_entropy(logits, batch["y"], label_smoothing=self.smoothing)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.step += 1
        with torch.no_grad():
            logits = self.module(self.task.inputs("validation"))
            return float((logits.argmax(-1) == self.task.labels("validation")).double().mean())

    def state(self) -> dict[str, Any]:
        """Return what `load` needs to go on."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
