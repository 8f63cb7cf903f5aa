"""How past studies are pooled: what they share, what they deviate by, and what no number averages out."""

import json

import numpy as np
import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement.features import NAMES, SIZE, features_of
from hypernudge.warmstart.measurement.pooling import DEVIATIONS, OWN_NOISE, SHARED_NOISE, pool, smoothness

FEW, MANY = 160, 4000


def drawn(rng, n):
    """Features of configurations of a wide space, `(n, SIZE)`."""
    columns = {
        "weight_decay": 10 ** rng.uniform(-6, -1, n),
        "augmentation": rng.uniform(0, 1, n),
        "label_smoothing": rng.uniform(0, 0.3, n),
        "momentum": rng.uniform(0, 0.99, n),
    }
    return features_of(rng.uniform(-3.5, 2.0, n), columns, 0.0, 1000.0)


def in_common(rng):
    """Smooth weights: an optimum in the rate, and slopes in all else."""
    knots = np.array([float(name.split()[1]) for name in NAMES[1:]])
    rate = np.array([name.startswith("rate") for name in NAMES[1:]])
    weights = np.where(rate, 1.0 - 0.5 * (knots + 0.5) ** 2, rng.uniform(-0.3, 0.3) * knots)
    return np.concatenate([[0.0], np.maximum(weights, -1.5)])


def deviating(rng, common):
    """The weights of a study of its own; rates deviate most."""
    rate = np.array([name.startswith("rate") for name in NAMES])
    return common + np.where(rate, 0.2, 0.05) * rng.standard_normal(SIZE)


def studies(rng, count, n, common, same=False, shared=SHARED_NOISE):
    """Studies whose features leave `shared` and `OWN_NOISE` of a rank's variance."""
    phi, misfit = drawn(rng, n), np.sqrt(shared) * rng.standard_normal(n)
    found = []
    for _ in range(count):
        if not same:
            phi, misfit = drawn(rng, n), np.sqrt(shared) * rng.standard_normal(n)
        y = phi @ deviating(rng, common) + misfit + np.sqrt(OWN_NOISE) * rng.standard_normal(n)
        found.append(priors.TaskStatistics("", "", "SGD", n, 0.0, phi.T @ phi, phi.T @ y))
    return found


def loss(rng, prior, common):
    """What the best of 256 draws by the prior's mean is worse than the best, by the truth; mean of 25."""
    lost = []
    for _ in range(25):
        phi = drawn(rng, 256)
        true = phi @ common
        lost.append(true.max() - true[np.argmax(phi @ prior.mean)])
    return float(np.mean(lost))


def too_sure(prior, common, phi):
    """Squared error of contrasts between configurations over what the prior says of the next study's."""
    phi = phi - phi.mean(axis=0)
    error = (phi @ (prior.mean - common)) ** 2
    return float(error.mean() / np.einsum("ij,jk,ik->i", phi, prior.covariance, phi).mean())


def losses(pooling, same):
    """Return mean losses with one, three and ten past studies, of the same truths."""
    found = []
    for seed in range(16):
        common = in_common(np.random.default_rng([seed, 1]))
        past = studies(np.random.default_rng([seed, 2]), 10, FEW, common, same)
        fitted = (priors.fit(past[:count], pooling) for count in (1, 3, 10))
        found.append([loss(np.random.default_rng([seed, 3]), prior, common) for prior in fitted])
    return np.mean(found, axis=0)


@pytest.mark.parametrize("same", [False, True])
def test_more_small_studies_choose_better_than_one(same):
    one, three, ten = losses(priors.HIERARCHICAL, same)
    assert ten < three < one
    assert ten < 0.6 * one


def test_small_studies_of_the_same_configurations_choose_better_than_by_pooled_ridge():
    assert losses(priors.HIERARCHICAL, same=True)[2] < 0.8 * losses(priors.RIDGE, same=True)[2]


@pytest.mark.parametrize(("n", "same"), [(FEW, False), (FEW, True), (MANY, True)])
def test_a_prior_is_no_surer_than_it_is_right(n, same):
    ratios = []
    for seed in range(6):
        rng = np.random.default_rng([seed, 4])
        common = in_common(rng)
        prior = priors.fit(studies(rng, 13, n, common, same))
        ratios.append(too_sure(prior, common, drawn(rng, 300)))
    assert np.mean(ratios) < 0.35  # the covariance is of the next study, not of what is common alone


def deviation(n, own):
    """Standard deviations of a study's rate weights as pooled from 60 studies whose truth is `own`."""
    rng = np.random.default_rng(5)
    common, rate = in_common(rng), np.array([name.startswith("rate") for name in NAMES])
    found = []
    for _ in range(60):
        phi = drawn(rng, n)
        weights = common + np.where(rate, own, 0.0) * rng.standard_normal(SIZE)
        y = phi @ weights + np.sqrt(OWN_NOISE) * rng.standard_normal(n)
        found.append((phi.T @ phi, phi.T @ y))
    _, covariance = pool(*map(np.array, zip(*found, strict=True)))
    contrast = np.diff(np.eye(SIZE)[rate], axis=0)[:6]  # level shifts are no ranks
    return float(np.sqrt(np.einsum("ij,jk,ik->i", contrast, covariance, contrast).mean() / 2.0))


@pytest.mark.parametrize("own", [0.25, 0.4, 0.6])
def test_what_studies_deviate_by_is_found_whatever_their_size(own):
    small, large = deviation(FEW, own), deviation(MANY, own)
    assert small == pytest.approx(own, rel=0.15) and large == pytest.approx(own, rel=0.1)


def test_what_nobody_tried_is_unknown_and_smooth():
    phi = drawn(np.random.default_rng(6), 300)
    mean, covariance = pool((phi.T @ phi)[None], np.zeros((1, SIZE)))
    assert np.allclose(mean, 0.0) and np.linalg.eigvalsh(covariance).min() > 0.0
    mean, covariance = pool(np.zeros((2, SIZE, SIZE)), np.zeros((2, SIZE)))
    assert np.allclose(mean, 0.0)
    begin = NAMES.index("rate -3")
    assert covariance[begin, begin] > 0.1 + DEVIATIONS["rate"]
    straight = np.zeros(SIZE)
    straight[begin : begin + 12] = np.arange(12.0)  # a line bends nowhere
    assert straight @ smoothness() @ straight == pytest.approx((straight**2).sum() / 0.5)


def test_a_file_says_how_it_is_pooled_and_that_of_tables_stays_what_it_was(tmp_path):
    tables, path = priors.load(priors.TABLES), tmp_path / "prior.json"
    assert tables.pooling == priors.RIDGE
    priors.PriorFile(tables.tasks).dump(path)
    again = priors.load(str(path))
    assert again.pooling == priors.HIERARCHICAL
    assert not np.allclose(again.prior().mean, tables.prior().mean, atol=0.02)
    told = json.loads(path.read_text())
    for text, expected in (("ridge", priors.RIDGE), (None, priors.RIDGE), ("mean", None)):
        told.pop("pooling", None)
        told |= {} if text is None else {"pooling": text}
        other = tmp_path / f"{text}.json"
        other.write_text(json.dumps(told))
        if expected is None:
            with pytest.raises(InvalidArgumentError, match=r"must be pooled by one of .* got 'mean'"):
                priors.load(str(other))
        else:
            assert priors.load(str(other)).pooling == expected
