"""Several studies on one population: each with its own clock and history, all training together."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TypeVar

from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.trainer import Population

K = TypeVar("K")
R = TypeVar("R")


def run_studies(
    studies: Mapping[K, tuple[Generator[None, None, R], PopulationEngine]], population: Population
) -> Iterator[tuple[K, R | Exception]]:
    """Run studies to their ends; yield each result, or what the study raised, as it comes.

    A study goes on as soon as its own earliest completion is certain. When none can, the population trains
    everything that all of them wait for by one unit; so 30 studies on 4 workers give cohorts of 120 members.

    Args:
        studies: By key, the steps of a study (`hypernudge.tuner.iter_study`) and its engine.
        population: What the engines share.
    """
    active = dict(studies)
    begun: set[K] = set()
    while active:
        for key, (steps, engine) in list(active.items()):
            try:
                while key not in begun or engine.ready:
                    begun.add(key)
                    next(steps)
            except StopIteration as stop:
                del active[key]
                yield key, stop.value
            except Exception as error:  # one study's defect must not end the others
                del active[key]
                yield key, error
        if population.demand:
            population.step()
