"""Nested search spaces of Ray Tune by paths: `"optimizer/lr"`, `"layers/0"`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain, Function
from ray.tune.utils.util import flatten_dict  # type: ignore[attr-defined, unused-ignore]

from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._domains import add_domain
from hypernudge.integrations._external_space import ExternalSpace, check_mapping, check_not_empty

Path = str
_GRID = "grid_search"


class NestedSpace:
    """A search space with mappings, lists and tuples inside each other, and what is drawn from it.

    Args:
        space: As Tune is given it. A mapping's keys may hold no `/`.

    Attributes:
        leaves: What stands at each path: domains and constants. A list or tuple without a domain in it is one
            constant, and so is a mapping inside of such.

    Raises:
        InvalidArgumentError: The space holds a grid search, which no searcher takes.
    """

    def __init__(self, space: Mapping[str, Any]) -> None:
        # Ray's order, in which values are drawn.
        flat = flatten_dict(dict(space), prevent_delimiter=True)
        self.leaves: dict[Path, Any] = {}
        for path, value in flat.items():
            _refuse_grid(path, value)
            self.leaves.update(_expanded(path, value))
        self._space = dict(space)
        parts = (path.split("/")[:-1] for path in self.leaves)
        self._above = {"/".join(keys[: depth + 1]) for keys in parts for depth in range(len(keys))}

    def draw(self, rng: np.random.RandomState) -> dict[str, Any]:
        """Return a configuration, nested like the space; functions see what was drawn before them."""
        drawn = {
            path: value if isinstance(value, Function) else _resolved(value, rng)
            for path, value in self.leaves.items()
        }
        for path, value in self.leaves.items():
            if isinstance(value, Function):
                drawn[path] = value.sample(self.nested(drawn), random_state=rng)
        return self.nested(drawn)

    def nested(self, values: Mapping[Path, Any]) -> dict[str, Any]:
        """Return values by path in the shape of the space."""
        found: dict[str, Any] = {key: _placed(key, part, values) for key, part in self._space.items()}
        return found

    def flat(self, config: Mapping[str, Any]) -> dict[Path, Any]:
        """Return the values of a configuration by path; what the space does not know, by its own.

        A list with domains stands there as a whole as well, so that a model can be built from it.
        """
        return dict(self._walk("", config))

    def replaced(self, config: Any, changes: Mapping[Path, Any], at: Path = "") -> Any:
        """Return `config` with the values at some paths replaced."""
        if at in changes:
            return changes[at]
        if at in self.leaves:
            return config
        if isinstance(config, Mapping):
            return {key: self.replaced(part, changes, _joined(at, key)) for key, part in config.items()}
        if isinstance(config, list | tuple):
            parts = [self.replaced(part, changes, _joined(at, i)) for i, part in enumerate(config)]
            return type(config)(parts)
        return config

    def _walk(self, at: Path, value: Any) -> Iterator[tuple[Path, Any]]:
        if at and at in self.leaves:  # a choice may itself be a mapping or a list
            yield at, value
        elif isinstance(value, Mapping):
            for key, part in value.items():
                yield from self._walk(_joined(at, key), part)
        else:
            yield at, value
            if isinstance(value, list | tuple) and at in self._above:
                for index, part in enumerate(value):
                    yield from self._walk(_joined(at, index), part)


def _joined(at: Path, key: object) -> Path:
    return f"{at}/{key}" if at else str(key)


def _expanded(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """Return the leaves below a value: one, unless a domain stands inside a list or tuple."""
    if not holds_domain(value):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _expanded(_joined(path, key), part)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _expanded(_joined(path, index), part)
    else:
        yield path, value


def holds_domain(value: Any) -> bool:
    """Whether a value is a domain, or has one in it."""
    if isinstance(value, Mapping):
        return any(map(holds_domain, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_domain, value))
    return isinstance(value, Domain)


def _placed(path: Path, part: Any, values: Mapping[Path, Any]) -> Any:
    if path in values:
        return values[path]
    if isinstance(part, Mapping):
        return {key: _placed(_joined(path, key), inner, values) for key, inner in part.items()}
    if isinstance(part, list | tuple):
        return type(part)([_placed(_joined(path, index), inner, values) for index, inner in enumerate(part)])
    return part


def _resolved(value: Any, rng: np.random.RandomState) -> Any:
    """Return a value with every domain in it drawn; a choice may hold further domains."""
    if isinstance(value, Domain):
        return _resolved(value.sample(random_state=rng), rng)
    if isinstance(value, Mapping) and holds_domain(value):
        return {key: _resolved(part, rng) for key, part in value.items()}
    if isinstance(value, list | tuple) and holds_domain(value):
        return type(value)([_resolved(part, rng) for part in value])
    return value


def _refuse_grid(path: Path, value: Any) -> None:
    grid = path.split("/")[-1] == _GRID
    inside: list[tuple[Path, Any]] = []
    if isinstance(value, Mapping):
        inside = [(_joined(path, key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple) and not grid:
        inside = [(_joined(path, index), part) for index, part in enumerate(value)]
    if grid:
        raise InvalidArgumentError(
            f"space.{path}: must not be a grid search, which no searcher of Tune takes; use tune.choice"
        )
    for found, part in inside:
        _refuse_grid(found, part)


def declared(space: Mapping[str, Any]) -> ExternalSpace:
    """Return Tune's search space as a declared one, by paths; what is no bounded domain is left out.

    Raises:
        InvalidArgumentError: The space holds a grid search, which no searcher takes.
    """
    found = ExternalSpace()
    for path, domain in NestedSpace(space).leaves.items():
        if not holds_domain(getattr(domain, "categories", ())):  # what is drawn is none of the choices then
            add_domain(found, path, domain, upper_excluded=True)
    return found


def searched(argument: str, space: Any) -> ExternalSpace:
    """Return a space as `declared` does, if a warm start finds something in it.

    Raises:
        InvalidArgumentError: It is no mapping, or holds nothing with bounds or choices.
    """
    remedy = "the Tuner's param_space, {'lr': tune.loguniform(1e-4, 1.0)}, say"
    check_mapping(argument, space, "domains", remedy)
    found = declared(space)
    check_not_empty(argument, space, found, remedy)
    return found


def is_in_list(space: Any, path: Path, value: Any) -> bool:
    """Whether `value`, at `path` of `space`, is a domain inside a list or tuple."""
    *above, _ = path.split("/")
    for key in above:
        space = space[key] if isinstance(space, Mapping) else space[int(key)]
        if isinstance(space, list | tuple):
            return isinstance(value, Domain)
    return False
