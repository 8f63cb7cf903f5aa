"""The population: puts the trials that are asked for into cohorts, and trains these unit by unit."""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

import torch

from hypernudge.batching import VmapTask, batch_key, shared_values
from hypernudge.engine.base import advanced
from hypernudge.engine.cohort import Member, Shape, member_of, shape_of, state_of, train_unit
from hypernudge.engine.requirements import check_task
from hypernudge.engine.scored import Scored, scored_alone
from hypernudge.engine.trajectory import Trajectory
from hypernudge.engine.waiting import Waiting, WaitingStates
from hypernudge.errors import LostStateError, NotSavedError, is_real, require, require_whole
from hypernudge.renamed import accepts
from hypernudge.task import BatchedTask, GradientTask, Task
from hypernudge.workspace import Workspace

FILL = 64  # members that are worth having in a step before anything is trained ahead of demand
# A bound, not an optimum: budgets from 8 to 128 MiB gave no consistent order on the digits tasks.
CPU_BUDGET = 32 * 2**20
GPU_SHARE = 0.5
# FLOPs of a step from which `torch.vmap` on a CPU only loses: one member keeps a core busy by then. Measured
# with `benchmarks.engine`; declared rather than timed, for the choice may change a float's last bit.
MAX_BATCHED_FLOPS = 2e7
# Members for each thread of a cohort. Fewer are not worth a thread, and the products of one member would be
# split between threads, which changes their last bits.
PER_THREAD = 4
MAX_THREADS = 1024
Key = tuple[Shape, Hashable]  # what a cohort has in common


def device_of(name: object) -> torch.device:
    """Return the device of a name.

    Raises:
        InvalidArgumentError: If it is no name of a device, or the device is not there.
    """
    try:
        device = torch.device(name) if isinstance(name, str) else None
    except RuntimeError:
        device = None
    if device is not None and device.type == "cuda":  # told without starting it, which takes seconds
        there = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    else:
        there = device is not None and _holds_numbers(device)
    require(there, "device", "must be there", name, "use 'cpu', or 'cuda' where there is a GPU")
    assert device is not None  # for the type checker
    return device


def _holds_numbers(device: torch.device) -> bool:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        return False
    return True


@accepts(max_batched_flops="alone_above")
class Population:
    """Trains trajectories of one task, unit by unit, in cohorts of like shape.

    Args:
        task: What is trained.
        memory_budget: Bytes of working memory of one cohort, whose size is this over
            `BatchedTask.member_bytes`. By default 32 MiB on a CPU and half of the free memory of a GPU.
        device: Where members are trained.
        threads: CPU threads that share the operations of a cohort, or train members beside each other where
            they are trained alone. Those of PyTorch are set to it while a cohort is trained.
        max_batched_flops: FLOPs of a training step above which a gradient task without a batched form of its
            own is trained member by member, `threads` at a time. If absent, `MAX_BATCHED_FLOPS` on a CPU, no
            limit on a GPU.

    Raises:
        InvalidArgumentError: For a budget or a number of threads below 1, or a device that is not there.
    """

    def __init__(
        self,
        task: Task,
        *,
        memory_budget: int | None = None,
        device: str = "cpu",
        threads: int = 1,
        max_batched_flops: float | None = None,
    ) -> None:
        check_task(task)
        if memory_budget is not None:
            require_whole("memory_budget", memory_budget, remedy="give bytes, or leave it out")
        require_whole("threads", threads, 1, MAX_THREADS, remedy="1 is the default")
        if max_batched_flops is not None:
            number = (is_real(max_batched_flops) and max_batched_flops >= 0) or max_batched_flops == math.inf
            rule = "must be a number of FLOPs >= 0, infinity for never"
            require(number, "max_batched_flops", rule, max_batched_flops, "leave it out")
        self.task, self.device, self.threads = task, device_of(device), threads
        self.score_test = True
        self._budget = memory_budget
        self._requested: dict[Trajectory, None] = {}
        self._speculative: dict[Trajectory, None] = {}
        self._batched: dict[Hashable, BatchedTask] = {}
        limit = max_batched_flops
        if limit is None:
            limit = MAX_BATCHED_FLOPS if self.device.type == "cpu" else math.inf
        self._large = isinstance(task, GradientTask) and _is_large(task, self.device, limit)
        self._alone = self._large
        tasks = self._copies() if self._large else [task]
        self._at_a_time = len(tasks)
        self._work = Workspace()
        self.waiting = WaitingStates(task)
        self._idle: SimpleQueue[Task] = SimpleQueue()
        for one in tasks:
            self._idle.put(one)

    @property
    def demand(self) -> int:
        """Trajectories that are waited for."""
        return len(self._requested)

    def request(self, trajectory: Trajectory, units: int) -> None:
        """Have `trajectory` trained up to `units`."""
        trajectory.requested_units = max(trajectory.requested_units, units)
        if len(trajectory.scores) < trajectory.requested_units and not trajectory.ended:
            self._requested[trajectory] = None

    def speculate(self, trajectory: Trajectory, units: int) -> None:
        """Have `trajectory` trained up to `units` when there is room, before it is requested."""
        trajectory.speculative_units = max(trajectory.speculative_units, units)
        if len(trajectory.scores) < trajectory.speculative_units and not trajectory.ended:
            self._speculative[trajectory] = None

    def cancel(self, trajectory: Trajectory) -> None:
        """Drop `trajectory`."""
        self._requested.pop(trajectory, None)
        self._speculative.pop(trajectory, None)

    def step(self) -> None:
        """Train everything that is waited for, and what fits beside it, for one unit."""
        chosen = list(self._requested)
        if not self._alone and isinstance(self.task, GradientTask):
            spare = (t for t in self._speculative if t not in self._requested)
            chosen += [t for t, _ in zip(spare, range(FILL - len(chosen)), strict=False)]
        self.train(chosen)
        for trajectory in chosen:
            done = len(trajectory.scores)
            if trajectory.ended or done >= trajectory.requested_units:
                self._requested.pop(trajectory, None)
            if trajectory.ended or done >= trajectory.speculative_units:
                self._speculative.pop(trajectory, None)
            if trajectory not in self._requested and trajectory not in self._speculative:
                trajectory.state = None if trajectory.ended else self.waiting.put(trajectory.state)

    def train(self, trajectories: Sequence[Trajectory]) -> None:
        """Train every one of `trajectories` for one unit and score it."""
        groups: dict[Key, list[Trajectory]] = {}
        alone: list[Trajectory] = []
        for trajectory in trajectories:
            self._wake(trajectory)
            if self._alone and trajectory.shape is not None:
                trajectory.state = state_of(trajectory.state, trajectory.shape)
                trajectory.shape = None
            if self._begin(trajectory):
                if trajectory.shape is None:
                    alone.append(trajectory)
                else:
                    key = trajectory.shape, batch_key(trajectory.config)
                    groups.setdefault(key, []).append(trajectory)
        # Black boxes may be anything, so they are trained one at a time; a large gradient task is pure.
        self._each([partial(self._train_alone, t) for t in alone], self._at_a_time)
        for key, group in groups.items():
            for block in self._blocks(group):
                with _threads(self.threads if len(block) >= PER_THREAD * self.threads else 1):
                    self._train_block(key, block)

    def _copies(self) -> list[Task]:
        """Return the task, and a copy for each further thread: it shares tensors, but no module."""
        memo = {id(value): value for value in vars(self.task).values() if isinstance(value, torch.Tensor)}
        try:
            copies: list[Task] = [copy.deepcopy(self.task, dict(memo)) for _ in range(self.threads - 1)]
        except Exception:  # whatever a user's task holds: then one thread must do
            copies = []
        return [self.task, *copies]

    def _each(self, work: Sequence[Callable[[], None]], threads: int) -> None:
        if threads == 1 or len(work) < 2:
            for part in work:
                part()
            return
        with (
            _threads(1),
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            list(pool.map(lambda part: part(), work))

    def _wake(self, trajectory: Trajectory) -> None:
        """Have the state of a trajectory at hand; one that is lost is trained again, to the same scores."""
        if isinstance(trajectory.state, Waiting):
            try:
                trajectory.state = self.waiting.take(trajectory.state)
            except LostStateError:
                trajectory.state, trajectory.shape = None, None
                trajectory.scores.clear()
                trajectory.seconds.clear()

    def _begin(self, trajectory: Trajectory) -> bool:
        """Initialise a new trajectory; whether there is a state to train."""
        if trajectory.state is not None:
            return True
        begun = time.perf_counter()
        try:
            state = self.task.start(trajectory.seed)
            shape = None
            if isinstance(self.task, GradientTask) and not self._alone:
                shape = shape_of(self.task, state)
            trajectory.shape = shape
            trajectory.state = state if shape is None else member_of(state, shape, self.device)
        except Exception:  # as in the serial engine: belongs into the record
            trajectory.error = traceback.format_exc()
            trajectory.seconds.append(time.perf_counter() - begun)
            return False
        return True

    def _blocks(self, group: list[Trajectory]) -> Iterable[list[Trajectory]]:
        count = math.ceil(len(group) / self.cohort_size(group[0]))
        even = math.ceil(len(group) / count)
        return [group[i : i + even] for i in range(0, len(group), even)]

    def cohort_size(self, trajectory: Trajectory) -> int:
        """Return how many members like `trajectory` fit into the memory budget; at least 1."""
        budget = self._budget
        if budget is None and self.device.type == "cuda":
            budget = int(GPU_SHARE * torch.cuda.mem_get_info(self.device)[0])
        member: Member = trajectory.state
        assert trajectory.shape is not None  # only members of cohorts are asked about
        params = {
            **trajectory.shape.params.views(member.params),
            **trajectory.shape.buffers.views(member.buffers),
        }
        try:
            needed = self._batched_task(trajectory).member_bytes(params)
        except Exception:  # a task that raises here will raise in training, where it is reported
            needed = 1
        return max(1, (budget or CPU_BUDGET) // max(needed, 1))

    def _batched_task(self, trajectory: Trajectory) -> BatchedTask:
        """Return what trains a cohort, given one of its members."""
        key = batch_key(trajectory.config)
        if key not in self._batched:
            assert isinstance(self.task, GradientTask)  # only those have members
            shared = shared_values(trajectory.config)
            own = self.task.batched(self.device, shared)
            self._batched[key] = own or VmapTask(self.task, self.device, shared)
        return self._batched[key]

    def _train_block(self, key: Key, block: list[Trajectory]) -> None:
        begun = time.perf_counter()
        task, shape = self.task, key[0]
        assert isinstance(task, GradientTask)  # only those have members
        members: list[Member] = [replace(trajectory.state) for trajectory in block]
        try:
            batched = self._batched_task(block[0])
            finite = train_unit(task, batched, shape, members, [t.config for t in block], self._work)
            with torch.no_grad():
                params = {
                    **shape.params.views(torch.stack([m.params for m in members])),
                    **shape.buffers.views(torch.stack([m.buffers for m in members])),
                }
                validation = batched.scores(params, "validation", self._work)
                test = [math.nan] * len(block)
                if self.score_test:
                    test = batched.scores(params, "test", self._work)
        except torch.OutOfMemoryError:
            self._work = Workspace()
            if len(block) == 1:
                self._one_by_one(shape, block)
                return
            for half in (block[: len(block) // 2], block[len(block) // 2 :]):
                self._train_block(key, half)
            return
        except Exception:  # some member raised: each is trained alone, so that only the culprit fails
            self._one_by_one(shape, block)
            return
        share = (time.perf_counter() - begun) / len(block)
        for trajectory, member, ok, *scores in zip(block, members, finite, validation, test, strict=True):
            trajectory.state = member
            trajectory.scores.append((scores[0], scores[1]) if ok else (math.nan, math.nan))
            trajectory.seconds.append(share)
            if ok and trajectory.scored is not None:
                trajectory.scored(self._scored(trajectory, member, shape, batched, scores[0]))

    def _scored(
        self, trajectory: Trajectory, member: Member, shape: Shape, batched: BatchedTask, score: float
    ) -> Scored:
        """Return a unit of a member; its rows are never written to again, so it can be asked later."""
        task = self.task
        assert isinstance(task, GradientTask)  # only those have members

        def test() -> float:
            params = {**shape.params.views(member.params[None]), **shape.buffers.views(member.buffers[None])}
            with torch.no_grad():
                return batched.scores(params, "test", Workspace())[0]

        units = len(trajectory.scores)
        return Scored(
            trajectory.trial, units, score, lambda: task.weights(state_of(member, shape)), test, lasting=True
        )

    def _one_by_one(self, shape: Shape, block: list[Trajectory]) -> None:
        """Train members alone for a unit. If none fails alone the task cannot be batched: never try again."""
        for trajectory in block:
            trajectory.state = state_of(trajectory.state, shape)
            self._train_alone(trajectory)
        if all(trajectory.error is None for trajectory in block):
            self._alone = True
        for trajectory in block:
            if not self._alone and trajectory.error is None:
                trajectory.state = member_of(trajectory.state, shape, self.device)
            else:
                trajectory.shape = None

    def _train_alone(self, trajectory: Trajectory) -> None:
        """Train as the serial engine does."""
        begun = time.perf_counter()
        task = self._idle.get()
        try:
            scores = (math.nan, math.nan)
            if advanced(task, trajectory.state, trajectory.config):
                validation = task.evaluate(trajectory.state, "validation")
                test = task.evaluate(trajectory.state, "test") if self.score_test else math.nan
                scores = validation, test
                if trajectory.scored is not None:
                    unit = len(trajectory.scores) + 1
                    trajectory.scored(
                        scored_alone(task, trajectory.state, trajectory.trial, unit, validation)
                    )
            trajectory.scores.append(scores)
        except NotSavedError:
            raise
        except Exception:  # as in the serial engine: belongs into the record
            trajectory.error = traceback.format_exc()
        finally:
            self._idle.put(task)
        trajectory.seconds.append(time.perf_counter() - begun)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_large(task: GradientTask, device: torch.device, limit: float) -> bool:
    """Whether only `torch.vmap` could batch the task and it has more than `limit` FLOPs in a step."""
    try:
        return task.batched(device, {}) is None and task.step_flops > limit
    except Exception:  # a task that raises here will raise in training, where it is reported
        return False
