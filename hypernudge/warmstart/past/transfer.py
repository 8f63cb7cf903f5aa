"""What past studies say about another space, and how far they are to be believed.

The model of ranks is a Bayesian linear regression in two stages. The weights `w` of a study are those that
all studies share, plus what is its own: `w = m + d`. Past studies give `m` at several shares of the longest
training; `d` is learned in the study at hand. Rows are centred within each study, because ranks compare its
trials with each other alone.

The past is believed as far as each of its studies is foretold by the others: where they contradict each other
nothing transfers, and a warm start must do nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.special import stdtrit

from hypernudge.space import SearchSpace
from hypernudge.warmstart.past.axes import SpaceFeatures, axis_of
from hypernudge.warmstart.past.studies import SHARES, PastStudy, joined

NOISE = 0.3  # variance of a rank given all features
SHARED, SHARED_PAIR = 0.3, 0.1  # variances of weights that all studies share, before any is seen
OWN, OWN_PAIR = 0.06, 0.02  # variances of what a study's weights deviate by
SUPPORT = 3.0  # trials near a knot below which its weight is taken for unknown
PAIRS, GAIN = 4, 0.01  # most pairs, and the least share of a study's variance that one must explain
CERTAIN = 0.99  # one-sided confidence that a pair gains in studies that it was not fitted to
FOLDS = 4  # of a single study
AGREEMENT = 0.1  # least mean correlation of a study with what the others foretell
CHOSEN_BY = (1, 2, 3)  # places in `SHARES` whose mean rank decides what to start
EARLY = (0, 1, 2)  # the same where cost counts: a target that is reached early costs less


@dataclass(frozen=True, eq=False)
class Transfer:
    """What the past says about a space.

    Attributes:
        features: Of the space.
        means: Weights that studies share, at each of `SHARES`, `(len(SHARES), size)`.
        own: Covariance of what a new study's weights deviate from them by, `(size, size)`.
        unknown: Covariance of the weights of a study that no past one is like, `(size, size)`.
        agreement: Correlation of each past study with what the others foretell, by task.
        probability: Of a new study being like the past ones; zero where the past says nothing.
        why: Where it is zero, the reason.
    """

    features: SpaceFeatures
    means: np.ndarray
    own: np.ndarray
    unknown: np.ndarray
    agreement: Mapping[str, float]
    probability: float
    why: str = ""

    @property
    def chosen_by(self) -> np.ndarray:
        """Weights of the mean rank that decides what to start, `(size,)`."""
        return self.mean_of(CHOSEN_BY)

    def mean_of(self, places: Sequence[int]) -> np.ndarray:
        """Return the mean of the shared weights at some places in `SHARES`, `(size,)`."""
        return np.asarray(self.means[list(places)].mean(axis=0))

    def mean_at(self, share: float) -> np.ndarray:
        """Return the shared weights at a share of the longest training, `(size,)`."""
        return np.asarray(self.means[nearest_share(share)])


def nearest_share(share: float) -> int:
    """Return the place in `SHARES` of the share nearest to another, by their ratio."""
    return min(range(len(SHARES)), key=lambda i: abs(math.log(SHARES[i] / share)))


def features_of(
    space: SearchSpace, studies: Sequence[PastStudy], aliases: Mapping[str, Sequence[str]]
) -> SpaceFeatures:
    """Return the features of a space that past studies know something of; without pairs.

    Args:
        space: The space.
        studies: The past.
        aliases: Names of the past to others that the space may use in their place.
    """
    known = {name for study in studies for name in study.columns}
    other = {alias: name for name, given in aliases.items() for alias in given}
    found = []
    for parameter in space:
        name = parameter.name if parameter.name in known else other.get(parameter.name, parameter.name)
        axis = axis_of(parameter, name, studies)
        if axis is not None:
            found.append((axis, name))
    return SpaceFeatures(space, tuple(axis for axis, _ in found), tuple(name for _, name in found))


def transfer(
    space: SearchSpace, studies: Sequence[PastStudy], aliases: Mapping[str, Sequence[str]] | None = None
) -> Transfer:
    """Return what past studies say about a space.

    Args:
        space: The space.
        studies: The past; several of one task are one study.
        aliases: As `features_of`.
    """
    features = features_of(space, studies, aliases or {})
    told = [study for study in studies if any(name in study.columns for name in features.past_names)]
    if not features.axes or not told:
        return _nothing(features, "the past holds no study of these hyper-parameters")
    shared = _Shared(features, told)
    pairs = _pairs(features, told, shared)
    if pairs:
        features = replace(features, pairs=pairs)
        shared = _Shared(features, told)
    means, covariance = shared.posterior()
    agreement = shared.agreement()
    unknown = features.covariance(SHARED + OWN, SHARED_PAIR + OWN_PAIR)
    own = features.covariance(OWN, OWN_PAIR) + covariance
    probability, why = believed(list(agreement.values()))
    return Transfer(features, means, own, unknown, agreement, probability, why)


def believed(agreement: Sequence[float]) -> tuple[float, str]:
    """Return the probability that a new study is like the past ones, and why if it is zero.

    By Laplace's rule from how many past studies were foretold by the others. Where they were not on the
    whole, nothing transfers.
    """
    mean = float(np.mean(agreement))
    error = float(np.std(agreement, ddof=1) / math.sqrt(len(agreement))) if len(agreement) > 1 else 0.0
    if mean < max(AGREEMENT, error):
        return 0.0, f"past studies contradict each other (their mean agreement is {mean:.2f})"
    foretold = sum(r > AGREEMENT for r in agreement)
    return foretold / (len(agreement) + 1), ""


def _nothing(features: SpaceFeatures, why: str) -> Transfer:
    size = len(features.inside)
    return Transfer(features, np.zeros((len(SHARES), size)), np.eye(size), np.eye(size), {}, 0.0, why)


class _Shared:
    """The shared weights of several studies, with each of them left out too."""

    def __init__(self, features: SpaceFeatures, studies: Sequence[PastStudy]) -> None:
        self._features = features
        self._studies = _by_task(studies)
        self._phi = [_centred(features.of_study(study)) for study in self._studies]
        self._y = [_centred(study.scores.T) for study in self._studies]
        self._prior = features.covariance(SHARED, SHARED_PAIR)
        own = features.covariance(OWN, OWN_PAIR)
        support = sum(np.abs(features.of_study(study)).sum(axis=0) for study in self._studies)
        self._known = features.inside & (np.asarray(support) >= SUPPORT)
        self._informed = [_seen(phi, y, own) for phi, y in zip(self._phi, self._y, strict=True)]

    def posterior(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean `(len(SHARES), size)` and covariance `(size, size)` of the shared weights."""
        mean, covariance = self._fit(self._informed)
        return self._masked(mean).T, covariance

    def _fit(self, informed: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean `(size, len(SHARES))` and covariance, in a form that never inverts the prior."""
        precision = np.sum([m for m, _ in informed], axis=0)
        right = np.sum([r for _, r in informed], axis=0)
        gain = np.linalg.solve(np.eye(len(precision)) + self._prior @ precision, self._prior)
        return gain @ right, (gain + gain.T) / 2.0

    def _masked(self, mean: np.ndarray) -> np.ndarray:
        """Return weights with those that nobody tried, or that lie outside the space, set to average."""
        return np.asarray(np.where(self._known[:, None], mean, 0.0))

    def agreement(self) -> dict[str, float]:
        """Return the correlation of each study with what the others foretell of it, by task.

        A single study is cut into parts; it agrees with itself unless its ranks follow no rule.
        """
        parts = self._parts()
        informed = [_seen(phi, y, self._features.covariance(OWN, OWN_PAIR)) for _, phi, y in parts]
        found: dict[str, list[float]] = {}
        for index, (task, phi, y) in enumerate(parts):
            mean, _ = self._fit([known for other, known in enumerate(informed) if other != index])
            chosen = list(CHOSEN_BY)
            said = phi @ self._masked(mean)[:, chosen].mean(axis=1)
            found.setdefault(task, []).append(correlation(said, y[:, chosen].mean(axis=1)))
        return {task: float(np.mean(values)) for task, values in found.items()}

    def _parts(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Return task, features and ranks of each study, or of the parts of a single one."""
        if len(self._studies) > 1:
            rows = zip(self._studies, self._phi, self._y, strict=True)
            return [(study.task, phi, y) for study, phi, y in rows]
        task, phi, y = self._studies[0].task, self._phi[0], self._y[0]
        return [(task, _centred(phi[k::FOLDS]), _centred(y[k::FOLDS])) for k in range(FOLDS)]

    def residuals(self) -> list[np.ndarray]:
        """Return what the shared weights leave of each study's mean rank, `(n,)` each."""
        mean, _ = self._fit(self._informed)
        chosen = list(CHOSEN_BY)
        return [
            y[:, chosen].mean(axis=1) - phi @ mean[:, chosen].mean(axis=1)
            for phi, y in zip(self._phi, self._y, strict=True)
        ]

    @property
    def studies(self) -> Sequence[PastStudy]:
        """The studies, several of one task as one."""
        return self._studies


def _pairs(
    features: SpaceFeatures, studies: Sequence[PastStudy], shared: _Shared
) -> tuple[tuple[int, int], ...]:
    """Return the pairs of axes that explain what single ones leave in studies they were not fitted to."""
    left = shared.residuals()
    at = [features.positions_of(study) for study in shared.studies]
    gains = []
    for pair in combinations(range(len(features.axes)), 2):
        psi = [_centred(features.product(pair, positions)) for positions in at]
        parts = list(zip(psi, left, strict=True))
        if len(parts) == 1:
            parts = [(psi[0][k::FOLDS], left[0][k::FOLDS]) for k in range(FOLDS)]
        gain = np.array(_held_out_gains(parts))
        error = gain.std(ddof=1) / math.sqrt(len(gain))
        if gain.mean() > max(GAIN, float(stdtrit(len(gain) - 1, CERTAIN)) * error):
            gains.append((float(gain.mean()), pair))
    gains.sort(reverse=True)
    return tuple(sorted(pair for _, pair in gains[:PAIRS]))


def _held_out_gains(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Return the mean squared error that each part loses by a regression on the others."""
    size = parts[0][0].shape[1]
    grams = [psi.T @ psi for psi, _ in parts]
    rights = [psi.T @ rest for psi, rest in parts]
    whole, right = np.sum(grams, axis=0), np.sum(rights, axis=0)
    ridge = NOISE / SHARED_PAIR * np.eye(size)
    gains = []
    for (_, rest), gram, own in zip(parts, grams, rights, strict=True):
        weights = np.linalg.solve(whole - gram + ridge, right - own)
        gains.append(float(2.0 * weights @ own - weights @ gram @ weights) / max(len(rest), 1))
    return gains


def _seen(phi: np.ndarray, y: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and precision times mean of the shared weights, from one study.

    The study's own weights, of covariance `own`, are integrated out.
    """
    gram, right = phi.T @ phi / NOISE, phi.T @ y / NOISE
    shrink = np.linalg.inv(np.eye(len(gram)) + gram @ own)
    precision = shrink @ gram
    return (precision + precision.T) / 2.0, shrink @ right


def _by_task(studies: Sequence[PastStudy]) -> list[PastStudy]:
    found: dict[str, PastStudy] = {}
    for study in studies:
        found[study.task] = joined(found[study.task], study) if study.task in found else study
    return list(found.values())


def _centred(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows - rows.mean(axis=0)) if len(rows) else rows


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two vectors, zero where one is constant."""
    if len(a) < 2 or a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
