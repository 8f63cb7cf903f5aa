"""What a figure is drawn from, and what it becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from hypernudge.evidence.comparisons import Comparison
from hypernudge.evidence.criteria import Criterion
from hypernudge.evidence.figures.style import Look, looks
from hypernudge.evidence.plan import Variation
from hypernudge.evidence.study import Study


@dataclass(frozen=True)
class Drawing:
    """A figure ready to be saved.

    Attributes:
        name: File name without suffix: `<figure_topic>[_<condition>]`.
        shows: One line on what to see in it.
        figure: The figure.
    """

    name: str
    shows: str
    figure: Figure


@dataclass(frozen=True)
class Setting:
    """One (task, scheduler) of a study.

    Attributes:
        task: Task label.
        scheduler: Scheduler label.
        variations: Its variations by method, the baseline first, then in plan order.
        comparisons: Its comparisons by method.
    """

    task: str
    scheduler: str
    variations: dict[str, Variation]
    comparisons: dict[str, Comparison]

    @property
    def title(self) -> str:
        """Text for panel titles."""
        return f"{self.task}, {self.scheduler}" if self.scheduler else self.task

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return next(iter(self.variations.values())).metric

    @property
    def target(self) -> float:
        """Target of the baseline."""
        return next(iter(self.variations.values())).target


@dataclass(frozen=True)
class Material:
    """An evaluated study.

    Attributes:
        study: Frames.
        comparisons: All comparisons.
        criteria: All criteria.
    """

    study: Study
    comparisons: tuple[Comparison, ...]
    criteria: tuple[Criterion, ...]

    @property
    def baseline(self) -> str:
        """Warm-start label of the baseline."""
        return self.study.plan.criteria.baseline

    def looks(self) -> dict[str, Look]:
        """How each method is drawn."""
        return looks([v.warm_start for v in self.study.plan.variations], self.baseline)

    def settings(self) -> Iterator[Setting]:
        """Every (task, scheduler), in plan order, that has at least one cell."""
        variations = self.study.plan.variations
        for task, scheduler in dict.fromkeys((v.task, v.scheduler) for v in variations):
            own = [v for v in variations if (v.task, v.scheduler) == (task, scheduler)]
            # Stable: only the baseline is moved to the front.
            own.sort(key=lambda v: v.warm_start != self.baseline)
            present = [v for v in own if len(self.cells(v))]
            if present:
                yield Setting(
                    task,
                    scheduler,
                    {v.warm_start: v for v in present},
                    {
                        c.method.warm_start: c
                        for c in self.comparisons
                        if (c.method.task, c.method.scheduler) == (task, scheduler) and c.seeds.size
                    },
                )

    def cells(self, variation: Variation) -> pd.DataFrame:
        """Rows of the cells of a variation that are present."""
        cells = self.study.cells
        return cells[(cells["run_id"] == variation.run_id) & (cells["status"] != "missing")]

    def trials(self, variation: Variation) -> pd.DataFrame:
        """Trials of a variation."""
        return self.study.trials[self.study.trials["run_id"] == variation.run_id]
