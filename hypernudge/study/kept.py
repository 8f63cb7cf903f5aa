"""A study from its arguments: checked, opened on disk where it is kept, with all that goes on beside it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from hypernudge.engine.base import Engine
from hypernudge.errors import (
    InvalidArgumentError,
    require,
    require_between,
    require_choice,
    require_flag,
    require_path,
    require_whole,
)
from hypernudge.random import Streams
from hypernudge.registry import takes
from hypernudge.schedulers.base import Scheduler
from hypernudge.study.about import About, Direction, TestPolicy
from hypernudge.study.best import BestUnit
from hypernudge.study.header import header_of
from hypernudge.study.progress import progress_of
from hypernudge.study.session import (
    KeptOnDisk,
    RemovesTrials,
    Session,
    ShowsScores,
    StudyCallback,
    WaitsOnDisk,
)
from hypernudge.study.store import BEST, TRIALS, Store
from hypernudge.study.study import Study
from hypernudge.task import Task
from hypernudge.trial import Event, History, Report
from hypernudge.warmstart.base import WarmStart
from hypernudge.warmstart.runner import name_of


def check_options(
    direction: object,
    test: object,
    keep_weights: object,
    timeout: object,
    callbacks: object,
    progress: object,
    study: object,
    resume_from: Iterable[Event],
) -> None:
    """Refuse options of `tune` that break a rule.

    Raises:
        InvalidArgumentError: With the option.
    """
    require_choice("direction", direction, get_args(Direction))
    require_choice("test", test, get_args(TestPolicy))
    require_flag("keep_weights", keep_weights)
    if progress is not None:
        require_flag("progress", progress)
    if timeout is not None:
        require_between("timeout", timeout, 0, remedy="give seconds, or leave it out")
    listed = isinstance(callbacks, Sequence) and all(callable(c) and takes(c, 2) for c in callbacks)
    require(
        listed, "callbacks", "must be a list of callables that take (study, report)", callbacks, "write [f]"
    )
    if study is not None:
        require_path("study", study, "must be the path of a folder")
        rule, remedy = "must be left out with study=, which has its own events", "drop one of them"
        require(resume_from == (), "resume_from", rule, resume_from, remedy)


def limited(scheduler: Scheduler, max_trials: int | None) -> Scheduler:
    """Return a scheduler that starts so many trials; itself where `max_trials` is absent.

    Raises:
        InvalidArgumentError: If the number is below 1, or the scheduler does not take it.
    """
    if max_trials is None:
        return scheduler
    require_whole("max_trials", max_trials, remedy="correct it, or leave it out")
    takes_it = hasattr(scheduler, "__dataclass_fields__") and hasattr(scheduler, "max_trials")
    remedy = "let it stop with `Done`, or give a budget"
    require(takes_it, "max_trials", "the scheduler must take it", type(scheduler).__name__, remedy)
    given: Any = scheduler
    changed: Scheduler = dataclasses.replace(given, max_trials=max_trials)
    return changed


def about_of(task: Task, scheduler: Scheduler, policy: WarmStart, direction: Direction) -> About:
    """Return what a study is of."""
    metric = str(getattr(task, "metric", "score"))
    names = type(scheduler).__name__, name_of(policy)
    longest, family = scheduler.max_units, str(getattr(task, "family", task.name))
    return About(str(task.name), metric, task.space, *names, direction, longest, family=family)


@dataclass
class Opened:
    """A study that can be run, or is done.

    Attributes:
        events: Of an earlier run.
        session: Makes what goes on beside it.
        done: The study, where nothing is left to do.
    """

    events: Sequence[Event]
    session: Callable[[Study], Session]
    done: Study | None = None


@dataclass
class KeptStudy:
    """How a study is kept.

    Attributes:
        folder: Where; in memory if absent.
        options: Arguments of `tune` besides the parts that decide what happens.
        keep_weights: Whether the weights of the best unit are kept.
        timeout: Seconds of the wall.
        callbacks: Called with the study and each report.
        progress: Whether it is shown; None for on a terminal.
    """

    folder: Path | None
    options: Mapping[str, Any]
    keep_weights: bool = True
    timeout: float | None = None
    callbacks: Sequence[StudyCallback] = field(default_factory=tuple)
    progress: bool | None = None

    @contextlib.contextmanager
    def opened(
        self, task: Task, scheduler: Scheduler, policy: WarmStart, engine: Engine, about: About
    ) -> Iterator[Opened]:
        """Open the study and hold it while entered.

        Raises:
            InvalidArgumentError: If it has a writer, was begun with other arguments, or is damaged.
            OSError: If it cannot be opened.
        """
        test = self.options["test"]
        with contextlib.ExitStack() as stack:
            store = self._store(stack, task, scheduler, policy, engine, about)
            on_disk = False
            keeper = engine if isinstance(engine, KeptOnDisk) else task
            if store is not None and isinstance(keeper, KeptOnDisk):
                on_disk = stack.enter_context(keeper.kept_in(store.folder / TRIALS))
            if store is not None and isinstance(engine, WaitsOnDisk):
                engine.wait_in(store.folder / TRIALS)
            best = BestUnit(
                about.sign,
                None if store is None else store.folder / BEST,
                at_once=on_disk,
                score_test=test == "best",
                weights=self.keep_weights,
            )
            if isinstance(engine, ShowsScores):
                wanted = {"weights": self.keep_weights, "test": test == "best"}
                engine.look(
                    score_test=test == "every",
                    scored=best.scored if any(wanted.values()) else None,
                    sign=about.sign,
                    keep=[what for what, is_wanted in wanted.items() if is_wanted],
                )
            events = [] if store is None else store.events
            if store is not None:
                about = dataclasses.replace(about, created=store.created)
                history = History.replay(events, scheduler.max_units)
                for event in events:
                    if isinstance(event, Report):
                        best.reported(event, replay=True)
                if store.ended is not None:
                    _remove_trials(store, engine)  # it may have been killed between its end and this
                    best.find()
                    study = Study(history, self.options["seed"], self.options["budget"], about)
                    study.folder, study.ended, study.kept = store.folder, store.ended, best
                    yield Opened(events, lambda study: self._session(study, store, best, scheduler), study)
                    return
                best.resume(history.running)
                self._check_goes_on(scheduler, history)
            session: list[Session] = []

            def begin(study: Study) -> Session:
                study.about = about
                session.append(self._session(study, store, best, scheduler))
                return session[0]

            yield Opened(events, begin)
            if session and session[0].study.ended is not None:
                _remove_trials(store, engine)

    def _store(
        self,
        stack: contextlib.ExitStack,
        task: Task,
        scheduler: Scheduler,
        policy: WarmStart,
        engine: Engine,
        about: About,
    ) -> Store | None:
        if self.folder is None:
            return None
        header = header_of(task, scheduler, policy, engine, self.options)
        names = {"scheduler": about.scheduler, "warm_start": about.warm_start, "max_units": about.max_units}
        header["names"] = {**names, "family": about.family}
        store = Store(self.folder, header, task.space, about.sign)
        stack.callback(store.close)
        return store

    def _session(self, study: Study, store: Store | None, best: BestUnit, scheduler: Scheduler) -> Session:
        study.kept = best
        study.folder = None if store is None else store.folder
        shown = progress_of(study, getattr(scheduler, "max_trials", None), self.progress)
        return Session(study, store, best, self.callbacks, shown, self.timeout)

    def _check_goes_on(self, scheduler: Scheduler, history: History) -> None:
        """Refuse a scheduler that cannot go on from here, such as brackets that more trials would change."""
        if not history.events:
            return
        try:
            scheduler(history, Streams(self.options["seed"]))
        except ValueError as error:
            raise InvalidArgumentError(
                f"max_trials: must stay as it was with {type(scheduler).__name__}, whose decisions so far "
                f"depend on it ({error}); give the former one, or name another folder"
            ) from None


def _remove_trials(store: Store | None, engine: Engine) -> None:
    """Remove what trials of a study that is done have left, wherever they were kept."""
    if store is not None:
        store.remove_trials()
    if isinstance(engine, RemovesTrials):
        engine.remove_trials()
