"""What a plan needs to know of engines: whether their workers are real, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypernudge.engine.binding import is_real_time
from hypernudge.errors import InvalidArgumentError, require, require_whole
from hypernudge.registry import resolve
from hypernudge.results.plan import Variation

SUPPLIED = ("task", "seed_of", "workers", "flops_per_second", "deadline", "population", "build")


def has_real_workers(engine: Mapping[str, Any]) -> bool:
    """Whether the workers of an engine are real, and its seconds those of the wall."""
    return is_real_time(resolve("engine", engine["name"]))


def take_workers(engine: dict[str, Any], merged: Mapping[str, Any], where: str, most: int) -> int | None:
    """Remove the workers that an engine names itself, which only one with real workers does; return them.

    Args:
        engine: The engine, resolved.
        merged: The variation that it is of, as it was written.
        where: The engine's key, for errors.
        most: The largest number.

    Raises:
        InvalidArgumentError: If they are no number of workers, or the variation names others.
    """
    if "workers" not in engine or not has_real_workers(engine):
        return None
    own: int = engine.pop("workers")
    require_whole(f"{where}.workers", own, 1, most)
    other = merged.get("workers", own)
    rule = f"must be given once, but workers is {other!r} there, too"
    require(other == own, f"{where}.workers", rule, own, "drop one of the two")
    return own


def check_clocks(variations: Iterable[Variation]) -> None:
    """Refuse to compare seconds of the wall with those of a simulation.

    Raises:
        InvalidArgumentError: If the variations of one task and scheduler have both.
    """
    first: dict[tuple[str, str], tuple[str, bool]] = {}
    for variation in variations:
        real = has_real_workers(variation.spec["engine"])
        other, its = first.setdefault(variation.setting, (variation.run_id, real))
        if its != real:
            name = variation.spec["engine"]["name"]
            raise InvalidArgumentError(
                f"variations.{variation.run_id}.engine: must have the clock of {other}, which it is compared "
                f"with: seconds of real workers are not those of simulated ones, but got {name!r}; give both "
                "the same engine"
            )
