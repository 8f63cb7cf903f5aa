"""Grids: every combination of a few axes as variations, so that a study of hundreds stays readable.

    grid:
      run_id: "{task}-{space}-{warm_start}"
      labels: {task: "{task}_{space}"}
      axes:
        task: [digits_mlp, letter_mlp]
        space: [narrow, mid, wide]
        warm_start: {none: none, own_prior: {name: informed, prior: mine.json}}
      exclude:
        - {space: [narrow, wide], warm_start: own_prior}

An axis is a key of a variation; its values are a list of names, or a mapping from a name to a value. What
fits all axes of an entry of `exclude` is left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.planning.experiment_schema import MAX_VARIATIONS


def expand(grid: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return run id -> configuration for every combination, the last axis varying fastest.

    Args:
        grid: As above, and as `hypernudge.harness.planning.experiment_schema` has it.

    Raises:
        InvalidArgumentError: If there are too many combinations, two of them have one run id, a text names
            something else than an axis, or an exclusion names no axis or no value of it.
    """
    axes = {key: _values(given) for key, given in grid["axes"].items()}
    count = math.prod(len(values) for values in axes.values())
    rule = f"must have at most {MAX_VARIATIONS:,} combinations"
    require(count <= MAX_VARIATIONS, "grid.axes", rule, count, "split it into several experiments")
    template = grid.get("run_id", "-".join(f"{{{key}}}" for key in axes))
    labels: Mapping[str, str] = grid.get("labels") or {}
    for kind in labels:
        require(kind in axes, f"grid.labels.{kind}", "must be an axis", list(axes), "add the axis")
    excluded = [_exclusion(given, axes, index) for index, given in enumerate(grid.get("exclude") or [])]
    variations: dict[str, dict[str, Any]] = {}
    for names in itertools.product(*axes.values()):
        named = dict(zip(axes, names, strict=True))
        if any(all(named[key] in of for key, of in entry.items()) for entry in excluded):
            continue
        variation: dict[str, Any] = {key: axes[key][name] for key, name in named.items()}
        for kind, text in labels.items():
            value = variation[kind]
            own = dict(value) if isinstance(value, Mapping) else {"name": value}
            variation[kind] = {**own, "label": _filled(text, named, f"grid.labels.{kind}")}
        run_id = _filled(template, named, "grid.run_id")
        new = run_id not in variations
        require(new, "grid.run_id", "must tell all combinations apart", run_id, "name all axes")
        variations[run_id] = variation
    return variations


def _values(given: Mapping[Any, Any] | Sequence[Any]) -> dict[str, Any]:
    """Return name -> value of an axis."""
    if isinstance(given, Mapping):
        return {str(name): _labelled(value, str(name)) for name, value in given.items()}
    return {str(value): value for value in given}


def _exclusion(given: Mapping[str, Any], axes: Mapping[str, Any], index: int) -> dict[str, set[str]]:
    """Return axis -> the names of its values that an exclusion is about."""
    found: dict[str, set[str]] = {}
    for key, values in given.items():
        where = f"grid.exclude[{index}].{key}"
        require(key in axes, where, "must be an axis", list(axes), "correct it, or add the axis")
        found[key] = {str(value) for value in (values if isinstance(values, list) else [values])}
        unknown = sorted(found[key] - set(axes[key]))
        require(not unknown, where, f"must name values of the axis, {list(axes[key])}", unknown, "correct it")
    return found


def _labelled(value: Any, name: str) -> Any:
    """Return a component that is known by `name`; anything else as it is."""
    if isinstance(value, Mapping) and "name" in value:
        return {"label": name, **value}
    return value


def _filled(template: str, named: Mapping[str, str], where: str) -> str:
    """Return the text with axes filled in; the schema lets nothing but `{name}` stand in braces."""
    try:
        return template.format_map(named)
    except KeyError:
        rule = f"must name axes {list(named)} in braces"
        raise InvalidArgumentError(f"{where}: {rule}, but got {template!r}; correct it") from None
