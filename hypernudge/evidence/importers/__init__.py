"""Results of other tools, turned into the long form that `hypernudge compare` reads.

Optuna, Syne Tune, Ray Tune, MLflow and W&B: one file each. Only files are read; nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers import mlflow, optuna, ray_tune, syne_tune, wandb
from hypernudge.evidence.importers.common import Clock, check_output, long_form, write_long_form
from hypernudge.evidence.importers.naming import Naming
from hypernudge.evidence.importers.runs import COUNT, Run

READERS: dict[str, Callable[[str, str | None, str], Iterable[Run]]] = {
    "optuna": optuna.read,
    "syne-tune": syne_tune.read,
    "ray-tune": ray_tune.read,
    "mlflow": mlflow.read,
    "wandb": wandb.read,
}
CLOCKED = ("mlflow", "wandb")
"""Tools that log any value: one of them may be the time."""


def import_results(
    tool: str,
    source: str,
    output: Path,
    *,
    naming: Naming | None = None,
    metric: str | None = None,
    clock: str = "wall",
    configurations: bool = False,
) -> str:
    """Read results of another tool and write them in long form.

    Args:
        tool: One of `READERS`.
        source: Storage address, file or directory, as the tool calls it.
        output: New file, .csv, .parquet or .jsonl.
        naming: How the cell of a run is found.
        metric: Which metric, where the tool recorded several.
        clock: "wall", "count", or, from MLflow and W&B, the name of a logged value that is the time.
        configurations: Whether each hyper-parameter becomes a column `config.NAME`.

    Returns:
        What was found: notes, one a line, and one line of counts.

    Raises:
        InvalidArgumentError: The source, the metric, a name or the output breaks a rule.
    """
    named = clock not in ("wall", COUNT)
    known = "must be wall or count, or a logged value of mlflow or wandb"
    require(not named or tool in CLOCKED, "--time", known, clock, "choose one of the two")
    check_output(output)
    # A path with a NUL is no path to any system call.
    require("\0" not in source, "SOURCE", "must be a path or an address", source, "check it")
    try:
        runs = READERS[tool](source, metric, clock)
        kind: Clock = "count" if clock == COUNT else "wall"
        frame, summary = long_form(runs, naming or Naming(), kind, configurations)
    except OSError as error:
        where = error.filename if error.filename is not None else source
        reason = error.strerror or str(error)
        raise InvalidArgumentError(f"SOURCE: {where} cannot be read: {reason}; check the path") from None
    write_long_form(frame, output)
    return f"{output}: {summary}" if "\n" not in summary else _led(output, summary)


def _led(output: Path, summary: str) -> str:
    notes, _, counts = summary.rpartition("\n")
    return f"{notes}\n{output}: {counts}"
