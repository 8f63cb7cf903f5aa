"""A generator of malformed configurations: one good experiment, and every way to spoil each of its keys."""

import copy
import math
import re
import time
from collections.abc import Iterator, Mapping

import yaml

from hypernudge.cli import main

LIMIT = 10.0  # seconds of the processor; a refusal takes milliseconds
LONG = "x" * 300
HUGE = 10**30

BASE = {
    "name": "base",
    "common": {
        "task": {
            "name": "digits_mlp",
            "label": "digits",
            "metric": "accuracy",
            "metric_range": [0.0, 1.0],
            "inputs": "scaled",
            "split_seed": 0,
            "dtype": "float32",
            "label_noise": 0.1,
            "label_noise_kind": "symmetric",
            "optimizer": {"name": "adamw", "beta2": 0.99, "eps": 1e-8},
        },
        "model": {"name": "mlp", "hidden": [8]},
        "scheduler": {
            "name": "asha",
            "max_units": 9,
            "min_units": 1,
            "eta": 3,
            "max_trials": 20,
            "rule": "top",
            "sampler": {"name": "kde", "top": 0.2, "candidates": 8},
        },
        "space": {
            "lr": {"low": 1e-4, "high": 0.1, "log": True},
            "objective": {"choices": ["cross_entropy", "brier"]},
            "focal_gamma": {
                "low": 0,
                "high": 3,
                "integer": True,
                "only_if": {"objective": ["cross_entropy"]},
            },
        },
        "training": {"batch_size": 64, "steps_per_unit": 3},
        "budget": {"units": 9},
        "workers": 4,
        "flops_per_second": 1e9,
        "target": 0.9,
    },
    "variations": {
        "asha": {"warm_start": "none"},
        "asha-literal": {
            "warm_start": {
                "name": "literal",
                "eta_h": 0.001,
                "batch_size": 64,
                "objective": "lookahead",
                "steps": 1,
                "only": ["lr"],
                "label": "literal",
            }
        },
    },
    "seeds": {"first": 0, "count": 6},
    "engine": {"name": "population", "threads": 1, "memory_budget": 1000000, "max_batched_flops": 1e9},
    "evidence": {
        "baseline": "none",
        "alpha": 0.05,
        "ratio": 0.85,
        "final_margin": 0.002,
        "equivalence_ratio": 1.05,
        "families": "all",
        "clock": "virtual",
        "bootstrap": 2000,
        "bootstrap_seed": 0,
        "controls": {"gradient_free": "literal"},
        "factorial": [["literal", "none", "literal"]],
    },
    "launcher": {"name": "local", "processes": 2, "attempts": 2, "checkpoint": True},
}
GRID = {
    "common": {"task": "digits_mlp", "target": 0.9, "budget": {"units": 9}},
    "seeds": [0, 1, 2, 3, 4, 5],
    "grid": {
        "run_id": "{scheduler}-{space}-{warm_start}",
        "labels": {"scheduler": "{scheduler}_{space}"},
        "axes": {
            "scheduler": ["asha", "random"],
            "space": ["mid", "wide"],
            "warm_start": {"none": "none", "big": {"name": "literal", "eta_h": 0.01}},
        },
        "exclude": [{"scheduler": "random", "space": ["wide"]}],
    },
}

_ANY = [None, math.nan, math.inf, -math.inf, {}, {"zzz": 1}, []]
SPOILS = {
    bool: [*_ANY, 0, 1, "true"],
    int: [*_ANY, True, 1.5, 2.0, -1, "x", "1", [1], HUGE, -HUGE],
    float: [*_ANY, True, "x", "0.1", [0.1], -1.0, 1e300],
    str: [*_ANY, True, 1, 1.5, "", " ", "no such thing", LONG, "a\nb", "nul\0", "../x", "${a}", "{a.b}", [1]],
    list: [*_ANY, True, 1, 1.5, "x", [None], [[]], [math.nan], [{}], ["no such thing"], [True]],
    dict: [*_ANY, True, 1, 1.5, "", LONG, "no such thing", [1], {1: 2}, {"": 1}, {"name": None}],
}


def paths(node, where=()) -> Iterator[tuple]:
    """Yield the path of everything in `node`, mappings before what they hold."""
    for key, value in node.items():
        yield (*where, key)
        if isinstance(value, Mapping):
            yield from paths(value, (*where, key))


def at(node, path):
    for key in path:
        node = node[key]
    return node


def replaced(base, path, value):
    """Return `base` with the value at `path` replaced."""
    spoiled = copy.deepcopy(base)
    at(spoiled, path[:-1])[path[-1]] = value
    return spoiled


def spoiled(base) -> Iterator[tuple[str, dict]]:
    """Yield an id and an experiment for every wrong value of every key, and for a misspelling of it."""
    for path in paths(base):
        value, name = at(base, path), ".".join(map(str, path))
        for wrong in SPOILS[type(value)]:
            yield f"{name}={shown(wrong)}", replaced(base, path, wrong)
        misspelt = copy.deepcopy(base)
        parent = at(misspelt, path[:-1])
        parent[f"{path[-1]}s"] = parent.pop(path[-1])
        yield f"{name}s", misspelt


def shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 20 else f"{text[:9]}..{len(text)}"


def text_of(experiment) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(experiment, sort_keys=False, allow_unicode=True, Dumper=dumper)


def assert_refused(outcome, what):
    """Hold that a command, by its (exit code, stdout, stderr), refused `what` in one line."""
    code, out, err = outcome
    assert code == 2, f"{what} is accepted: {out}{err}"
    lines = err.strip().splitlines()
    assert lines, what
    if lines[0].startswith("usage: "):  # of argparse
        assert re.match(r"hypernudge.*: error: ", lines[-1]), err
        return
    assert len(lines) == 1 and lines[0].startswith("error: "), f"{what}: {err}"
    assert len(lines[0]) < 2500, what


def runner(capsys):
    """Return a function that runs a command line here and returns its exit code, stdout and stderr."""

    def run(*arguments):
        begun = time.process_time()  # whatever else the machine has to do
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        assert time.process_time() - begun < LIMIT, arguments
        assert "Traceback" not in shown.err + shown.out, shown.err
        return code, shown.out, shown.err

    return run
