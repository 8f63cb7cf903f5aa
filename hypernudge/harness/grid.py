"""Grids: every combination of a few axes as variations, so that a study of hundreds stays readable.

    grid:
      run_id: "{task}-{space}-{warm_start}"
      labels: {task: "{task}_{space}"}
      axes:
        task: [digits_mlp, letter_mlp]
        space: [narrow, mid, wide]
        warm_start: {none: none, own_prior: {name: informed, prior: mine.json}}

An axis is a key of a variation; its values are a list of names, or a mapping from a name to a value.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hypernudge.errors import InvalidArgumentError, require

KEYS = ("axes", "run_id", "labels")


def expand(grid: object) -> dict[str, dict[str, Any]]:
    """Return run id -> configuration for every combination, the last axis varying fastest.

    Raises:
        InvalidArgumentError: If the grid is not as above, or two combinations have one run id.
    """
    ok = isinstance(grid, Mapping) and set(grid) <= set(KEYS) and bool(grid.get("axes"))
    require(ok, "grid", f"must be a mapping of {list(KEYS)}, with `axes`", grid, "see the documentation")
    assert isinstance(grid, Mapping)  # for the type checker
    axes = {str(key): _values(str(key), given) for key, given in _mapping(grid, "axes").items()}
    template = str(grid.get("run_id", "-".join(f"{{{key}}}" for key in axes)))
    labels = {str(kind): str(text) for kind, text in _mapping(grid, "labels").items()}
    variations: dict[str, dict[str, Any]] = {}
    for names in itertools.product(*axes.values()):
        named = dict(zip(axes, names, strict=True))
        variation: dict[str, Any] = {key: axes[key][name] for key, name in named.items()}
        for kind, text in labels.items():
            require(kind in variation, f"grid.labels.{kind}", "must be an axis", list(axes), "add the axis")
            value = variation[kind]
            own = dict(value) if isinstance(value, Mapping) else {"name": value}
            variation[kind] = {**own, "label": _filled(text, named, f"grid.labels.{kind}")}
        run_id = _filled(template, named, "grid.run_id")
        require(
            run_id not in variations,
            "grid.run_id",
            "must tell all combinations apart",
            run_id,
            "name all axes",
        )
        variations[run_id] = variation
    return variations


def _mapping(grid: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = grid.get(key) or {}
    require(isinstance(value, Mapping), f"grid.{key}", "must be a mapping", value, "write `key: value` lines")
    return dict(value)


def _values(axis: str, given: object) -> dict[str, Any]:
    """Return name -> value of an axis."""
    if isinstance(given, Mapping) and given:
        return {str(name): _labelled(value, str(name)) for name, value in given.items()}
    ok = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
    require(ok, f"grid.axes.{axis}", "must be a list of names, or a mapping", given, "add at least one value")
    assert isinstance(given, Sequence)  # for the type checker
    return {str(value): value for value in given}


def _labelled(value: Any, name: str) -> Any:
    """Return a component that is known by `name`; anything else as it is."""
    if isinstance(value, Mapping) and "name" in value:
        return {"label": name, **value}
    return value


def _filled(template: str, named: Mapping[str, str], where: str) -> str:
    try:
        return template.format_map(named)
    except (KeyError, IndexError, ValueError) as error:
        raise InvalidArgumentError(
            f"{where}: must name axes {list(named)} in braces, but got {template!r} ({error!r}); correct it"
        ) from None
