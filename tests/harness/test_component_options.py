"""Every option of everything registered refuses values of the wrong type, sign or size, in one line."""

import inspect
import math

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.registry import REGISTRY, build, resolve
from hypernudge.tasks.spaces import SPACES
from tests.conftest import Bowl

SUPPLIED = {
    "scheduler": lambda: {"space": SPACES["mid"]},
    "model": lambda: {"shape": (1, 8, 8), "classes": 10},
    "engine": lambda: {"task": Bowl(), "seed_of": int},
}
NUMBERS = [math.nan, math.inf, -math.inf, -1, True, "x", [1], {}]
WRONG = {
    "int": [*NUMBERS, 1.5, 0.0, None, 10**30],
    "int | None": [*NUMBERS, 1.5, 0.0, 10**30],
    "float": [*NUMBERS, None],
    "float | None": [v for v in NUMBERS if v != math.inf],
    "bool": [0, 1, "true", None, math.nan, []],
    "str": [1, None, True, [], {}, "no such thing"],
    "str | None": [1, True, [], {}],
    "Sequence[int]": ["x", 1, None, [True], [1.5], [0], [-1], ["x"], [math.nan], [10**30], {}],
    "Sequence[float]": ["x", 1, None, [True], ["x"], [math.nan], [-0.5], [2.0], [0.75, 0.5], {}],
    "str | Path | None": [1, True, [], {}, ""],
    "tuple[str, ...]": ["x", 1, None, [1], [None]],
    "tuple[str, ...] | None": ["x", 1, [1], [None]],
    "SamplerSpec": [1, None, "no such thing", {}, {"name": "no such thing"}, {"name": "kde", "top": 2}],
    "Fitting | Mapping[str, Any]": [1, None, "x", {"no": 1}, {"first": 0}, {"growth": math.nan}],
    "str | Mapping[str, Any]": [1, None, "no such thing", {}, {"name": "no such thing"}],
    "Method": [1, None, True, [], {}, "no such thing"],
    "Mapping[str, Any] | None": [1, "x", {"no": 1}],
}
# Values that are right for an option, though wrong for most of its type.
ALLOWED = {
    **{
        ("warm_start", name, option): [-1]
        for name in ("fixed_band", "curvature_band", "probe_band")
        for option in ("centre", "low", "high")
    },
    ("warm_start", "newton", "mean"): [-1],
    ("warm_start", "literal", "policy"): ["no such thing"],
    ("engine", "population", "memory_budget"): [10**30],
    ("engine", "population", "max_batched_flops"): [math.inf],
    ("engine", "serial", "deadline"): [math.inf],
    ("engine", "population", "deadline"): [math.inf],
}
# What the harness supplies, and never a configuration.
OURS = {"engine": ("task", "seed_of", "deadline", "population", "workers", "flops_per_second", "build")}


def options():
    for kind, names in REGISTRY.items():
        for name in names:
            for option, parameter in inspect.signature(resolve(kind, name)).parameters.items():
                if parameter.default is parameter.empty or option in OURS.get(kind, ()):
                    continue
                yield kind, name, option, str(parameter.annotation)


ALL = list(options())


def test_every_type_of_option_is_in_the_table():
    assert {annotation for *_, annotation in ALL} <= set(WRONG)
    assert len(ALL) > 100


@pytest.mark.parametrize(("kind", "name", "option", "annotation"), ALL, ids=lambda value: str(value))
def test_a_wrong_value_is_refused(kind, name, option, annotation):
    supplied = SUPPLIED.get(kind, dict)()
    allowed = ALLOWED.get((kind, name, option), [])
    for value in WRONG[annotation]:
        if any(value is right or value == right for right in allowed):
            continue
        with pytest.raises(InvalidArgumentError) as refused:
            build(kind, {"name": name, option: value}, **supplied)
            pytest.fail(f"{kind} {name}: {option}={value!r} is accepted")
        assert "\n" not in str(refused.value) and ", but" in str(refused.value)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in REGISTRY for name in REGISTRY[kind]])
def test_an_unknown_option_is_refused_with_the_known_ones(kind, name):
    with pytest.raises(InvalidArgumentError, match="takes the options"):
        build(kind, {"name": name, "colour": 1}, **SUPPLIED.get(kind, dict)())
