"""The schema of an experiment file: every key, what it may hold, and what it is for.

Everything that reads an experiment checks it against this before anything else; `docs/configuration.md` is
written from it (`python scripts/configuration.py`). Options of registered components are checked where the
components are built, by their own constructors.
"""

from __future__ import annotations

from typing import Any

from hypernudge.evidence.loading.criteria_schema import EVIDENCE, LABEL
from hypernudge.harness.planning.launchers import LAUNCHER
from hypernudge.schema import Rules, Schema, whole

MAX_SEEDS = 10_000
MAX_VARIATIONS = 10_000
MAX_CELLS = 1_000_000
MAX_WORKERS = 10_000
MAX_UNITS = 1e7
MAX_SECONDS = 1e9
MAX_SEED = 2**62  # sums with counts stay whole numbers of 64 bits, which tables hold

_NAMED = "must be a registered name, or module:attribute"
NAME: Schema = {
    "type": "string",
    "maxLength": 200,
    "pattern": whole(r"\w[\w.+-]*(/\w[\w.+-]*|:\w[\w.]*)?"),
    "rule": _NAMED,
    "description": "A registered name, or `module:attribute` for your own.",
}


def _component(description: str, **more: Any) -> Schema:
    return {
        "type": ["string", "object"],
        "rule": "must be a name, or a mapping with `name` and options",
        "remedy": "give a name",
        "maxLength": 200,
        "pattern": NAME["pattern"],
        "propertyNames": {"type": "string", "rule": "must be text"},
        "properties": {"name": NAME, "label": LABEL, **more},
        "description": description,
    }


TEMPLATE: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "pattern": whole(r"(?:[^{}]|\{[^\W\d]\w*\})*"),
    "rule": "must name axes in braces, such as {task}, and nothing else",
    "description": "Text with axes in braces, such as `{task}-{warm_start}`.",
}
CHOICES: Schema = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1000,
    "items": {"type": ["string", "number", "boolean", "null", "array", "object"]},
}
PARAMETER: Schema = {
    "type": "object",
    "rule": "must be {low, high}, with log or integer, or {choices: [...]}",
    "additionalProperties": False,
    "properties": {
        "low": {"type": "number", "description": "Lower end."},
        "high": {"type": "number", "description": "Upper end, above `low`."},
        "log": {"type": "boolean", "description": "Whether the scale is logarithmic."},
        "integer": {"type": "boolean", "description": "Whether only whole numbers are drawn."},
        "choices": {**CHOICES, "description": "The values of a categorical hyper-parameter, instead."},
        "only_if": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "rule": "must be {parent: [values]}, one parent",
            "propertyNames": {"type": "string", "rule": "must be text"},
            "additionalProperties": CHOICES,
            "description": "`{parent: [values]}`: it exists only where its parent takes one of these values.",
        },
    },
}
SPACE: Schema = {
    "type": ["string", "object"],
    "minLength": 1,
    "maxLength": 200,
    "minProperties": 1,
    "maxProperties": 100,
    "rule": "must be the name of a space, or a mapping from hyper-parameters to their ranges",
    "propertyNames": {
        "type": "string",
        "pattern": whole(r"\w[\w./ -]*"),
        "maxLength": 100,
        "rule": "must be a name of letters, digits, blanks and _ . / -, a letter or digit first",
    },
    "additionalProperties": PARAMETER,
    "description": "Where configurations are drawn: a named space, or `{hyper-parameter: {low, high, log}}`.",
}
TARGET: Schema = {
    "type": ["number", "string"],
    "pattern": whole("pilot"),
    "rule": "must be a number, the score to reach, or pilot",
    "remedy": "set target",
    "description": "tau, the score whose time is compared; `pilot`: measured on pilot seeds and frozen.",
}
TRAINING: Schema = {
    "type": ["object", "null"],
    "propertyNames": {"type": "string", "rule": "must be text"},
    "description": "Options of the task's training, such as `batch_size` and `steps_per_unit`.",
}
METRIC_RANGE: Schema = {
    "type": "array",
    "minItems": 2,
    "maxItems": 2,
    "items": {"type": ["number", "null"]},
    "rule": "must be [lowest, highest], null for an open end",
    "description": "Least and largest possible score; null for an open end.",
}
MODEL = _component("The network of a built-in task.")
TASK = _component(
    "What is tuned. Its file `task/<name>.yaml` may hold defaults of the keys of a variation shown here.",
    target=TARGET,
    space=SPACE,
    model=MODEL,
    training=TRAINING,
    metric={**LABEL, "description": "Name of the score."},
    metric_range=METRIC_RANGE,
)
ENGINE = _component("How trials are trained.")
SEEDS: Schema = {
    "type": ["object", "array"],
    "rule": f"must be a list of whole numbers, or {{first, count}} with at most {MAX_SEEDS:,} seeds",
    "remedy": "write seeds: {first: 0, count: 30}",
    "minItems": 1,
    "maxItems": MAX_SEEDS,
    "uniqueItems": True,
    "items": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
    "additionalProperties": False,
    "required": ["count"],
    "properties": {
        "first": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_SEED,
            "description": "The first seed; 0 if absent.",
        },
        "count": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_SEEDS,
            "description": "How many, one after the other.",
        },
    },
    "description": "The seeds, one cell each: a list, or `{first: F, count: N}`.",
}
BUDGET: Schema = {
    "type": "object",
    "rule": "must be {units: N} or {seconds: N}",
    "remedy": "N training units in all",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "units": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": MAX_UNITS,
            "rule": f"must be a positive number, at most {MAX_UNITS:g}",
            "description": "Units of training in all, of a configuration in the middle of the space.",
        },
        "seconds": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": MAX_SECONDS,
            "rule": f"must be a positive number, at most {MAX_SECONDS:g}",
            "description": "Seconds on the study's clock instead: with real workers those of the wall.",
        },
    },
    "description": "What one cell may spend.",
}
VARIATION: dict[str, Schema] = {
    "task": TASK,
    "model": MODEL,
    "scheduler": _component("What decides which trial trains on."),
    "warm_start": _component("What is done to a sampled configuration before it is trained."),
    "engine": ENGINE,
    "space": SPACE,
    "training": TRAINING,
    "budget": BUDGET,
    "workers": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_WORKERS,
        "description": "Workers that share the budget; simulated, unless the engine has real ones.",
    },
    "flops_per_second": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e30,
        "rule": "must be a positive number, at most 1e30",
        "remedy": "1e9 is one GFLOP/s",
        "description": "Declared speed of one worker: makes seconds of units.",
    },
    "target": TARGET,
    "seeds": SEEDS,
}


def _variation(description: str) -> Schema:
    return {
        "type": ["object", "null"],
        "rule": "must be a mapping of the keys of a variation",
        "additionalProperties": False,
        "properties": VARIATION,
        "description": description,
    }


def _axis(values: Schema) -> Schema:
    return {
        "type": ["array", "object"],
        "rule": "must be a list of names, or a mapping from names to values",
        "remedy": "add at least one value",
        "minItems": 1,
        "minProperties": 1,
        "maxItems": MAX_VARIATIONS,
        "maxProperties": MAX_VARIATIONS,
        "uniqueItems": True,
        "items": values,
        "additionalProperties": values,
    }


GRID: Schema = {
    "type": "object",
    "rule": "must be a mapping of `axes`, `exclude`, `run_id` and `labels`",
    "remedy": "see the documentation",
    "additionalProperties": False,
    "required": ["axes"],
    "properties": {
        "axes": {
            "type": "object",
            "rule": "must be a mapping from keys of a variation to their values",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {key: _axis(values) for key, values in VARIATION.items()},
            "description": "Key of a variation -> its values: a list of names, or name -> value.",
        },
        "exclude": {
            "type": ["array", "null"],
            "rule": "must be a list of mappings from axes to names of their values",
            "maxItems": MAX_VARIATIONS,
            "items": {
                "type": "object",
                "rule": "must be a mapping from axes to names of their values",
                "minProperties": 1,
                "additionalProperties": {
                    "type": ["string", "integer", "number", "array"],
                    "rule": "must be the name of a value, or a list of names",
                    "minItems": 1,
                    "maxItems": MAX_VARIATIONS,
                    "items": {"type": ["string", "integer", "number"], "rule": "must be the name of a value"},
                },
            },
            "description": "Combinations that are left out: axis -> one of its values, or several.",
        },
        "run_id": {**TEMPLATE, "description": "How run ids are made; all axes joined by `-` if absent."},
        "labels": {
            "type": ["object", "null"],
            "rule": "must be a mapping from components to texts",
            "additionalProperties": False,
            "properties": dict.fromkeys(("task", "scheduler", "warm_start"), TEMPLATE),
            "description": "How labels of tasks, schedulers and warm starts are made.",
        },
    },
    "description": f"Every combination of a few axes as variations, at most {MAX_VARIATIONS:,}.",
}
EXPERIMENT: Schema = {
    "type": "object",
    "rule": "must be a mapping",
    "additionalProperties": False,
    "properties": {
        "name": {**LABEL, "description": "Name of the study."},
        "common": _variation("What all variations share; each may replace it, key by key."),
        "grid": GRID,
        "variations": {
            "type": ["object", "null"],
            "rule": "must map run ids to configurations",
            "remedy": "add at least one",
            "maxProperties": MAX_VARIATIONS,
            "propertyNames": {"type": ["string", "integer"], "rule": "must be text"},
            "additionalProperties": _variation("One variation."),
            "description": "Run id -> what is its own. A run id is a file name.",
        },
        "evidence": {**EVIDENCE, "type": ["object", "null"]},
        "launcher": LAUNCHER,
        "engine": ENGINE,
        "seeds": SEEDS,
        "resolved": {
            "type": "boolean",
            "description": "Written by the harness: defaults are filled in, groups are not looked up.",
        },
        "part_of": {
            "type": "string",
            "pattern": whole("[0-9a-f]{64}"),
            "rule": "must be the hash of a plan",
            "description": "Written by the harness into the file of a single variation.",
        },
    },
}

experiment = Rules(EXPERIMENT, "experiment")
group_files = {kind: Rules(VARIATION[kind], kind) for kind in ("task", "model", "scheduler", "warm_start")}
group_files["engine"] = Rules(ENGINE, "engine")
group_files["launcher"] = Rules(LAUNCHER, "launcher")
label = Rules(LABEL, "label")
