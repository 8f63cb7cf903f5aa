"""The verdict on one comparison, by rules fixed before the runs.

    improved      Holm p < alpha in the method's favour, ratio <= .85, final score non-inferior (in the
                  typical pair and in the mean, see `noninferiority`)
    harmed        the mirror: the baseline would be "improved" over the method
    equivalent    the 95 % interval of the ratio lies inside [1/1.05, 1.05]
    unpowered     no result of this many pairs could have been significant in this family
    inconclusive  none of these

The rules are symmetric: exchanging the two sides exchanges improved and harmed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.statistics.noninferiority import ScoreBounds, percent
from hypernudge.evidence.verdicts.disagreement import not_shown

Label = Literal["improved", "harmed", "equivalent", "inconclusive", "unpowered"]
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True)
class Facts:
    """What a verdict may look at.

    Attributes:
        pairs: Pairs present.
        joint: Pairs in which both sides reached the target.
        best_case_p: Smallest Holm-adjusted p these pairs could have given in their family.
        p_holm: Holm-adjusted p of the paired test.
        favours: "method", "baseline" or "neither", by rank sum.
        ratio: Geometric-mean ratio of times, misses at the cap (method over baseline).
        final: Relative difference of the final score, method minus baseline: typical pair and mean, each with
            one-sided lower and upper confidence bounds at level 1 - alpha.
        shown: How such a difference is written.
    """

    pairs: int
    joint: int
    best_case_p: float
    p_holm: float
    favours: str
    ratio: Interval
    final: ScoreBounds
    shown: Callable[[float], str] = percent


@dataclass(frozen=True)
class Verdict:
    """A label and the one line that justifies it."""

    label: Label
    reason: str


def judge(facts: Facts, criteria: Criteria) -> Verdict:
    """Apply the rules above, in the order unpowered, improved, harmed, equivalent, inconclusive."""
    if facts.best_case_p >= criteria.alpha:
        pairs = f"{facts.pairs} pair{'' if facts.pairs == 1 else 's'}"
        reason = f"{pairs} cannot give a Holm-adjusted p below {facts.best_case_p:.3g} in this family"
        return Verdict("unpowered", reason)
    margin, small = criteria.final_margin, f"{100 * criteria.final_margin:g} %"
    significant = facts.p_holm < criteria.alpha
    sooner = significant and facts.favours == "method" and facts.ratio.estimate <= criteria.ratio
    later = significant and facts.favours == "baseline" and facts.ratio.estimate >= 1 / criteria.ratio
    p_and_ratio = f"Holm p = {facts.p_holm:.3g}, time ratio {facts.ratio.estimate:.3f}"
    if sooner and facts.final.not_worse(margin):
        return Verdict("improved", f"{p_and_ratio}; final score not worse by more than {small}")
    if later and facts.final.not_better(margin):
        return Verdict("harmed", f"{p_and_ratio}; final score not better by more than {small}")
    limit = criteria.equivalence_ratio
    # With misses on both sides the capped ratio is 1 whatever happened; most pairs must have reached the
    # target.
    if facts.ratio.inside(1 / limit, limit) and 2 * facts.joint >= facts.pairs:
        return Verdict(
            "equivalent",
            f"the interval {facts.ratio.low:.3f} to {facts.ratio.high:.3f} lies inside {1 / limit:.3f} "
            f"to {limit:.3f}",
        )
    if sooner or later:
        side = "worse" if sooner else "better"
        why = not_shown(facts.final, margin, sooner=sooner, shown=facts.shown)
        return Verdict(
            "inconclusive",
            f"{p_and_ratio}, but a final score {side} by more than {small} is not excluded ({why})",
        )
    if significant:
        return Verdict(
            "inconclusive", f"{p_and_ratio}: significant, but the effect is below the declared size"
        )
    return Verdict("inconclusive", f"{p_and_ratio}: neither a difference nor equivalence is shown")
