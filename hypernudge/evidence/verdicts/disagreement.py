"""Where an interval and a test that stand side by side seem to disagree: why, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypernudge.evidence.statistics.effects import Effects
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.statistics.noninferiority import Relative, ScoreBounds, percent
from hypernudge.evidence.statistics.paired import PairedTest


def of_times(test: PairedTest, sizes: Effects, p_holm: float, alpha: float) -> Iterator[str]:
    """Yield why the test of the times and the interval of their ratio point different ways.

    Args:
        test: The censored paired test.
        sizes: The effect sizes.
        p_holm: Its adjusted p.
        alpha: The level.
    """
    ratio = sizes.ratio
    excludes = ratio.high < 1 or ratio.low > 1
    interval = f"the interval of the time ratio, {ratio.low:.3f} to {ratio.high:.3f},"
    if p_holm < alpha and ratio.low <= 1 <= ratio.high:
        yield (
            f"{interval} holds 1 although the test is significant: the test counts who was sooner and ranks "
            f"a lone miss beyond every ratio, the ratio averages sizes with a miss at the budget"
        )
    elif p_holm < alpha and (test.favours == "method") != (ratio.estimate < 1):
        yield (
            f"the test favours the {test.favours}, the mean ratio of {ratio.estimate:.3f} the other side: "
            "a few large ratios outweigh many small ones in a mean and not in ranks"
        )
    elif excludes and test.p_value < alpha <= p_holm:
        yield (
            f"{interval} excludes 1 although the test is not significant: the interval speaks of this "
            f"comparison alone, the p of {test.p_value:.3g} is corrected for all of its family"
        )
    elif excludes and test.p_value >= alpha:
        yield (
            f"{interval} excludes 1 although the test is not significant: a mean counts how large the ratios "
            "are, the test only their ranks"
        )


def of_scores(
    bounds: ScoreBounds, interval: Interval, margin: float, shown: Callable[[float], str] = percent
) -> Iterator[str]:
    """Yield why the rule for the final score and its 95 % interval point different ways.

    Args:
        bounds: The bounds that the rule reads.
        interval: Mean relative difference with its two-sided 95 % limits.
        margin: Loss that is still not worse.
        shown: How a difference is written.
    """
    if bounds.not_worse(margin) and interval.low <= -margin:
        yield (
            f"the final score counts as not worse although its interval reaches {shown(interval.low)}: "
            f"the rule asks one side alone, and that bound is {shown(bounds.mean.low)}"
        )
    elif not bounds.not_worse(margin) and interval.low > -margin and bounds.typical.low <= -margin:
        yield (
            f"the interval of the mean final score ends at {shown(interval.low)}, and yet a worse score is "
            f"not excluded: large gains in a few pairs carry the mean, in the typical pair the bound is "
            f"{shown(bounds.typical.low)}"
        )


def of_scale(final: Relative) -> Iterator[str]:
    """Yield what differences of the final score are given in, where a percentage would mislead.

    Args:
        final: The relative differences.
    """
    if final.near_zero:
        yield (
            f"the final score is near zero beside its differences ({final.of}: {final.scale:.3g}): they are "
            "given in units of the score, not as a share of it"
        )


def not_shown(
    bounds: ScoreBounds, margin: float, *, sooner: bool, shown: Callable[[float], str] = percent
) -> str:
    """Which part of the rule for the final score is not met, and by how much.

    Args:
        bounds: The bounds that the rule reads.
        margin: Loss that is still not worse.
        sooner: Whether the method is sooner and must not be worse, or later and must not be better.
        shown: How a difference is written.
    """
    own = bounds if sooner else bounds.mirrored()
    typical, mean = (i.low if sooner else i.high for i in (bounds.typical, bounds.mean))
    side = "least" if sooner else "most"
    named = f"typical pair at {side} {shown(typical)}, mean at {side} {shown(mean)}"
    worst, best = (
        f"lose much, the worst {shown(bounds.worst)}",
        f"gain much, the best {shown(bounds.best)}",
    )
    if own.typical.low > -margin >= own.mean.low:
        return f"{named}: a few pairs {worst if sooner else best}"
    if own.mean.low > -margin >= own.typical.low:
        return f"{named}: a few pairs {best if sooner else worst}"
    return named
