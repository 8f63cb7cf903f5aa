"""Results of other tools, turned into the long form that `hypernudge compare` reads.

Optuna, Syne Tune, Ray Tune, MLflow and W&B: one file each. Only files are read; nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hypernudge.errors import require
from hypernudge.evidence.importers import mlflow, optuna, ray_tune, syne_tune, wandb
from hypernudge.evidence.importers.common import Naming, Run, long_form, write_long_form

READERS: dict[str, Callable[[str, str | None], Iterable[Run]]] = {
    "optuna": optuna.read,
    "syne-tune": syne_tune.read,
    "ray-tune": ray_tune.read,
    "mlflow": mlflow.read,
    "wandb": wandb.read,
}
CLOCKED: dict[str, Callable[[str, str | None, str | None], Iterable[Run]]] = {
    "mlflow": mlflow.read,
    "wandb": wandb.read,
}
"""Tools that log any value: one of them may be the time."""


def import_results(
    tool: str,
    source: str,
    output: Path,
    *,
    naming: Naming | None = None,
    metric: str | None = None,
    clock: str = "wall",
) -> str:
    """Read results of another tool and write them in long form.

    Args:
        tool: One of `READERS`.
        source: Storage address, file or directory, as the tool calls it.
        output: New file, .csv, .parquet or .jsonl.
        naming: How the cell of a run is found.
        metric: Which metric, where the tool recorded several.
        clock: "wall", "count", or, from MLflow and W&B, the name of a logged value that is the time.

    Returns:
        One line on what was found.

    Raises:
        InvalidArgumentError: The source, the metric, a name or the output breaks a rule.
    """
    named = clock not in ("wall", "count")
    known = "must be wall or count, or a logged value of mlflow or wandb"
    require(not named or tool in CLOCKED, "--time", known, clock, "choose one of the two")
    runs = CLOCKED[tool](source, metric, clock) if named else READERS[tool](source, metric)
    frame, summary = long_form(runs, naming or Naming(), "count" if clock == "count" else "wall")
    write_long_form(frame, output)
    return f"{output}: {summary}"
