"""An evaluated study, which figures are drawn from, and a drawing, which each becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure

from hypernudge.evidence.loading.study import StudyResults
from hypernudge.evidence.verdicts.comparisons import Comparison
from hypernudge.evidence.verdicts.criteria import Criterion
from hypernudge.plotting.style import Look, looks
from hypernudge.results.plan import Variation

LONGEST_LABEL = 48
"""Letters of a name that legends and panel titles have room for."""

MOST_SETTINGS = 12
"""Of a study whose settings each get figures of their own."""


@dataclass(frozen=True)
class Drawing:
    """A figure ready to be saved.

    Attributes:
        name: File name without suffix: `<figure_topic>[_<condition>]`.
        caption: One line on what to see in it.
        figure: The figure.
    """

    name: str
    caption: str
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
class EvaluatedStudy:
    """An evaluated study. In it, names too long for any figure are shortened.

    Attributes:
        study: Frames.
        comparisons: All comparisons.
        criteria: All criteria.
        most: Settings that get figures of their own; None for all.
    """

    study: StudyResults
    comparisons: tuple[Comparison, ...]
    criteria: tuple[Criterion, ...]
    most: int | None = MOST_SETTINGS

    def __post_init__(self) -> None:
        names = {
            name
            for v in self.study.plan.variations
            for name in (v.task, v.scheduler, v.warm_start, v.metric)
            if len(name) > LONGEST_LABEL
        }
        if names:
            short = {name: _short(name) for name in names}
            object.__setattr__(self, "study", _renamed_study(self.study, short))
            comparisons = tuple(
                replace(c, baseline=_renamed(c.baseline, short), method=_renamed(c.method, short))
                for c in self.comparisons
            )
            object.__setattr__(self, "comparisons", comparisons)
            judged = (replace(c, warm_start=short.get(c.warm_start, c.warm_start)) for c in self.criteria)
            object.__setattr__(self, "criteria", tuple(judged))

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

    def featured(self) -> Iterator[Setting]:
        """The settings with figures of their own, in plan order.

        Of more than `most` those with the least p value after Holm, ties by the plan: a study of many
        settings would take minutes, and nobody looks through hundreds of figures.
        """
        settings = list(self.settings())
        if self.most is not None and len(settings) > self.most:

            def least_p(place: int) -> float:
                return min((c.p_holm for c in settings[place].comparisons.values()), default=2.0)

            chosen = sorted(range(len(settings)), key=lambda place: (least_p(place), place))[: self.most]
            settings = [settings[place] for place in sorted(chosen)]
        yield from settings

    def left_out(self) -> str:
        """What `featured` leaves out, in a line; empty where that is nothing."""
        count = sum(1 for _ in self.settings())
        if self.most is None or count <= self.most:
            return ""
        return (
            f"figures of single settings are shown for {self.most} of {count}, those with the least p value "
            "after Holm"
        )

    def cells(self, variation: Variation) -> pd.DataFrame:
        """Rows of the cells of a variation that are present."""
        cells = self.study.cells
        return cells[(cells["run_id"] == variation.run_id) & (cells["status"] != "missing")]

    def trials(self, variation: Variation) -> pd.DataFrame:
        """Trials of a variation."""
        return self.study.trials[self.study.trials["run_id"] == variation.run_id]


def _short(name: str) -> str:
    """The beginning of a name, and a digest that tells it from others that begin alike."""
    digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:6]
    return f"{name[: LONGEST_LABEL - 9]}... {digest}"


def _renamed(variation: Variation, names: Mapping[str, str]) -> Variation:
    fields = {key: getattr(variation, key) for key in ("task", "scheduler", "warm_start", "metric")}
    return replace(variation, **{key: names.get(value, value) for key, value in fields.items()})


def _renamed_study(study: StudyResults, names: Mapping[str, str]) -> StudyResults:
    columns = [name for name in ("task", "scheduler", "warm_start") if name in study.cells]
    cells = study.cells.assign(**{c: study.cells[c].map(lambda v: names.get(v, v)) for c in columns})
    columns = [name for name in ("task", "scheduler", "warm_start") if name in study.trials]
    trials = study.trials.assign(**{c: study.trials[c].map(lambda v: names.get(v, v)) for c in columns})
    criteria = study.plan.criteria
    criteria = replace(criteria, baseline=names.get(criteria.baseline, criteria.baseline))
    variations = tuple(_renamed(variation, names) for variation in study.plan.variations)
    plan = replace(study.plan, variations=variations, criteria=criteria)
    return replace(study, plan=plan, cells=cells, trials=trials)
