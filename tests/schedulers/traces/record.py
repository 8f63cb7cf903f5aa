"""Record what other libraries decide, in environments of their own.

    uv venv /tmp/syne-0.14 && uv pip install --python /tmp/syne-0.14/bin/python --no-deps syne-tune==0.14.2
    uv pip install --python /tmp/syne-0.14/bin/python "numpy<2" autograd statsmodels scikit-learn \
        pandas dill sortedcontainers psutil typing-extensions
    /tmp/syne-0.14/bin/python tests/schedulers/traces/record.py asha pasha successive_halving hyperband \
        asha_stopping_quantile

    uv venv /tmp/syne-0.16 && uv pip install --python /tmp/syne-0.16/bin/python syne-tune==0.16.0
    /tmp/syne-0.16/bin/python tests/schedulers/traces/record.py asha_stopping_rank

    uv venv /tmp/ray && uv pip install --python /tmp/ray/bin/python "ray[tune]==2.60.0"
    /tmp/ray/bin/python tests/schedulers/traces/record.py asha_stopping_earlier

What is done to a reference so that it can be recorded, and where it and we differ, is written down in `NOTES`
and goes into the file beside the trace. Nothing is random here: runs are repeatable bit by bit.
"""

import argparse
import gzip
import importlib.metadata
import itertools
import json
import logging
import math
import sys
import types
from collections import deque

from driver import (
    DATA,
    DIVERGED,
    ETA,
    FILES,
    FILES_WITHOUT_NAN,
    FOLDER,
    MAX_UNITS,
    SEEDS,
    WORKERS,
    checks,
    curves,
    digest,
    drive,
    text,
)

TIES = "Ties: a trial that ties with the quantile goes on, in the reference and in ours."
LOST = (
    f"A trial that diverges is reported with loss {DIVERGED:g} at its milestone, so that it takes a place in "
    "the ranking, as in ours."
)
STOPPED = "The reference may let a diverged trial go on, if all are equally bad; nobody can: it is over."
RULE = "Differs from the paper, whose rule is our default: ours is run with rule={!r}."
NOTES = {
    "asha": [
        RULE.format("quantile"),
        TIES,
        LOST,
        "The reference would promote a diverged trial when no better one is there: it is told not "
        "to, through the method it has for subclasses (`_is_promotable_trial`).",
    ],
    "pasha": [
        RULE.format("quantile"),
        TIES,
        "Only curves without NaN: the reference reads every unit of every trial.",
        "Results of a job arrive when it ends: the units before its last are entered into the "
        "reference's table (`_update_per_epoch_results`) without asking it to decide: ours cannot "
        "know them earlier.",
        "The reference's epsilon depends on the iteration order of a set of strings, which differs from "
        "process to process: here the set is sorted by trial number.",
    ],
    "successive_halving": [
        "A trial that diverges is reported as failed. With fewer survivors than slots the reference promotes "
        "failed trials; ours leaves the slots out. It does not happen in these runs.",
    ],
    "asha_stopping_quantile": [RULE.format("quantile"), TIES, LOST, STOPPED],
    "asha_stopping_rank": [RULE.format("rank"), LOST, STOPPED],
    "asha_stopping_earlier": [RULE.format("earlier"), LOST, STOPPED],
}
NOTES["hyperband"] = NOTES["successive_halving"]


POINTS = 400  # configurations that a reference is given


class Trial:
    """What references want to know of a trial."""

    def __init__(self, number, config=None):
        self.trial_id, self.config = number, config


class SyneLegacy:
    """The asynchronous schedulers of Syne Tune 0.14.2."""

    def __init__(self, make, diverged_go_on=True):
        from syne_tune.config_space import randint

        points = [{"x": i} for i in range(POINTS)]
        options = {"metric": "loss", "mode": "min", "resource_attr": "epoch", "max_t": MAX_UNITS}
        self.scheduler = make(
            {"x": randint(0, 10**6)},
            **options,
            grace_period=1,
            reduction_factor=ETA,
            points_to_evaluate=points,
            search_options={"debug_log": False},
            random_seed=0,
        )
        self.scheduler.time_keeper = types.SimpleNamespace(time=lambda: 0.0)
        self.trials, self.until, self.going, self.lost = {}, {}, deque(), set()
        self.system = self.scheduler.terminator._rung_systems[0]
        if not diverged_go_on:
            usual = self.system._is_promotable_trial
            self.system._is_promotable_trial = lambda entry, resource: (
                int(entry.trial_id) not in self.lost and usual(entry, resource)
            )

    def decide(self, number):
        if self.going:
            trial = self.going.popleft()
            self.until[trial] = self._above(self.until[trial])
            return trial, self.until[trial]
        suggestion = self.scheduler.suggest(number)
        if suggestion.spawn_new_trial_id:
            self.trials[number] = Trial(number, suggestion.config)
            self.scheduler.on_trial_add(self.trials[number])
            self.until[number] = 1
            return number, 1
        trial = int(suggestion.checkpoint_trial_id)
        self.until[trial] = self._above(self.until[trial])
        return trial, self.until[trial]

    @staticmethod
    def _above(unit):
        return min(unit * ETA, MAX_UNITS)

    def report(self, trial, since, until, values):
        lost = not math.isfinite(values[-1])
        if lost:
            self.lost.add(trial)
        results = [{"loss": v, "epoch": e} for e, v in enumerate(values, since + 1) if math.isfinite(v)]
        if lost:
            results = [{"loss": DIVERGED, "epoch": until}]
        if hasattr(self.system, "_update_per_epoch_results"):
            for result in results[:-1]:
                self.system._update_per_epoch_results(str(trial), result)
            results = results[-1:]
        decision = None
        for result in results:
            decision = self.scheduler.on_trial_result(self.trials[trial], result)
        if decision == "CONTINUE" and not lost and until < MAX_UNITS:
            self.going.append(trial)


class SyneSynchronous:
    """Synchronous Hyperband of Syne Tune 0.14.2."""

    def __init__(self, brackets):
        from syne_tune.config_space import randint
        from syne_tune.optimizer.legacy_baselines import SyncHyperband

        limits = {} if brackets is None else {"brackets": brackets}
        self.scheduler = SyncHyperband(
            {"x": randint(0, 10**6)},
            metric="loss",
            mode="min",
            resource_attr="epoch",
            max_resource_level=MAX_UNITS,
            grace_period=1,
            reduction_factor=ETA,
            points_to_evaluate=[{"x": i} for i in range(POINTS)],
            search_options={"debug_log": False},
            random_seed=0,
            **limits,
        )
        self.trials = {}

    def decide(self, number):
        suggestion = self.scheduler.suggest(number)
        trial = number
        if suggestion.spawn_new_trial_id:
            self.trials[number] = Trial(number, suggestion.config)
            self.scheduler.on_trial_add(self.trials[number])
        else:
            trial = int(suggestion.checkpoint_trial_id)
        return trial, self.scheduler._trial_to_pending_slot[trial][1].level

    def report(self, trial, since, until, values):
        if not math.isfinite(values[-1]):
            self.scheduler.on_trial_error(self.trials[trial])
            return
        for epoch, value in enumerate(values, since + 1):
            self.scheduler.on_trial_result(self.trials[trial], {"loss": value, "epoch": epoch})


class Stopping:
    """A bracket of Syne Tune 0.16 or Ray, which says of each result whether the trial goes on."""

    def __init__(self, bracket, entry):
        self.bracket, self.entry, self.going, self.until = bracket, entry, deque(), {}

    def decide(self, number):
        trial = self.going.popleft() if self.going else number
        self.until[trial] = min(self.until.get(trial, 1 / ETA) * ETA, MAX_UNITS)
        self.until[trial] = round(self.until[trial])
        return trial, self.until[trial]

    def report(self, trial, since, until, values):
        del since
        lost = not math.isfinite(values[-1])
        loss = DIVERGED if lost else values[-1]
        decision = self.entry(self.bracket, trial, until, loss) if until < MAX_UNITS else "STOP"
        if decision == "CONTINUE" and not lost:
            self.going.append(trial)


def syne_asha(kind):
    from syne_tune.optimizer.legacy_baselines import ASHA

    return lambda space, **options: ASHA(space, type=kind, **options)


def syne_pasha():
    from syne_tune.optimizer.legacy_baselines import PASHA
    from syne_tune.optimizer.schedulers import legacy_hyperband_pasha as module

    module.itertools = types.SimpleNamespace(
        combinations=lambda names, size: itertools.combinations(sorted(names, key=int), size)
    )
    return PASHA


def syne_rank():
    from syne_tune.optimizer.schedulers.asha import Bracket

    def entry(bracket, trial, until, loss):
        return bracket.on_result(trial, until, {"loss": loss})

    return Stopping(Bracket(1, MAX_UNITS, ETA, 0), entry)


def ray_earlier():
    from ray.tune.schedulers.async_hyperband import _Bracket

    def entry(bracket, trial, until, loss):
        return bracket.on_result(Trial(trial), until, -loss)

    return Stopping(_Bracket(1, MAX_UNITS, ETA, 0), entry)


REFERENCES = {
    "asha": ("syne-tune", lambda: SyneLegacy(syne_asha("promotion"), diverged_go_on=False)),
    "pasha": ("syne-tune", lambda: SyneLegacy(syne_pasha())),
    "successive_halving": ("syne-tune", lambda: SyneSynchronous(1)),
    "hyperband": ("syne-tune", lambda: SyneSynchronous(None)),
    "asha_stopping_quantile": ("syne-tune", lambda: SyneLegacy(syne_asha("stopping"))),
    "asha_stopping_rank": ("syne-tune", syne_rank),
    "asha_stopping_earlier": ("ray", ray_earlier),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(REFERENCES))
    logging.disable(logging.CRITICAL)
    for name in parser.parse_args().names:
        package, make = REFERENCES[name]
        finite = name == "pasha"
        runs, full = {}, {}
        for file in FILES_WITHOUT_NAN if finite else FILES:
            losses = curves(file, finite, DATA)
            for workers in WORKERS:
                for seed in SEEDS:
                    trace = drive(make(), losses, seed, workers)
                    key = f"{file}/{workers}/{seed}"
                    runs[key] = digest(trace) + checks(trace)
                    if seed == 0:
                        full[key] = text(trace)
        version = f"{package} {importlib.metadata.version(package)}"
        content = {"reference": version, "notes": NOTES[name], "full": full, "runs": runs}
        data = json.dumps(content, indent=0).encode()
        (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        sys.stderr.write(f"{name}: {len(runs)} runs of {version}\n")


if __name__ == "__main__":
    main()
