"""Samplers learn from what was trained, and find where it is good."""

import math

import numpy as np
import pytest
from scipy.integrate import trapezoid

from hypernudge.random import Streams, stream
from hypernudge.space import Categorical, Config, Integer, Real, SearchSpace
from hypernudge.surrogates.gp_sampler import GPSampler, standardised
from hypernudge.surrogates.kde import KDESampler, _Density
from hypernudge.surrogates.observations import Curves, features, trained
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult

SPACE = SearchSpace(
    [Real("lr", 1e-4, 1.0, log=True), Categorical("kind", ("a", "b", "c")), Integer("layers", 1, 8)]
)
SAMPLERS = {"kde": KDESampler(random_fraction=0.0), "gp": GPSampler()}


def history_of(score, count=60, shift=0.0):
    """Trials of uniform draws, trained at an `lr` that is `shift` further up, round the unit interval."""
    history = History()
    for number in range(count):
        sampled = SPACE.sample(stream(0, "config", number))
        unit = SPACE.encode(sampled)
        unit[0] = (unit[0] + shift) % 1.0
        config = SPACE.decode(unit)
        history.append(Started(number, sampled, Nudge(config, "moved"), 0.0))
        job = Job(number, config, 0, 1)
        history.append(job)
        value = score(config)
        outcome = "ok" if math.isfinite(value) else "diverged"
        history.append(Report(job, outcome, 0.0, 1.0, (UnitResult(1, 1.0, value, value),), 1.0))
    return history


def proposals(sampler, history, count=12):
    return np.array([SPACE.encode(sampler(SPACE, history, Streams(seed))) for seed in range(count)])


@pytest.mark.parametrize(("name", "threads"), [("kde", 1), ("gp", 1), ("gp", 2)])
def test_proposes_where_scores_are_good(name, threads):
    """Whatever BLAS takes: the other tests have one thread."""
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="comes with the extra harness")

    def score(config):
        return -((math.log10(config["lr"]) + 2) ** 2) + (config["kind"] == "b") - 0.05 * config["layers"]

    with threadpoolctl.threadpool_limits(threads):
        units = proposals(SAMPLERS[name], history_of(score))
    assert abs(np.median(units[:, 0]) - 0.5) < 0.12
    assert np.mean(units[:, 1] == 0.5) > 0.6


@pytest.mark.parametrize("name", SAMPLERS)
def test_learns_from_the_nudged_configuration(name):
    """The good `lr` is known from what was trained: where it was sampled would be .25 lower."""
    history = history_of(lambda config: -((math.log10(config["lr"]) + 1) ** 2), shift=0.25)
    assert abs(np.median(proposals(SAMPLERS[name], history)[:, 0]) - 0.75) < 0.12


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    "score",
    [
        lambda config: 1.0,
        lambda config: math.nan,
        lambda config: math.nan if config["lr"] > 0.01 else 1.0,
        lambda config: 1e30 * config["lr"],
    ],
    ids=["constant", "all diverge", "many diverge", "huge"],
)
def test_survives(name, score):
    for config in [SAMPLERS[name](SPACE, history_of(score), Streams(seed)) for seed in range(3)]:
        SPACE.check(config)


def test_a_density_integrates_to_one_and_its_draws_follow_it():
    space = SearchSpace([Real("x", 0.0, 1.0), Categorical("c", ("a", "b"))])
    rng = stream(0, "density")
    units = space.snap(np.column_stack([0.4 + 0.1 * rng.random(50), rng.random(50)]))
    density = _Density(space, units, 1e-3)
    grid = np.linspace(-0.5, 1.5, 2001)
    mass = [trapezoid(density(np.column_stack([grid, np.full(2001, c)])), grid) for c in (0.25, 0.75)]
    assert sum(mass) == pytest.approx(1.0, rel=1e-6)
    drawn = density.draw(rng, 20_000, 1.0)
    assert drawn[:, 0].mean() == pytest.approx(units[:, 0].mean(), abs=0.005)
    assert drawn.min() >= 0.0 and drawn.max() <= 1.0


def test_features_make_any_two_choices_equally_far():
    units = np.array([SPACE.encode(Config({"lr": 0.1, "kind": kind, "layers": 2})) for kind in "abc"])
    x = features(SPACE, units)
    distances = [np.linalg.norm(x[i] - x[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert distances == pytest.approx([1.0, 1.0, 1.0])


def test_an_inactive_parameter_is_ignored():
    space = SearchSpace([Categorical("kind", ("a", "b")), Real("only_a", 0.0, 1.0, only_if=("kind", ("a",)))])
    assert space.snap(np.array([[0.9, 0.1], [0.9, 0.8], [0.2, 0.8]])).tolist() == [
        [0.75, 0.5],
        [0.75, 0.5],
        [0.25, 0.8],
    ]


def test_standardised_scores_are_robust():
    y = standardised(np.array([0.1, 0.2, 0.3, 0.4, -1e9, -math.inf]))
    assert np.isfinite(y).all() and y[4] == y[5] == -3.0 and y.argmax() == 3
    assert not standardised(np.full(4, -math.inf)).any()


def test_curves_follow_resumed_and_lost_trials():
    history = History()
    for number, (first, later) in enumerate(
        [([0.1, 0.2], [0.3]), ([0.5, 0.4], None), ([0.2, math.nan], None)]
    ):
        config = SPACE.sample(stream(0, number))
        history.append(Started(number, config, Nudge(config, "none"), 0.0))
        for since, scores in ((0, first), (2, later)):
            if scores is None:
                continue
            job = Job(number, config, since, since + len(scores))
            history.append(job)
            units = tuple(UnitResult(i, 0.0, v, v) for i, v in enumerate(scores, since + 1))
            outcome = "ok" if math.isfinite(scores[-1]) else "diverged"
            history.append(Report(job, outcome, 1.0, 3.0, units, 1.0))
    curves = history.project("curves", Curves)
    assert curves.of == {0: [0.1, 0.2, 0.3], 1: [0.5, 0.4], 2: []} and curves.lost == {2}
    assert curves.some(3) == [1, 0, 2] and curves.some(2) == [1, 2]
    assert curves.seconds([0, 1]).tolist() == [4.0, 2.0]
    assert [curve.max() for curve in curves.normalised([0, 1, 2])] == pytest.approx([0.5, 1.0, 0.0], abs=0.12)
    assert trained(SPACE, history).shape == (3, 3)
