"""The LCBench tasks of YAHPO Gym: learning curves predicted by a surrogate network (extra `surrogates`).

Pfisterer, Schneider, Moosbauer, Binder, Bischl: YAHPO Gym, AutoML 2022; Zimmer, Lindauer, Hutter:
Auto-PyTorch Tabular, 2021. Predictions, not measured runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.space import Config, Integer, Real, SearchSpace, Value

UNITS = 52
INPUTS = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
OUTPUTS = ("seconds", "validation", "cross_entropy", "balanced", "test_cross_entropy", "test")
SPACE = SearchSpace(
    [
        Integer("batch_size", 16, 512, log=True),
        Real("learning_rate", 1e-4, 1e-1, log=True),
        Real("momentum", 0.1, 0.99),
        Real("weight_decay", 1e-5, 1e-1),
        Integer("num_layers", 1, 5),
        Integer("max_units", 64, 1024, log=True),
        Real("max_dropout", 0.0, 1.0),
    ]
)


@dataclass
class Position:
    """Units trained so far, and the predicted curves of the configuration once it is known."""

    unit: int = 0
    curves: Mapping[str, np.ndarray] | None = None


class LCBench:
    """A tabular network on one OpenML task, 52 epochs; the score is the validation accuracy in [0, 1].

    Args:
        folder: Directory with `model.onnx` and `encoding.json` of YAHPO's `lcbench`.
        instance: OpenML task id.

    Raises:
        InvalidArgumentError: If a file is missing, onnxruntime is not installed, or the task is unknown.
    """

    metric = "accuracy"
    metric_range = (0.0, 1.0)
    max_units = UNITS
    space = SPACE

    def __init__(self, folder: str | Path, instance: str | int = "3945") -> None:
        folder = Path(folder)
        for file in ("model.onnx", "encoding.json"):
            there = (folder / file).is_file()
            require(there, "folder", f"must hold {file}", str(folder), "get YAHPO's data, folder lcbench")
        try:
            import onnxruntime
        except ImportError:
            raise InvalidArgumentError(
                "folder: its model needs onnxruntime, but that is not installed; "
                "pip install 'hypernudge[surrogates]'"
            ) from None
        codes = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
        known = sorted(set(codes) - {"#na#"})
        require(str(instance) in known, "instance", f"must be one of {known}", instance, "choose one")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._code = codes[str(instance)]
        self.settings = {"instance": str(instance), "model": (folder / "model.onnx").stat().st_size}
        self.name = f"lcbench_{instance}"
        self._curves = lru_cache(maxsize=10_000)(self._predict)

    def _predict(self, config: Config) -> dict[str, np.ndarray]:
        """Return the predicted curves of a configuration, `(52,)` each; accuracies in [0, 1]."""
        inputs = np.empty((UNITS, 1 + len(INPUTS)), dtype=np.float32)
        inputs[:, 0] = np.arange(1, UNITS + 1)
        inputs[:, 1:] = [float(config[name]) for name in INPUTS]
        feed = {"x_cat": np.full((UNITS, 1), self._code, np.int32), "x_cont": inputs}
        (predicted,) = self._session.run(None, feed)
        curves = dict(zip(OUTPUTS, np.array(predicted, dtype=float).T.copy(), strict=True))
        return {**curves, "validation": curves["validation"] / 100}  # the balanced ones are shares already

    def start(self, seed: int) -> Position:
        """Return the beginning; the surrogate knows one seed only."""
        del seed
        return Position()

    def advance(self, state: Position, hp: Mapping[str, Value]) -> bool:
        """Go on by one epoch.

        Raises:
            InvalidArgumentError: Past epoch 52.
        """
        require(state.unit < UNITS, "max_units", f"curves end at {UNITS}", state.unit + 1, "lower it")
        state.curves = self._curves(hp if isinstance(hp, Config) else Config(hp))
        state.unit += 1
        return True

    def evaluate(self, state: Position, split: str) -> float:
        """Return the accuracy after the last epoch; of the test split, the balanced one, as YAHPO has it."""
        assert state.curves is not None, "advance first"
        return float(state.curves[split][state.unit - 1])

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return the mean predicted seconds of an epoch, to be counted on a clock of 1 FLOP/s."""
        seconds = self._curves(hp if isinstance(hp, Config) else Config(hp))["seconds"]
        return max(float(seconds[-1]) / UNITS, 1e-3)
