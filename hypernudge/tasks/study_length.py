"""What a task whose schedules span the longest training asks of the studies that train it."""

from __future__ import annotations

from hypernudge.errors import require


def check_study_length(units: int, declared: int | None, shared: int | None) -> None:
    """Refuse a study that a schedule does not fit.

    Args:
        units: Of the study's longest training.
        declared: What the task was told; None if it takes the study's.
        shared: The length of studies that have the task at the moment; None if none has.

    Raises:
        InvalidArgumentError: If a schedule is shared with a study of another length, or ends before.
    """
    if declared is not None:
        rule = f"must reach the scheduler's longest training, {units}"
        require(declared >= units, "units", rule, declared, "leave it out")
    elif shared is not None:
        rule = f"must be {shared} units in studies that share a task"
        require(units == shared, "max_units", rule, units, "build a task for each")
