"""Rungs as colours: the further a trial came, the darker."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hypernudge.study.study import Study

_MOST = 7  # colours that can be told apart


@dataclass(frozen=True)
class Rungs:
    """Milestones of a study, in groups where there are many.

    Attributes:
        milestones: Units that trials were sent to, ascending.
        ends: The last milestone of each group, ascending.
    """

    milestones: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, study: Study) -> Rungs:
        """Return the rungs of a study with a trial."""
        sent = {unit for report in study.reports for unit in (report.job.until,)}
        sent |= {trial.until for trial in study.trials if trial.until}
        milestones = tuple(sorted(sent)) or (1,)
        if len(milestones) <= _MOST:
            return cls(milestones, milestones)
        wanted = np.geomspace(milestones[0], milestones[-1], _MOST)
        ends = {milestones[min(bisect_left(milestones, unit - 1e-9), len(milestones) - 1)] for unit in wanted}
        return cls(milestones, tuple(sorted(ends)))

    def group(self, unit: int) -> int:
        """Return the group that a number of units belongs to: the last one for more than all."""
        return min(bisect_left(self.ends, unit), len(self.ends) - 1)

    def colour(self, group: int) -> tuple[float, float, float, float]:
        """Return a group's colour."""
        place = 1.0 if len(self.ends) == 1 else 0.12 + 0.88 * group / (len(self.ends) - 1)
        return colormaps["viridis_r"](place)

    def label(self, group: int) -> str:
        """Return a group's name."""
        first = 0 if group == 0 else self.ends[group - 1]
        inside = [unit for unit in self.milestones if first < unit <= self.ends[group]]
        shown = f"{inside[0]}" if inside[0] == inside[-1] else f"{inside[0]} to {inside[-1]}"
        return f"unit {shown}"

    def handles(self, groups: Sequence[int], marker: str = "") -> list[Line2D | Patch]:
        """Return what a legend shows for groups: markers, or faces without one."""
        if not marker:
            return [Patch(facecolor=self.colour(g), label=self.label(g)) for g in sorted(set(groups))]
        style: dict[str, Any] = {"linestyle": "", "marker": marker, "markersize": 4}
        return [
            Line2D([], [], color=self.colour(g), label=self.label(g), **style) for g in sorted(set(groups))
        ]
