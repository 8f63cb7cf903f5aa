"""One training through `ModuleTask`, unit by unit: a curve on disk that a killed run goes on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hypernudge.errors import require
from hypernudge.harness.cells.provenance import hardware, provenance
from hypernudge.results.files import write_text
from hypernudge.space import Real, SearchSpace
from hypernudge.task import Split
from hypernudge.tasks.module import ModuleTask

Row = dict[str, Any]
SPACE = SearchSpace([Real("lr", 1e-5, 1.0, log=True)])  # nothing is tuned here: the recipes are published


class Meter:
    """What a loss has seen in training since it was last asked: its mean, and the share of hits."""

    def __init__(self) -> None:
        self._total: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._targets = 0

    def note(self, model: nn.Module, loss: Tensor, targets: Tensor, logits: Tensor | None = None) -> None:
        """Count a mini-batch, unless in evaluation: its mean loss, and hits where there are logits.

        Args:
            model: In training mode or not.
            loss: Scalar.
            targets: `(...)`.
            logits: `(..., classes)`.
        """
        if model.training:
            self._targets += targets.numel()
            self._total.append(loss.detach() * targets.numel())
            if logits is not None:
                self._hits.append((logits.detach().argmax(-1) == targets).sum())

    def read(self) -> dict[str, float | None]:
        """Return both since the last call; None for a unit that an earlier run has trained."""
        n = self._targets
        found: dict[str, float | None] = {"train_loss": None, "train_accuracy": None}
        if n:
            found["train_loss"] = float(torch.stack(self._total).sum()) / n
            if self._hits:
                found["train_accuracy"] = int(torch.stack(self._hits).sum()) / n
        self._total, self._hits, self._targets = [], [], 0
        return found


def curve(
    task: ModuleTask,
    hp: Mapping[str, Any],
    seed: int,
    units: int,
    file: Path,
    meter: Meter,
    *,
    parts: Sequence[Split] = ("validation", "test"),
    enough: Callable[[list[Row]], bool] = lambda rows: False,
    shown: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Train one trial and return a row for every unit; rows of an earlier run are read from `file`.

    A row has the unit, the optimizer steps so far, what the meter says, the scores, and the seconds of
    processor time (of all threads) and of wall time that training and scoring the unit took.

    Args:
        task: With a `checkpoint_dir`, if an earlier run is to be continued.
        hp: Of the trial.
        seed: Of initialisation, order and everything drawn.
        units: To train at most.
        file: Where the rows are.
        meter: That the loss writes to.
        parts: That are scored after every unit.
        enough: Whether the rows so far end the training, as early stopping does.
        shown: Gets every new row.
    """
    rows: list[Row] = json.loads(file.read_text()) if file.exists() else []
    state = task.start(seed)
    for unit in range(1, units + 1):
        cpu, wall = time.process_time(), time.perf_counter()
        finite = task.advance(state, hp)
        # Scores of units that an earlier run has trained are asked for too: what nobody asks for is lost.
        scores = {part: task.evaluate(state, part) for part in parts} if finite else {}
        seen = meter.read()
        if unit > len(rows):
            row: Row = {"unit": unit, "steps": state.step, **seen}
            row |= {part: score if score == score else None for part, score in scores.items()}
            # A unit that a killed run has trained, but not written down, has taken nobody knows how long.
            trained = seen["train_loss"] is not None
            row["core_seconds"] = time.process_time() - cpu if trained else None
            row["seconds"] = time.perf_counter() - wall if trained else None
            rows.append(row)
            write_text(file, json.dumps(rows) + "\n")
            shown(row)
        if not finite or enough(rows[:unit]):
            return rows[:unit]
    return rows


def begun(folder: Path, settings: Mapping[str, Any], planned: Callable[[], Mapping[str, Any]]) -> Any:
    """Return what was planned when a run with these settings began in `folder`, or plan it now.

    Raises:
        InvalidArgumentError: If other settings have begun there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "plan.json"
    if not plan.exists():
        write_text(plan, json.dumps({"settings": dict(settings), **planned()}) + "\n")
    kept = json.loads(plan.read_text())
    differing = {
        key: kept["settings"].get(key) for key in settings if kept["settings"].get(key) != settings[key]
    }
    remedy = "give another --work folder, or those settings"
    require(
        not differing, "work", f"must be of a run with these settings; {plan} has others", differing, remedy
    )
    return kept


def described(name: str, settings: Mapping[str, Any], rows: list[Row], **found: Any) -> dict[str, Any]:
    """Return a result: what was found, how, where and when, and the curve."""
    return {
        "benchmark": name,
        **found,
        "settings": dict(settings),
        "units_timed": sum(row["seconds"] is not None for row in rows),
        "core_minutes": round(sum(row["core_seconds"] or 0 for row in rows) / 60, 2),
        "wall_minutes": round(sum(row["seconds"] or 0 for row in rows) / 60, 2),
        "threads": torch.get_num_threads(),
        "hardware": hardware(),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        **provenance(),
        "curve": [_rounded(row) for row in rows],
    }


def _rounded(row: Row) -> Row:
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}
