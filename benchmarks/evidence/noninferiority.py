"""How often each rule calls a final score not worse: at the margin, where it must not, and at no difference.

A study is n relative differences (method minus baseline). A world says how they are distributed and has one
knob, the loss that is put on the method. At the margin the loss is such that the smaller of pseudo-median and
mean is -margin, so that one part of the hypothesis is just false; at no difference such that it is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.statistics.effects import hodges_lehmann
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.evidence.statistics.noninferiority import score_bounds, subset_mean_interval
from hypernudge.random import stream

Floats = NDArray[np.float64]
Spread = Callable[..., Iterable[Any]]
Draw = Callable[[np.random.Generator, tuple[int, ...], float], Floats]
Shares = dict[str, dict[str, float]]

ALPHA = 0.05
MARGIN = Criteria().final_margin
PAIRS = (10, 20, 30, 60)
DRAWS = 999
"""Of the bootstrap; its rules are counted in a tenth of the studies."""


def _normal(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
    return 0.005 * rng.normal(size=size) - loss


def _heavy(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
    return 0.003 * rng.standard_t(2, size=size) - loss


def _long_losses(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
    return 0.005 * (1 - rng.exponential(size=size)) - loss


def _long_gains(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
    return 0.005 * (rng.exponential(size=size) - 1) - loss


def _ties(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
    """Two thirds are equal, the others differ by a few of 360 examples."""
    better, worse = rng.poisson(0.2, size=size), rng.poisson(0.2, size=size)
    return (better - worse) / 360 - loss


def _ceiling(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
    """Scores end at 1, where a third of the baseline's are."""
    shared = 0.996 + 0.004 * rng.normal(size=size)
    baseline = np.minimum(1.0, shared + 0.004 * rng.normal(size=size))
    return np.minimum(1.0, shared - loss + 0.004 * rng.normal(size=size)) - baseline


def _misses(method: float, baseline: float) -> Draw:
    """Each side misses now and then, and then ends 3 % lower in the mean."""

    def draw(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
        usual = 0.002 * rng.normal(size=size) - loss
        lost, gained = (
            (rng.random(size) < share) * 0.03 * rng.exponential(size=size) for share in (method, baseline)
        )
        return np.asarray(usual + gained - lost)

    return draw


WORLDS: Mapping[str, Draw] = {
    "normal": _normal,
    "heavy tails (t, 2 degrees)": _heavy,
    "long tail of losses": _long_losses,
    "long tail of gains": _long_gains,
    "ties, two thirds equal": _ties,
    "ceiling at 1": _ceiling,
    "both miss at times": _misses(0.1, 0.1),
    "the baseline misses at times": _misses(0.0, 0.1),
    "the method misses at times": _misses(0.1, 0.0),
}

BEFORE, OURS = "Student (before)", "rank and flip (ours)"

SYMMETRIC = tuple(list(WORLDS)[k] for k in (0, 1, 4, 6))
"""Where the tests are exact."""

HELD = (*SYMMETRIC, "long tail of gains", "ceiling at 1", "the baseline misses at times")
"""Where the rule keeps its level; with long or rare losses none of the rules does."""


@cache
def centre(name: str) -> float:
    """Loss at which the smaller of pseudo-median and mean is zero, from four million differences."""
    if name == "ceiling at 1":
        return 0.0  # the sides are exchangeable
    values = WORLDS[name](stream(0, "centre", name), (2, 2_000_000), 0.0)
    return float(min(np.median(values.mean(axis=0)), values.mean())) if name not in SYMMETRIC else 0.0


@cache
def at_margin(name: str) -> float:
    """Loss at which the smaller of pseudo-median and mean is -margin."""
    if name != "ceiling at 1":
        return centre(name) + MARGIN
    low, high = 0.0, 10 * MARGIN
    for _ in range(20):
        loss = (low + high) / 2
        values = WORLDS[name](stream(0, "margin", name), (2, 1_000_000), loss)
        beyond = min(np.median(values.mean(axis=0)), values.mean()) < -MARGIN
        low, high = (low, loss) if beyond else (loss, high)
    return (low + high) / 2


def bca_low(values: Floats, statistic: Callable[..., Any], rng: np.random.Generator) -> float:
    """Lower bound by the bias-corrected and accelerated bootstrap.

    Source: Efron (1987), "Better bootstrap confidence intervals", J. Am. Stat. Assoc. 82, 171-185.
    """
    n = values.size
    drawn = statistic(values[rng.integers(n, size=(DRAWS, n))], axis=1)
    estimate = statistic(values)
    below = (np.sum(drawn < estimate) + 0.5 * np.sum(drawn == estimate)) / DRAWS
    z0 = float(ndtri(np.clip(below, 0.5 / DRAWS, 1 - 0.5 / DRAWS)))
    left_out = statistic(np.tile(values, (n, 1))[~np.eye(n, dtype=bool)].reshape(n, n - 1), axis=1)
    spread = left_out.mean() - left_out
    square = float(np.sum(spread**2))
    acceleration = float(np.sum(spread**3)) / (6 * square**1.5) if square > 0 else 0.0
    z = z0 + float(ndtri(ALPHA))
    level = float(ndtr(z0 + z / (1 - acceleration * z))) if 1 - acceleration * z > 0 else 0.0
    return float(np.quantile(drawn, level))


def rules(values: Floats, rng: np.random.Generator, *, bootstrap: bool) -> dict[str, bool]:
    """Whether each rule calls the score not worse.

    Args:
        values: shape (n,), relative differences.
        rng: For the bootstrap.
        bootstrap: Whether its rules are asked as well, which are slow.
    """
    level = 1 - 2 * ALPHA
    lows = {
        BEFORE: mean_interval(values, level).low,
        "signed rank": hodges_lehmann(values, level).low,
        "sign flip": subset_mean_interval(values, level).low,
    }
    if bootstrap:
        lows["BCa bootstrap, mean"] = bca_low(values, np.mean, rng)
        lows["BCa bootstrap, median"] = bca_low(values, np.median, rng)
    said = {name: low > -MARGIN for name, low in lows.items()}
    return {**said, OURS: score_bounds(values, ALPHA).not_worse(MARGIN)}


def _said(
    draw: Draw, loss: float, pairs: int, studies: int, rng: np.random.Generator, bootstrap: bool
) -> dict[str, float]:
    counts: dict[str, list[bool]] = {}
    for number in range(studies):
        found = rules(draw(rng, (pairs,), loss), rng, bootstrap=bootstrap and number < studies // 10)
        for name, said in found.items():
            counts.setdefault(name, []).append(said)
    return {name: float(np.mean(said)) for name, said in counts.items()}


def _of_world(where: tuple[str, int, str], *, studies: int, seed: int, bootstrap: bool) -> dict[str, float]:
    name, pairs, truth = where
    loss = at_margin(name) if truth == "at the margin" else centre(name)
    rng = stream(seed, "non-inferiority", name, pairs, truth)
    return _said(WORLDS[name], loss, pairs, studies, rng, bootstrap)


def _measure(
    truth: str, studies: int, seed: int, spread: Spread, pairs: Iterable[int], bootstrap: bool
) -> Shares:
    cells = [(name, n, truth) for n in pairs for name in WORLDS]
    labels = [f"{name}, {n} pairs" for name, n, _ in cells]
    measure = partial(_of_world, studies=studies, seed=seed, bootstrap=bootstrap)
    return dict(zip(labels, spread(measure, cells), strict=True))


def type_1_error(
    studies: int, seed: int = 0, spread: Spread = map, pairs: Iterable[int] = PAIRS, bootstrap: bool = True
) -> Shares:
    """Share of studies at the margin that a rule calls not worse: world and pairs -> rule -> share."""
    return _measure("at the margin", studies, seed, spread, pairs, bootstrap)


def power(
    studies: int, seed: int = 0, spread: Spread = map, pairs: Iterable[int] = PAIRS, bootstrap: bool = True
) -> Shares:
    """Share of studies without a difference that a rule calls not worse: world and pairs -> rule -> share."""
    return _measure("no difference", studies, seed, spread, pairs, bootstrap)


RARE = (0.02, 0.05, 0.1, 0.2, 0.4)


def rare_losses(
    studies: int, seed: int = 0, spread: Spread = map, pairs: int = 30, bootstrap: bool = True
) -> Shares:
    """Equal scores but for rare losses, so large that the mean is at the margin: chance -> rule -> share.

    What no test can see are losses that did not happen; that share, (1 - chance)^pairs, is beside the rules.
    """
    measure = partial(_rare, studies=studies, seed=seed, pairs=pairs, bootstrap=bootstrap)
    return dict(zip((f"one in {1 / q:g}" for q in RARE), spread(measure, RARE), strict=True))


def _rare(chance: float, *, studies: int, seed: int, pairs: int, bootstrap: bool) -> dict[str, float]:
    def draw(rng: np.random.Generator, size: tuple[int, ...], loss: float) -> Floats:
        return np.where(rng.random(size) < chance, -loss / chance, 0.0)

    # A tenth of a permille beyond the margin, so that none lies on it.
    rng = stream(seed, "rare", str(chance), pairs)
    said = _said(draw, 1.0001 * MARGIN, pairs, studies, rng, bootstrap)
    return {**said, "no loss happened": math.pow(1 - chance, pairs)}


def everything(studies: int, seed: int = 0, spread: Spread = map) -> dict[str, Any]:
    """Type I error at the margin, power, rare losses, and where the level is not kept but should be."""
    type_1 = type_1_error(studies, seed, spread)
    # The limit of the other tests, and two of the simulation's own errors.
    limit = 0.055 + 2 * math.sqrt(0.055 * 0.945 / studies)
    outside = [
        f"non-inferiority at the margin, {label}: {found[OURS]:.4f}"
        for label, found in type_1.items()
        if label.rpartition(", ")[0] in HELD and found[OURS] > limit
    ]
    return {
        "studies": studies,
        "bootstrap_studies": studies // 10,
        "at_the_margin": type_1,
        "no_difference": power(studies, seed, spread),
        "rare_losses": rare_losses(studies, seed, spread),
        "outside": outside,
    }
