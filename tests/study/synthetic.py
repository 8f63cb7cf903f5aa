"""Studies of scores that a formula gives: nothing is trained."""

from __future__ import annotations

import itertools
import math

import numpy as np

from hypernudge import Categorical, Integer, Real, SearchSpace, Study
from hypernudge.space import Config
from hypernudge.study.about import About
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult

MIXED = SearchSpace(
    [
        Real("lr", 1e-5, 1.0, log=True),
        Real("weight_decay", 0.0, 0.1),
        Integer("width", 8, 512, log=True),
        Categorical("optimizer", ("sgd", "adamw", "lion")),
        Real("momentum", 0.0, 0.99, only_if=("optimizer", ("sgd",))),
    ]
)


def bowl(config, unit, rng):
    """An accuracy that depends on the rate most, and a little on the rest."""
    off = (math.log10(config["lr"]) + 2) ** 2 / 6 + 5 * (config["weight_decay"] - 0.02) ** 2
    extra = {"sgd": 0.0, "adamw": 0.05, "lion": -0.05}[config["optimizer"]]
    return max(0.1, 0.9 + extra - 0.3 * off) * (1 - 0.6 * math.exp(-unit / 4)) + 0.01 * rng.normal()


def study_of(
    space=MIXED,
    score=bowl,
    trials=60,
    rungs=(1, 3, 9),
    workers=4,
    *,
    lost=0.0,
    nudge=None,
    direction="maximize",
    known=True,
    seed=0,
    task="digits",
    metric="accuracy",
):
    """Return a study that halves synchronously; some trials raise, some diverge, in the share `lost`.

    Args:
        nudge: What the warm start makes of a configuration; nothing if absent.
        known: Whether the study knows its space.
    """
    rng = np.random.default_rng(seed)
    sign = -1 if direction == "minimize" else 1
    history = History(rungs[-1])
    free = [0.0] * workers
    alive = list(range(trials))
    configs = []

    def job(number, since, until, flops):
        worker = int(np.argmin(free))
        started, wrong = free[worker], rng.random() < lost and since == 0
        spent = flops / 10 + (until - since) * (0.5 + rng.random() if wrong else 1.0)
        units = [
            UnitResult(u, started + flops / 10 + (u - since), sign * score(configs[number], u, rng), math.nan)
            for u in range(since + 1, until + 1)
        ]
        outcome = "ok"
        if wrong:
            outcome = "failed" if number % 2 else "diverged"
            units = [] if outcome == "failed" else [UnitResult(1, started + spent, math.nan, math.nan)]
        free[worker] = started + spent
        order = Job(number, configs[number], since, until, flops)
        error = "Traceback\nRuntimeError: no memory" if outcome == "failed" else None
        return order, Report(order, outcome, started, free[worker], tuple(units), 10 * spent, error=error)

    events = []
    for number in alive:
        sampled = space.sample(rng)
        config = sampled if nudge is None else Config({**sampled, **nudge(sampled)})
        configs.append(config)
        moved = Nudge(config, "none" if nudge is None else "informed", config != sampled, flops=2.0)
        flops = 0.0 if nudge is None else 2.0
        order, report = job(number, 0, rungs[0], flops)
        begun = Started(number, sampled, moved, report.started)
        events += [(report.started, 1, number, begun), (report.started, 2, number, order)]
        events += [(report.finished, 0, number, report)]
    scores = {number: event.score for *_, number, event in events if isinstance(event, Report)}
    for since, until in itertools.pairwise(rungs):
        best = sorted((n for n in scores if math.isfinite(scores[n])), key=lambda n: -scores[n])
        scores = {}
        free[:] = [max(free)] * workers
        for number in best[: max(1, len(best) // 3)]:
            order, report = job(number, since, until, 0.0)
            events += [(report.started, 2, number, order), (report.finished, 0, number, report)]
            scores[number] = report.score
    # A trial that is lost at once begins and ends in one moment: its own order stays.
    ordered = sorted(enumerate(events), key=lambda one: (one[1][0], one[0]))
    for _, (*_, event) in ordered:
        history.append(event)
    about = About(task, metric, space if known else None, "ASHA", "none" if nudge is None else "informed")
    about = About(**{**vars(about), "direction": direction, "max_units": rungs[-1]})
    return Study(history, seed, math.inf, about, ended="scheduler")
