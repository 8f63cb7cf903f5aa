"""Importance has the right order where it is known, and says how sure it is."""

import functools
import math

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from hypernudge import Categorical, Real, SearchSpace
from hypernudge.errors import InvalidArgumentError, MissingExtraError
from hypernudge.study.analysis.importance import boxes, main_effects
from tests.study.synthetic import study_of

CUBE = SearchSpace([Real(name, 0.0, 1.0) for name in ("a", "b", "c", "d")])
METHODS = ("fanova", "permutation")


def additive(config, unit, rng):
    """Shares of the variance are as 16 : 4 : 1 : 0."""
    return 4 * config["a"] + 2 * config["c"] + config["b"]


ANGLES = SearchSpace([Real(name, -math.pi, math.pi) for name in ("x1", "x2", "x3")])


def ishigami(config, unit, rng):
    """First-order indices .31, .44, 0 (Ishigami and Homma 1990)."""
    x1, x2, x3 = config["x1"], config["x2"], config["x3"]
    return math.sin(x1) + 7 * math.sin(x2) ** 2 + 0.1 * x3**4 * math.sin(x1)


TRAINING = SearchSpace(
    [
        Real("momentum", 0.0, 0.9),
        Real("lr", 1e-6, 10.0, log=True),
        Categorical("optimizer", ("sgd", "adamw", "lion")),
    ]
)


def training(config, unit, rng):
    rate = math.log10(config["lr"]) + 2
    return -(rate**2) + {"sgd": 0.0, "adamw": 4.0, "lion": 1.0}[config["optimizer"]] + config["momentum"]


def together(config, unit, rng):
    """A product: `a` and `b` explain nothing alone, and .92 of the variance together; `c` explains .08."""
    return 6 * (config["a"] - 0.5) * (config["b"] - 0.5) + 0.5 * config["c"]


KNOWN = [
    (CUBE, additive, {"fanova": ["a", "c", "b", "d"], "permutation": ["a", "c", "b", "d"]}),
    (ANGLES, ishigami, {method: ["x2", "x1", "x3"] for method in METHODS}),
    (TRAINING, training, {method: ["lr", "optimizer", "momentum"] for method in METHODS}),
]


@functools.cache
def known(number, method):
    """Return the importance after 400 trials; two tests ask for some."""
    space, score, _ = KNOWN[number]
    return study_of(space, score, trials=400, rungs=(1,)).importance(method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", range(len(KNOWN)), ids=lambda number: KNOWN[number][1].__name__)
def test_the_order_is_that_which_is_known(number, method):
    found, order = known(number, method), KNOWN[number][2]
    assert list(found.names) == order[method]
    assert list(found.share) == sorted(found.share, reverse=True)
    assert all(
        low <= mean <= high for low, mean, high in zip(found.low, found.share, found.high, strict=True)
    )
    assert found.explained > 0.6 and found.trials == 400 and found.unit == 1
    assert found.warning == "" or found.first[0] < 0.9


def test_what_matters_only_together_is_seen_by_permutation_and_not_alone():
    study = study_of(CUBE, together, trials=400, rungs=(1,))
    alone, all_told = study.importance("fanova"), study.importance("permutation")
    assert alone.names[0] == "c" and max(alone.share) < 0.2
    assert set(all_told.names[:2]) == {"a", "b"} and all_told.names[2] == "c"
    assert min(all_told.share[:2]) > 0.4


@pytest.mark.parametrize("method", METHODS)
def test_thirty_trials_say_how_sure_they_are(method):
    few = study_of(CUBE, additive, trials=30, rungs=(1,)).importance(method)
    many = known(0, method)
    assert few.high[0] - few.low[0] > 1.5 * (many.high[0] - many.low[0])
    assert few.warning == "30 trials, below 10 for each hyper-parameter: the order is uncertain"
    assert few.names[0] == "a"


@pytest.mark.parametrize("method", METHODS)
def test_noise_is_called_noise(method):
    study = study_of(CUBE, lambda config, unit, rng: rng.normal(), trials=100, rungs=(1,))
    found = study.importance(method)
    assert found.explained < 0.1
    assert found.warning.endswith("no order is to be relied on")
    title = study.plot.importance(method=method).axes[0].get_title("left")
    assert found.warning in title and "100 trials" in title


def test_what_makes_trials_fail_matters():
    """No score tells of it: those that fail have none."""

    def score(config, unit, rng):
        return math.nan if config["a"] > 0.6 else config["b"] * 0.01

    found = study_of(CUBE, score, trials=150, rungs=(1,)).importance()
    assert (found.names[0] == "a" and found.lost == 0) or found.lost > 30


def test_one_score_that_exploded_changes_no_order():
    def score(config, unit, rng):
        return -1e30 if config["d"] > 0.99 else additive(config, unit, rng)

    assert study_of(CUBE, score, trials=300, rungs=(1,)).importance().names[:2] == ("a", "c")


def test_trials_are_compared_after_equally_many_units():
    study = study_of(trials=60, rungs=(1, 3, 9))
    found = study.importance()
    assert found.unit == 1 and found.trials == 60
    assert study.importance(unit=3).trials == 20
    with pytest.raises(InvalidArgumentError, match=r"^importance: must have 8 trials .* but got 6; "):
        study.importance(unit=9)
    with pytest.raises(InvalidArgumentError, match=r"^unit: must be a whole number"):
        study.importance(unit=28)
    with pytest.raises(InvalidArgumentError, match=r"^method: must be one of 'fanova', 'permutation'"):
        study.importance("shapley")
    with pytest.raises(InvalidArgumentError, match=r"^importance: scores after unit 1 must differ"):
        study_of(score=lambda *_: 0.5, trials=20).importance()


def test_it_is_the_same_again_and_in_either_direction():
    study = study_of(trials=50, lost=0.1)
    found = study.importance(seed=3)
    assert found == study.importance(seed=3)
    assert found != study.importance(seed=4)
    losses = study_of(
        score=lambda c, u, rng: -additive(c, u, rng), space=CUBE, trials=80, direction="minimize"
    )
    scores = study_of(score=additive, space=CUBE, trials=80)
    assert losses.importance().share == scores.importance().share


def test_main_effects_are_those_of_the_function_that_the_tree_is():
    rng = np.random.default_rng(0)
    points = rng.random((300, 3))
    forest = RandomForestRegressor(4, random_state=0, max_leaf_nodes=30).fit(
        points, points @ [3, 1, 0] + points[:, 0] * points[:, 1]
    )
    _, low, high = boxes(forest.estimators_[0].tree_, 3)
    assert np.prod(high - low, axis=1).sum() == pytest.approx(1)
    # By brute force: the mean over the other columns on a grid.
    ticks = (np.arange(40) + 0.5) / 40
    grid = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1)
    expected = []
    for tree in forest.estimators_:
        heights = tree.predict(grid.reshape(-1, 3)).reshape(40, 40, 40)
        expected.append(
            [heights.mean(axis=others).var() / heights.var() for others in ((1, 2), (0, 2), (0, 1))]
        )
    assert main_effects(forest, 3) == pytest.approx(np.mean(expected, axis=0), abs=0.02)


def test_the_picture_has_a_bar_and_an_interval_for_each():
    study = study_of(CUBE, additive, trials=60, rungs=(1,))
    found, axes = study.importance(), study.plot.importance().axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(found.names)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 * share for share in found.share])
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == f"{100 * found.share[0]:.0f} [{100 * found.low[0]:.0f}, {100 * found.high[0]:.0f}]"


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(MissingExtraError, match=r"^importance needs sklearn.ensemble"):
        study_of(trials=10).importance()
