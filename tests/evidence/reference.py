"""Reference implementations: what the fast ones in the library must agree with, in plain loops."""

from itertools import product

import numpy as np

from hypernudge.evidence.loading.outcomes import Outcomes


def outcomes_by_walking(curves, *, target, budget, floor):
    """`outcomes`, walking every cell's curve event by event."""
    rows = []
    for cell in range(budget.size):
        events = [
            (float(curves.time[i]), float(curves.validation[i]), float(curves.test[i]))
            for i in range(curves.cell.size)
            if curves.cell[i] == cell
        ]
        now, best, test, when, area = 0.0, None, float("nan"), None, 0.0
        for moment, score, test_score in sorted(events, key=lambda event: event[0]):
            if moment > budget[cell] or not np.isfinite(score):
                continue
            area += max(floor[cell], floor[cell] if best is None else best) * (moment - now)
            now = moment
            if best is None or score > best:
                best, test = score, test_score
            if when is None and best >= target[cell]:
                when = moment
        area += max(floor[cell], floor[cell] if best is None else best) * (budget[cell] - now)
        rows.append(
            (
                budget[cell] if when is None else when,
                when is not None,
                area / budget[cell],
                np.nan if best is None else best,
                test,
            )
        )
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Outcomes(columns[0], columns[1].astype(bool), columns[2], columns[3], columns[4])


def paired_p_by_enumeration(pairs):
    """The p of `paired_test`: one pair at a time in plain Python, then all sign patterns."""
    placed = []
    for i in range(len(pairs)):
        method, baseline = bool(pairs.method_reached[i]), bool(pairs.baseline_reached[i])
        if method and baseline:
            tier, value = 1, float(np.log(pairs.baseline_time[i]) - np.log(pairs.method_time[i]))
        elif method or baseline:
            tier, value = 2, 1.0 if method else -1.0
        else:
            tier, a, b = 0, float(pairs.method_final[i]), float(pairs.baseline_final[i])
            if np.isnan(a) or np.isnan(b):
                value = float(np.isnan(b)) - float(np.isnan(a))
                value = value * np.inf if value else 0.0
            else:
                value = a - b
        if value:
            placed.append((tier, abs(value), 1 if value > 0 else -1))
    scale = {t: max([m for u, m, _ in placed if u == t and np.isfinite(m)], default=0.0) for t in range(3)}

    def same(t, m, tier, size):
        return t == tier and (m == size or abs(m - size) <= 1e-12 * scale[t])

    ranks = [
        sum((t, m) < (tier, size) and not same(t, m, tier, size) for t, m, _ in placed)
        + (1 + sum(same(t, m, tier, size) for t, m, _ in placed)) / 2
        for tier, size, _ in placed
    ]
    return signed_rank_test_by_enumeration(
        np.array([sign for *_, sign in placed], dtype=np.int64), np.array(ranks)
    )


def signed_rank_test_by_enumeration(signs, ranks):
    """The p of `signed_rank_test` from all 2^n sign patterns; n must be small."""
    observed = sum(rank for sign, rank in zip(signs, ranks, strict=True) if sign > 0)
    below = above = 0
    for pattern in product((False, True), repeat=len(ranks)):
        total = sum(rank for taken, rank in zip(pattern, ranks, strict=True) if taken)
        below += total <= observed
        above += total >= observed
    return min(1.0, 2.0 * min(below, above) / 2.0 ** len(ranks))


def hodges_lehmann_by_counting(differences):
    """The estimate of `hodges_lehmann`: plain loops over all pairs i <= j."""
    values = [float(value) for value in differences]
    walsh = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    middle = len(walsh) // 2
    return walsh[middle] if len(walsh) % 2 else (walsh[middle - 1] + walsh[middle]) / 2


def bootstrap_means_by_resampling(tasks, drawn, rng):
    """`bootstrap_means` of `mean_statistic`: repeats every drawn seed in plain Python."""
    slots = {}
    for index, values in enumerate(tasks):
        seeds = values.shape[2]
        for position in zip(*np.nonzero(drawn == index), strict=True):
            counts = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds))
            repeated = np.repeat(np.arange(seeds), counts)
            rows = [[float(row[s]) for s in repeated if np.isfinite(row[s])] for row in values[0]]
            means = [sum(row) / len(row) for row in rows if row]
            slots[int(position[0]), int(position[1])] = sum(means) / len(means) if means else float("nan")
    result = []
    for draw in range(drawn.shape[0]):
        kept = [slots[draw, slot] for slot in range(drawn.shape[1]) if np.isfinite(slots[draw, slot])]
        result.append(sum(kept) / len(kept) if kept else float("nan"))
    return np.array(result)
