"""Results directories of a simulated study: successive halving over configurations whose truth is known.

The learning rate decides how good a trial becomes; a warm start moves it by a known distance towards the
optimum. Draws are addressed by (task, seed, trial), so all methods see the same samples, as in a real study.
"""

import functools
import hashlib
import heapq
import json
import math
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np

from hypernudge.results.digests import record_digest

RUNGS = (1, 3, 9, 27)
METHODS = ("none", "literal", "random_step", "multi_step", "curvature_band")
# What a warm start costs, in units of training.
FEE = {"none": 0.0, "literal": 0.02, "random_step": 0.001, "multi_step": 0.16, "curvature_band": 0.004}


def write_study(
    root,
    *,
    tasks=("digits_mlp", "digits_cnn", "breast_cancer"),
    schedulers=("asha",),
    methods=METHODS,
    seeds=range(12),
    budget=90.0,
    target=0.86,
    evidence=None,
    drop=(),
):
    """Write a study; `drop` lists (run_id, seed) cells to leave out. Returns the path."""
    root = Path(root)
    variations = {}
    for task in tasks:
        for scheduler in schedulers:
            for method in methods:
                run_id = f"{task}-{scheduler}-{method}"
                variations[run_id] = {
                    "task": task,
                    "scheduler": scheduler,
                    "warm_start": method,
                    "seeds": list(seeds),
                    "target": target,
                    "metric": "accuracy",
                }
    plan = {"format": 1, "name": "synthetic", "variations": variations, "evidence": evidence or {}}
    plan["hash"] = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    root.mkdir(parents=True, exist_ok=True)
    (root / "plan.json").write_text(json.dumps(plan))
    for run_id, variation in variations.items():
        folder = root / run_id / "cells"
        folder.mkdir(parents=True, exist_ok=True)
        for seed in variation["seeds"]:
            if (run_id, seed) not in drop:
                record = simulate_cell(run_id, variation, seed, budget)
                (folder / f"seed-{seed:04d}.json").write_text(json.dumps(record))
    return root


def edit_record(path, change):
    """Apply `change` to a record and seal it again."""
    record = json.loads(path.read_text())
    change(record)
    record["digest"] = record_digest(record)
    path.write_text(json.dumps(record))


def simulate_cell(run_id, variation, seed, budget):
    task, method = variation["task"], variation["warm_start"]
    difficulty = 0.15 * (zlib.crc32(task.encode()) % 3)
    trials, curve = [], {name: [] for name in ("trial", "unit", "time", "validation", "test")}
    paused = {rung: [] for rung in RUNGS}
    promoted = {rung: set() for rung in RUNGS}
    free = [(0.0, worker) for worker in range(4)]
    running, units, fee = [], [], 0.0
    while True:
        now = free[0][0] if free else math.inf
        if running and running[0][0] <= now:
            end, _, trial, rung, worker = heapq.heappop(running)
            score = _score(task, seed, trials[trial], rung, difficulty)
            if score is not None:
                heapq.heappush(paused[rung], (-score, trial))
                trials[trial]["status"] = "paused"
            trials[trial]["milestones"].append(rung)
            heapq.heappush(free, (end, worker))
            continue
        if now >= budget:
            break
        now, worker = heapq.heappop(free)
        trial, start, goal = _decide(paused, promoted)
        moment = now
        if trial is None:
            trial, start, goal = len(trials), 0, RUNGS[0]
            trials.append(_sample(task, seed, trial, method, now))
            moment += FEE[method]
            fee += FEE[method]
        trials[trial]["status"] = "running"
        for unit in range(start + 1, goal + 1):
            moment += 1.0 + 0.2 * _uniform(task, seed, trial, 9)
            score = _score(task, seed, trials[trial], unit, difficulty)
            if moment <= budget:
                units.append((moment, trial, unit, score, None if score is None else score - 0.01))
                trials[trial]["units"] = unit
            if score is None:
                trials[trial]["status"] = "diverged"
                break
        heapq.heappush(running, (moment, len(units), trial, goal, worker))
    for moment, trial, unit, score, test in sorted(units, key=lambda row: (row[0], row[1])):
        for name, value in zip(curve, (trial, unit, moment, score, test), strict=True):
            curve[name].append(value)
    record = {
        "format": 1,
        "cell": {
            "run_id": run_id,
            "task": task,
            "scheduler": variation["scheduler"],
            "warm_start": method,
            "seed": seed,
            "key": f"{run_id}/{seed}",
        },
        "declared": {
            "target": variation["target"],
            "metric": "accuracy",
            "metric_range": [0.0, 1.0],
            "budget_seconds": budget,
            "workers": 4,
            "flops_per_second": 1e9,
            "max_units": RUNGS[-1],
        },
        "status": "completed",
        "trials": trials,
        "curve": curve,
        "bill": {
            "training_flops": 1e9 * len(units),
            "warm_start_flops": 1e9 * fee,
            "total_flops": 1e9 * (len(units) + fee),
        },
        "errors": [],
        "wall": {
            "total_seconds": 2.0,
            "training_seconds": 1.8,
            "warm_start_seconds": 0.1 * fee,
            "peak_memory_bytes": int(3e8 * (1.0 + 0.02 * (method == "curvature_band"))),
        },
    }
    record["digest"] = record_digest(record)
    return record


def _draw(task, seed, trial, purpose):
    return np.random.default_rng([zlib.crc32(task.encode()), seed, trial, purpose])


# Every unit asks for the same draws, and so does every method.
@functools.cache
def _uniform(task, seed, trial, purpose):
    return _draw(task, seed, trial, purpose).uniform()


@functools.cache
def _normal(task, seed, trial, purpose):
    return float(_draw(task, seed, trial, purpose).normal())


@functools.cache
def _sampled(task, seed, trial):
    rng = _draw(task, seed, trial, 0)
    return {
        "learning_rate": float(10 ** rng.uniform(-4, 0)),
        "weight_decay": float(10 ** rng.uniform(-6, -1)),
        "momentum": float(rng.uniform(0, 0.99)),
        "augmentation": float(rng.uniform(0, 1)),
        "label_smoothing": float(rng.uniform(0, 0.3)),
    }


def _sample(task, seed, trial, method, now):
    sampled = dict(_sampled(task, seed, trial))
    nudged = dict(sampled)
    gradient = None
    if method != "none":
        gap = -1.5 - math.log10(sampled["learning_rate"])
        chance = _draw(task, seed, trial, 1)
        pull = {"literal": 1e-4 * gap, "multi_step": 0.02 * gap}.get(method, 0.001 * float(chance.normal()))
        if method == "curvature_band":
            pull = gap + float(chance.uniform(-0.8, 0.3)) if gap > 0.8 else 0.0
        nudged["learning_rate"] = float(min(1.0, sampled["learning_rate"] * 10**pull))
        if method != "random_step":
            gradient = dict.fromkeys(sampled, _normal(task, seed, trial, 2))
            gradient["learning_rate"] = -gap
    norm = None if gradient is None else float(np.linalg.norm(list(gradient.values())))
    return {
        "trial": trial,
        "sampled": sampled,
        "nudged": nudged,
        "nudge": {
            "policy": method,
            "changed": nudged != sampled,
            "flagged": False,
            "reason": "",
            "gradient": gradient,
            "gradient_norm": norm,
            "z": None,
            "flops": 1e9 * FEE[method],
        },
        "started": now,
        "units": 0,
        "status": "running",
        "milestones": [],
    }


def _score(task, seed, trial, unit, difficulty):
    z = math.log10(trial["nudged"]["learning_rate"]) + 1.5
    if z > 1.2:
        return None
    other = trial["sampled"]
    quality = math.exp(-((z / 0.9) ** 2)) * (1 - 0.5 * other["label_smoothing"])
    quality *= 1 - 0.3 * abs(other["momentum"] - 0.9) - 0.1 * other["augmentation"]
    best = 0.1 + 0.88 * quality
    noise = 0.01 * _normal(task, seed, trial["trial"], 3)
    score = best * (1 - math.exp(-unit * (0.05 + 0.2 * quality) * (1 - difficulty))) + noise
    return round(360 * min(max(score, 0.0), 1.0)) / 360


def _decide(paused, promoted):
    for rung, following in reversed(list(pairwise(RUNGS))):
        ranked = sorted(paused[rung])
        for _, trial in ranked[: len(ranked) // 3]:
            if trial not in promoted[rung]:
                promoted[rung].add(trial)
                return trial, rung, following
    return None, 0, 0
