"""The scheduler protocol: a pure function from a study's history to the next decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from hypernudge.errors import require, require_whole
from hypernudge.random import Streams
from hypernudge.registry import build, check_instance, check_name, takes
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History


@dataclass(frozen=True)
class Start:
    """Begin a new trial with `config` and train it to `until` units.

    Attributes:
        config: To be trained.
        until: Units of training that it is to have.
        model_based_pick: The scheduler's own model of the scores preferred `config` to going on with a trial:
            another configuration in its place would not be what was compared.
    """

    config: Config
    until: int
    model_based_pick: bool = False


@dataclass(frozen=True)
class Resume:
    """Go on with the paused `trial` up to `until` units.

    Attributes:
        trial: Its number.
        until: Units of training that it is to have.
    """

    trial: int
    until: int


@dataclass(frozen=True)
class Wait:
    """Nothing to do before another report arrives."""


@dataclass(frozen=True)
class Done:
    """Nothing to do any more."""


Decision = Start | Resume | Wait | Done


class Scheduler(Protocol):
    """Decides what a free worker does next.

    Implementations are frozen dataclasses without state of their own: everything they know is in `history`,
    so a study that was killed, replayed or simulated decides as it would have.
    """

    @property
    def max_units(self) -> int:
        """Units of the longest training."""
        ...

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        ...


# Validation scores, unit by unit, of trials that an engine trained ahead, by their present or future number.
SpeculativeScores = Mapping[int, Sequence[float]]


@runtime_checkable
class SupportsSpeculation(Protocol):
    """What a scheduler may offer besides: decisions it will probably take, so that an engine trains ahead."""

    def propose_speculative(
        self, history: History, streams: Streams, count: int, scores: SpeculativeScores
    ) -> Sequence[Start | Resume]:
        """Return up to `count` of them; starts in the order of the trials to come.

        The history will only show `scores` later; they serve to guess well and nothing else.
        """
        ...


class Sampler(Protocol):
    """Proposes the configuration of a new trial."""

    def __call__(self, space: SearchSpace, history: History, streams: Streams) -> Config:
        """Return a configuration; the draw must be addressed by the number of the trial it is for."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Samples uniformly from the unit cube; trial `i` gets the same draw under every scheduler."""

    def __call__(self, space: SearchSpace, history: History, streams: Streams) -> Config:
        """Return the draw at address `("config", i)`, `i` being the number of the next trial."""
        return _drawn(space, streams, len(history.trials))

    def ahead(self, space: SearchSpace, history: History, streams: Streams, count: int) -> list[Config]:
        """Return the draws of the next `count` trials: they do not depend on what happens until then."""
        first = len(history.trials)
        return [_drawn(space, streams, number) for number in range(first, first + count)]


@lru_cache(maxsize=8192)
def _drawn(space: SearchSpace, streams: Streams, number: int) -> Config:
    """Return the draw for a trial; remembered, for a study that looks ahead asks for it again and again."""
    return space.sample(streams("config", number))


MAX_UNITS = 1_000_000  # of a training: rungs and brackets are tables of so many entries
MAX_CANDIDATES = 1_000_000  # that are held in memory at a time
SamplerSpec = Sampler | str | Mapping[str, Any]


class SamplingScheduler(Protocol):
    """What schedulers that start trials have in common."""

    @property
    def space(self) -> SearchSpace:
        """Where configurations are drawn."""
        ...

    @property
    def max_units(self) -> int:
        """Units of the longest training."""
        ...

    @property
    def max_trials(self) -> int | None:
        """How many trials may be started; None for any number."""
        ...

    @property
    def sampler(self) -> SamplerSpec:
        """What proposes configurations; after `check_sampling`, the sampler itself."""
        ...


def check_sampling(scheduler: SamplingScheduler) -> None:
    """Check the common arguments, and put the sampler itself where its name was given.

    Raises:
        InvalidArgumentError: For a space that is none, `max_units < 1`, `max_trials < 1`, or a sampler that
            is not known.
    """
    space: Any = scheduler.space
    remedy = "SearchSpace([Real('lr', 1e-4, 1.0, log=True)]), say, or task.space"
    require(isinstance(space, SearchSpace), "space", "must be a SearchSpace", space, remedy)
    require_whole("max_units", scheduler.max_units, 1, MAX_UNITS)
    if scheduler.max_trials is not None:
        require_whole("max_trials", scheduler.max_trials, remedy="correct it, or leave it out")
    given = scheduler.sampler
    if isinstance(given, str):
        given = {"name": given}
    if isinstance(given, Mapping):
        require("name" in given, "sampler", "must have a name", dict(given), "add `name:`")
        check_name("sampler", given["name"])
        given = build("sampler", given)
        object.__setattr__(scheduler, "sampler", given)
    check_instance("sampler", given)
    usual = "'uniform', say"
    require(callable(given), "sampler", "must be a sampler, its name or {name: ...}", given, usual)
    require(takes(given, 3), "sampler", "must take a space, a history and streams", given, usual)


@dataclass(frozen=True)
class RungScheduler:
    """What schedulers with rungs share: a sampler, and milestones that grow by `eta`.

    Args:
        space: Where new configurations are drawn.
        max_units: Training units (epochs) of the last rung.
        min_units: Training units of the first rung.
        eta: Reduction factor: one in `eta` goes on.
        max_trials: Stop starting trials after this many; None leaves it to the study's budget.
        sampler: Proposes new configurations: a sampler, its name, or a mapping with `name` and options.

    Raises:
        InvalidArgumentError: For `eta < 2`, `min_units` outside `[1, max_units]`, `max_trials < 1`, or an
            unknown sampler.
    """

    space: SearchSpace
    max_units: int = 27
    min_units: int = 1
    eta: int = 3
    max_trials: int | None = None
    sampler: SamplerSpec = "uniform"
    rungs: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        check_sampling(self)
        object.__setattr__(self, "rungs", geometric_rungs(self.min_units, self.max_units, self.eta))


def start_or_end(scheduler: SamplingScheduler, until: int, history: History, streams: Streams) -> Decision:
    """Start a new trial; where there may be none, wait for what is running, and then be done."""
    if scheduler.max_trials is None or len(history.trials) < scheduler.max_trials:
        assert not isinstance(scheduler.sampler, str | Mapping)  # `check_sampling` has built it
        return Start(scheduler.sampler(scheduler.space, history, streams), until)
    return Wait() if history.n_running else Done()


def starts_ahead(
    scheduler: SamplingScheduler, until: int, history: History, streams: Streams, count: int
) -> list[Start]:
    """Return up to `count` of the next starts, none where the sampler learns until then."""
    if scheduler.max_trials is not None:
        count = min(count, scheduler.max_trials - len(history.trials))
    if not isinstance(scheduler.sampler, Uniform):
        return []
    return [
        Start(config, until) for config in scheduler.sampler.ahead(scheduler.space, history, streams, count)
    ]


def geometric_rungs(min_units: int, max_units: int, eta: int) -> tuple[int, ...]:
    """Return `min_units * eta**k` up to `max_units`, which is always the last rung.

    Raises:
        InvalidArgumentError: If `eta < 2` or not `1 <= min_units <= max_units`.
    """
    require_whole("eta", eta, 2, MAX_UNITS, remedy="3 is the usual choice")
    require_whole("min_units", min_units, 1, max_units)
    rungs = []
    units = min_units
    while units < max_units:
        rungs.append(units)
        units *= eta
    return (*rungs, max_units)
