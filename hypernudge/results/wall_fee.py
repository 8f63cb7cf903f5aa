"""What warm starts take of a cell's time on the wall: the fee that a cost declared in FLOPs does not show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WallFee:
    """Seconds of measuring and choosing, and of which they are a part; NaN where nobody has measured.

    Attributes:
        seconds: In which warm starts measured, chose, and were asked ahead of time what they would choose.
        cell_seconds: That the whole cell took: of its process, which other cells may share, or of workers
            that trained and measured for it.
    """

    seconds: float = math.nan
    cell_seconds: float = math.nan

    @property
    def share(self) -> float:
        """`seconds` over `cell_seconds`; NaN where one of them is unknown or nothing was done."""
        return self.seconds / self.cell_seconds if self.cell_seconds > 0 else math.nan

    def as_data(self) -> dict[str, float | None]:
        """Return the three numbers as plain data, None for one that is unknown."""
        known = {"seconds": self.seconds, "cell_seconds": self.cell_seconds, "share": self.share}
        return {name: value if math.isfinite(value) else None for name, value in known.items()}


def wall_fee(record: Mapping[str, Any]) -> WallFee:
    """Return the fee of a cell's record.

    Records of versions that did not note it say it as well, unless the cell shared its process with others:
    how much of that was its own they do not say.
    """
    wall = record.get("wall") or {}
    noted = wall.get("wall_fee")
    if noted is not None:
        return WallFee(_number(noted.get("seconds")), _number(noted.get("cell_seconds")))
    own = "cells_together" not in wall
    return WallFee(
        _number(wall.get("warm_start_seconds")), _number(wall.get("total_seconds")) if own else math.nan
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
