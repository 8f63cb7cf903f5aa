"""Applies a warm start to the trials of one study: the only place where a policy is called and may fail.

An error in a warm start leaves that trial unchanged; the study continues. What a policy measures depends only
on the trial's number and sampled configuration, so the next configurations can be measured together where the
scheduler can name them. Each trial is charged for its own measurement; one whose trial never starts costs
wall time only, which the next trial that starts bears: the seconds of all trials are those of the study.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.parameters import same
from hypernudge.random import Streams
from hypernudge.results.resources import Resources
from hypernudge.schedulers.base import Scheduler, Start, SupportsSpeculation
from hypernudge.space import Config
from hypernudge.task import GradientTask, Task
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.base import NoWarmStart, SupportsBatchMeasurement, WarmStart
from hypernudge.warmstart.failures import LEFT, was_tried
from hypernudge.warmstart.remote import Measured, RemoteMeasurements


class WarmStartRunner:
    """Nudges the trials of one study.

    Args:
        policy: What nudges.
        task: What is tuned.
        streams: Of the study.
        scheduler: Asked for the configurations to come; None where nobody knows them.
        batch_size: For how many trials at once to measure.
        remote: Measures on workers; None where there are none.
    """

    def __init__(
        self,
        policy: WarmStart,
        task: Task,
        streams: Streams,
        scheduler: Scheduler | None = None,
        batch_size: int = 1,
        remote: RemoteMeasurements | None = None,
    ) -> None:
        if isinstance(task, GradientTask):  # here, lest the first trial's seconds hold those of importing
            import hypernudge.warmstart.measurement.measure
            import hypernudge.warmstart.measurement.walk  # noqa: F401
        self.policy = policy
        self.remote = remote
        self._task, self._streams, self._batch_size = task, streams, batch_size
        self._measured: dict[int, Measured] = {}
        self._besides = 0.0  # seconds since the last trial that belong to none: the next one bears them
        # Found out once: asking a protocol takes microseconds, and it is asked for every trial to come.
        self._measuring: SupportsBatchMeasurement[Any] | None = (
            policy if isinstance(policy, SupportsBatchMeasurement) else None
        )
        self._scheduler: SupportsSpeculation | None = (
            scheduler if isinstance(scheduler, SupportsSpeculation) else None
        )

    def __call__(
        self,
        sampled: Config,
        history: History,
        *,
        model_based_pick: bool = False,
        fit: Callable[[Config], Config] | None = None,
        refuse_misuse: bool = False,
    ) -> Nudge:
        """Nudge the next trial; if the policy raises, or leaves the space, it starts as it was sampled.

        Args:
            sampled: What the scheduler sampled.
            history: The trials before.
            model_based_pick: Whether the scheduler's own model chose it; policies that skip such trials are
                not asked then.
            fit: Maps what the policy chose to values that are allowed, where not all of the space is.
            refuse_misuse: Whether an invalid argument that the policy finds at the first trial is raised.

        Raises:
            InvalidArgumentError: With `refuse_misuse` only, and before anything was tried.
        """
        name = name_of(self.policy)
        if self._passes_by(model_based_pick):
            reason = f"guard: the scheduler's own model chose this configuration{LEFT}"
            return Nudge(sampled, name, reason=reason, kind="model_based_pick")
        number, begun, spent = len(history.trials), time.perf_counter(), 0.0
        used: Resources | None = None
        try:
            if self.remote is None:
                self._measure(number, sampled, history)
            begun = time.perf_counter()  # of what was measured for others each bears its own share
            known = self._measured.pop(number, None) if self.remote is None else self.remote.take(number)
            if known is not None:
                spent, used = known.seconds, known.resources
                if known.error is not None:
                    raise known.error
            nudge = self._nudge(sampled, number, history, known)
            rule = "must return a Nudge"
            require(isinstance(nudge, Nudge), "warm_start", rule, nudge, "Nudge(config, 'mine'), say")
            if fit is not None:
                nudge = dataclasses.replace(nudge, config=fit(nudge.config))
            nudge = self._inside(_marked(nudge, sampled), sampled)
        except Exception as error:  # a user's loss may raise: the trial then starts as it was sampled
            first = not any(was_tried(trial.nudge) for trial in history.trials)
            if refuse_misuse and first and isinstance(error, InvalidArgumentError):
                raise
            reason = f"the warm start raised {type(error).__name__}: {error}{LEFT}"
            nudge = Nudge(sampled, name, flagged=True, reason=reason, kind="error")
        wall = self._besides + spent + time.perf_counter() - begun
        self._besides = 0.0
        return nudge.having_taken(wall, used)

    def ready(self, sampled: Config, history: History, *, model_based_pick: bool = False) -> bool:
        """Whether the next trial can be nudged now; if not, a worker is measuring for it."""
        if self.remote is None or self._passes_by(model_based_pick):
            return True
        begun = time.perf_counter()
        found = self.remote.ready(len(history.trials), sampled, history)
        self._besides += time.perf_counter() - begun
        return found

    @property
    def waits(self) -> bool:
        """Whether a worker is measuring."""
        return self.remote is not None and self.remote.pending

    def _passes_by(self, model_based_pick: bool) -> bool:
        return model_based_pick and bool(getattr(self.policy, "skip_model_based_picks", False))

    def expected(self, sampled: Config, number: int, history: History) -> Config | None:
        """Return the configuration with which trial `number` will probably be trained; None if unknown."""
        known = self._measured.get(number)
        if isinstance(self.policy, NoWarmStart):
            return sampled
        if self._measuring is None or known is None or known.config != sampled:
            return None
        begun = time.perf_counter()
        try:
            return self._nudge(sampled, number, history, known).config
        except Exception:  # it will raise again when the trial starts, where it is reported
            return None
        finally:
            self._besides += time.perf_counter() - begun

    def _inside(self, nudge: Nudge, sampled: Config) -> Nudge:
        """Return a nudge that stays in the space; what it cost is paid in either case."""
        try:
            self._task.space.check(nudge.config)
        except InvalidArgumentError as error:
            reason = f"the policy left the space ({error}){LEFT}"
            return dataclasses.replace(
                nudge, config=sampled, changed=False, flagged=True, reason=reason, kind="error"
            )
        return nudge

    def _nudge(self, sampled: Config, number: int, history: History, known: Measured | None) -> Nudge:
        if known is None:
            return self.policy(self._task, sampled, history, self._streams)
        measuring: Any = self.policy  # it was measured for, so it can
        nudge: Nudge = measuring.nudge(self._task, sampled, number, history, self._streams, known.value)
        return nudge

    def _measure(self, number: int, sampled: Config, history: History) -> None:
        known = self._measured.get(number)
        if self._measuring is None or (known is not None and known.config == sampled):
            return
        begun = time.perf_counter()
        self._besides += sum(unused.seconds for unused in self._measured.values())
        self._measured.clear()
        coming = self._coming(sampled, history)
        found = self._together(coming, number) if len(coming) > 1 else []
        spent = time.perf_counter() - begun
        if not found:
            self._besides += spent
        for i, (config, measured) in enumerate(zip(coming, found, strict=False)):
            self._measured[number + i] = Measured(config, measured, spent / len(coming))

    def _together(self, configs: list[Config], first: int) -> list[Any]:
        """Return what is measured for trials from number `first` on; nothing where a trial's loss raises.

        Then each is measured alone, and only its own nudge fails.
        """
        assert self._measuring is not None  # `_measure` made sure
        numbers = range(first, first + len(configs))
        try:
            return self._measuring.measure(self._task, configs, numbers, self._streams)
        except Exception:  # whatever a user's loss raises
            return []

    def _coming(self, sampled: Config, history: History) -> list[Config]:
        """Return `sampled` and the configurations after it, as far as they are known."""
        if self._batch_size < 2 or self._scheduler is None:
            return [sampled]
        likely = self._scheduler.propose_speculative(history, self._streams, 2 * self._batch_size, {})
        starts = [decision.config for decision in likely if isinstance(decision, Start)]
        return starts[: self._batch_size] if starts[:1] == [sampled] else [sampled]


def _marked(nudge: Nudge, sampled: Config) -> Nudge:
    """Return the nudge saying that it changed something if it did, which a policy may leave out."""
    trained = nudge.config
    # Not `!=`: a choice may be an array.
    alike = trained is sampled or (
        trained.keys() == sampled.keys() and all(same(trained[name], sampled[name]) for name in sampled)
    )
    changed = not alike
    if changed == nudge.changed:
        return nudge
    kind = "moved" if changed and nudge.kind == "unchanged" else nudge.kind
    return dataclasses.replace(nudge, changed=changed, kind=kind)


def name_of(policy: WarmStart) -> str:
    """Return the name that an error of a policy is recorded under: its own, its function's or its class's."""
    own: object = getattr(policy, "name", None) or getattr(policy, "__name__", None)
    return own if isinstance(own, str) else type(policy).__name__
