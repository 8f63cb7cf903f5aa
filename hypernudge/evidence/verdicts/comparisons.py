"""Every planned comparison of a study: pairs, test, effects, verdict.

Roles are fixed: time to target is primary (its Holm-adjusted p decides), best-so-far area is secondary
(adjusted within its own family), everything else is exploratory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.loading.study import StudyResults
from hypernudge.evidence.statistics.effects import Effects, effects
from hypernudge.evidence.statistics.intervals import ROUNDING, Interval, mean_interval
from hypernudge.evidence.statistics.multiplicity import holm_by_family
from hypernudge.evidence.statistics.noninferiority import (
    Relative,
    ScoreBounds,
    not_worse_p,
    relative,
    score_bounds,
    subset_mean_interval,
)
from hypernudge.evidence.statistics.paired import PairedTest, TimePairs, difference_test, paired_test
from hypernudge.evidence.statistics.power import best_case_adjusted_p
from hypernudge.evidence.verdicts.disagreement import of_scale, of_scores, of_times
from hypernudge.evidence.verdicts.verdict import Facts, Verdict, judge
from hypernudge.results.plan import Variation

Floats = NDArray[np.float64]

_PAIRED_COLUMNS = (
    *("status", "time", "reached", "auc", "final", "test", "budget"),
    *("warm_start_flops", "total_flops", "peak_memory_bytes", "total_seconds", "hardware"),
    *("warm_start_seconds", "cell_seconds"),
)


_NOT_JUDGED = Verdict("inconclusive", "not judged")


@dataclass(frozen=True)
class Comparison:
    """One method against its baseline in one (task, scheduler).

    Attributes:
        baseline: The baseline's variation.
        method: The method's variation.
        planned: Planned pairs.
        seeds: shape (pairs,), of the pairs present, ascending.
        columns: `baseline.<outcome>` and `method.<outcome>`, each of shape (pairs,).
        test: The paired test of the times to target.
        effects: Their effect sizes.
        final: Mean relative difference of the final score (method minus baseline), 95 % limits.
        final_bounds: Typical pair and mean of the same, with one-sided bounds at level 1 - alpha, for
            non-inferiority.
        not_worse_p: The p value that goes with them: the larger of the two tests'.
        final_differences: The relative differences themselves, and the scale they are relative to.
        final_p: Signed-rank p of the final scores (exploratory, unadjusted).
        test_difference: Mean difference of the incumbent's test score, 95 % limits.
        auc: Mean difference of the best-so-far area, 95 % limits.
        auc_p: Signed-rank p of the areas.
        overhead: Warm-start FLOPs over total FLOPs of the method, summed over its pairs.
        wall_fee: Seconds of its warm starts over those of its cells, summed likewise; NaN where not measured.
        memory_ratio: Median paired ratio of peak memory, NaN where not recorded.
        wall: Geometric-mean ratio of the wall seconds of whole cells, over the pairs that ran on one kind of
            hardware (NaN where none did, or none said so); secondary, and at the mercy of the machine.
        wall_pairs: Number of those pairs.
        sd_ratio: Ratio of the standard deviations over seeds of the time to target, misses at the cap.
        family: Holm family.
        family_size: Its size.
        best_case_p: Smallest adjusted p the pairs could have given.
        p_holm: Adjusted p of the paired test.
        auc_p_holm: Adjusted p of the areas, within the secondary family.
        verdict: The judgement.
        notes: Why an interval and a test seem to disagree, where they do.
    """

    baseline: Variation
    method: Variation
    planned: int
    seeds: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    test: PairedTest
    effects: Effects
    final: Interval
    final_bounds: ScoreBounds
    not_worse_p: float
    final_differences: Relative
    final_p: float
    test_difference: Interval
    auc: Interval
    auc_p: float
    overhead: float
    wall_fee: float
    memory_ratio: float
    wall: Interval
    wall_pairs: int
    sd_ratio: float
    family: str = ""
    family_size: int = 0
    best_case_p: float = 1.0
    p_holm: float = 1.0
    auc_p_holm: float = 1.0
    verdict: Verdict = _NOT_JUDGED
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Planned pairs without both records."""
        return self.planned - self.seeds.size

    @property
    def status(self) -> str:
        """`complete` or `incomplete`."""
        return "incomplete" if self.missing else "complete"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The columns as a frame, indexed by seed; made when it is asked for, for thousands take long."""
        return pd.DataFrame(dict(self.columns), index=pd.Index(self.seeds, name="seed"), copy=False)

    @property
    def log_ratio(self) -> Floats:
        """Paired log ratio of times, misses at the cap; shape (pairs,)."""
        return np.log(self.column("method.time")) - np.log(self.column("baseline.time"))

    @property
    def final_relative(self) -> Floats:
        """Paired relative difference of the final score; shape (pairs,)."""
        return self.final_differences.values

    def column(self, name: str) -> Floats:
        """A column as numbers; shape (pairs,)."""
        return self.columns[name].astype(np.float64)

    def count(self, name: str, value: object = True) -> int:
        """In how many pairs a column has a value."""
        return int(np.count_nonzero(self.columns[name] == value))


def compare(study: StudyResults) -> list[Comparison]:
    """All planned comparisons, tested, corrected within their families, and judged.

    Raises:
        ResultsError: the plan pairs a method with no baseline.
    """
    criteria = study.plan.criteria
    runs = _runs(study.cells)
    raw = [
        _compare_one(baseline, method, runs[baseline.run_id], runs[method.run_id], criteria)
        for baseline, method in study.plan.comparisons()
    ]
    families = [criteria.family_of(comparison.method) for comparison in raw]
    adjusted = holm_by_family([c.test.p_value for c in raw], families)
    adjusted_auc = holm_by_family([c.auc_p for c in raw], families)
    members: dict[str, list[int]] = {}
    for index, family in enumerate(families):
        members.setdefault(family, []).append(index)
    best_case = np.ones(len(raw))
    for own in members.values():
        best_case[own] = best_case_adjusted_p([raw[i].test.pairs for i in own])
    judged = []
    for index, comparison in enumerate(raw):
        corrected = replace(
            comparison,
            family=families[index],
            family_size=len(members[families[index]]),
            best_case_p=float(best_case[index]),
            p_holm=float(adjusted[index]),
            auc_p_holm=float(adjusted_auc[index]),
        )
        facts = facts_of(corrected)
        notes = (
            *of_times(corrected.test, corrected.effects, corrected.p_holm, criteria.alpha),
            *of_scores(corrected.final_bounds, corrected.final, criteria.final_margin, facts.shown),
            *of_scale(corrected.final_differences),
        )
        judged.append(replace(corrected, verdict=judge(facts, criteria), notes=notes))
    return judged


_Run = tuple[NDArray[np.int64], dict[str, NDArray[Any]]]


def _runs(cells: pd.DataFrame) -> dict[str, _Run]:
    """Seeds and outcome columns of the cells present, per run, ascending by seed.

    Plain arrays: with thousands of comparisons, joining frames would take longer than all the statistics.
    """
    columns = {name: cells[name].to_numpy() for name in _PAIRED_COLUMNS}
    seeds = cells["seed"].to_numpy(dtype=np.int64)
    present = (cells["status"] != "missing").to_numpy()
    runs = {}
    positions: Any = cells.groupby("run_id", sort=False, observed=True).indices
    for run_id, rows in positions.items():
        kept = rows[present[rows]]
        kept = kept[np.argsort(seeds[kept], kind="stable")]
        runs[str(run_id)] = (seeds[kept], {name: values[kept] for name, values in columns.items()})
    return runs


def _pair(baseline: _Run, method: _Run) -> _Run:
    """Columns of both sides at the seeds that both have."""
    sides = (("baseline", baseline), ("method", method))
    if np.array_equal(baseline[0], method[0]):
        return baseline[0], {f"{side}.{k}": values for side, run in sides for k, values in run[1].items()}
    seeds, *places = np.intersect1d(baseline[0], method[0], assume_unique=True, return_indices=True)
    return seeds, {
        f"{side}.{k}": values[place]
        for (side, run), place in zip(sides, places, strict=True)
        for k, values in run[1].items()
    }


def _compare_one(
    baseline: Variation, method: Variation, left: _Run, right: _Run, criteria: Criteria
) -> Comparison:
    seeds = set(baseline.seeds) | set(method.seeds)
    paired, value = _pair(left, right)
    pairs = TimePairs(
        value["baseline.time"].astype(np.float64),
        value["baseline.reached"].astype(bool),
        value["baseline.final"].astype(np.float64),
        value["method.time"].astype(np.float64),
        value["method.reached"].astype(bool),
        value["method.final"].astype(np.float64),
    )
    final = relative(pairs.method_final, pairs.baseline_final)
    area = value["method.auc"].astype(np.float64) - value["baseline.auc"].astype(np.float64)
    test_scores = value["method.test"].astype(np.float64) - value["baseline.test"].astype(np.float64)
    total = float(np.sum(value["method.total_flops"].astype(np.float64)))
    wall = _wall_log_ratio(value)
    return Comparison(
        baseline=baseline,
        method=method,
        planned=len(seeds),
        seeds=paired,
        columns=value,
        test=paired_test(pairs),
        effects=effects(pairs),
        final=subset_mean_interval(final.values),
        final_bounds=score_bounds(final.values, criteria.alpha),
        not_worse_p=max(not_worse_p(final.values, criteria.final_margin)),
        final_differences=final,
        final_p=_p(final.values),
        test_difference=subset_mean_interval(test_scores[np.isfinite(test_scores)]),
        auc=subset_mean_interval(area),
        auc_p=_p(area),
        overhead=float(np.sum(value["method.warm_start_flops"].astype(np.float64))) / total
        if total > 0
        else 0.0,
        wall_fee=wall_fee_of(value["method.warm_start_seconds"], value["method.cell_seconds"]),
        memory_ratio=_memory_ratio(
            value["method.peak_memory_bytes"].astype(np.float64),
            value["baseline.peak_memory_bytes"].astype(np.float64),
        ),
        wall=mean_interval(wall).exp(),
        wall_pairs=wall.size,
        sd_ratio=_sd_ratio(pairs.method_time, pairs.baseline_time),
    )


def wall_fee_of(seconds: ArrayLike, cell_seconds: ArrayLike) -> float:
    """Return the share of all cells' seconds that their warm starts took; NaN where no cell says both."""
    spent, whole = (np.asarray(values, dtype=np.float64) for values in (seconds, cell_seconds))
    known = np.isfinite(spent) & np.isfinite(whole)
    total = float(whole[known].sum())
    return float(spent[known].sum()) / total if total > 0 else math.nan


def _p(differences: Floats) -> float:
    return difference_test(differences).p_value if bool(np.all(np.isfinite(differences))) else 1.0


def _memory_ratio(method: Floats, baseline: Floats) -> float:
    known = (method > 0) & (baseline > 0)
    return float(np.median(method[known] / baseline[known])) if known.any() else math.nan


def _wall_log_ratio(value: dict[str, NDArray[Any]]) -> Floats:
    """Log ratios of wall seconds; seconds of different machines are never compared."""
    method, baseline = (value[f"{side}.total_seconds"].astype(np.float64) for side in ("method", "baseline"))
    kind = value["method.hardware"]
    alike = (kind == value["baseline.hardware"]) & (kind != "")
    known = alike & (method > 0) & (baseline > 0)
    return np.asarray(np.log(method[known]) - np.log(baseline[known]))


def _sd_ratio(method: Floats, baseline: Floats) -> float:
    if method.size < 2:
        return math.nan
    spread = float(np.std(baseline, ddof=1))
    # Misses are all at the cap: what is left of their spread is rounding, and no ratio has meaning over it.
    if spread <= ROUNDING * float(np.abs(baseline).max()):
        return math.nan
    return float(np.std(method, ddof=1)) / spread


def facts_of(comparison: Comparison) -> Facts:
    """Return what the verdict on a comparison is judged by."""
    return Facts(
        pairs=comparison.test.pairs,
        joint=comparison.test.both_reached,
        best_case_p=comparison.best_case_p,
        p_holm=comparison.p_holm,
        favours=comparison.test.favours,
        ratio=comparison.effects.ratio,
        final=comparison.final_bounds,
        shown=comparison.final_differences.shown,
    )
