"""`ModuleTask`: any `nn.Module` with its data, to be tuned."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hypernudge.errors import InvalidArgumentError, require, require_choice, require_flag, require_whole
from hypernudge.optimizers import Optimizer, Params, rule_from
from hypernudge.parameters import Real, hashable
from hypernudge.registry import instance
from hypernudge.space import SearchSpace, Value
from hypernudge.task import Batch, GradientTask, Split, TrainingState
from hypernudge.tasks.module import scores
from hypernudge.tasks.module.checkpoints import Checkpoints, digest
from hypernudge.tasks.module.devices import device_of
from hypernudge.tasks.module.held_out import Beginning, EnoughError, HeldOut
from hypernudge.tasks.module.measuring import Loss, MeasuredTask, Recipe, Score, check_functions
from hypernudge.tasks.module.mini_batches import MiniBatches
from hypernudge.tasks.module.schedules import Schedule
from hypernudge.tasks.module.torch_optimizers import check_trainable
from hypernudge.tasks.module.training import OPTIONS, Loop, Training
from hypernudge.tasks.module.trials import ModuleState, Trials
from hypernudge.tasks.module.values import check_values
from hypernudge.tasks.parallel.devices import Devices
from hypernudge.tasks.study_length import check_study_length

PARTS = ("validation", "test")
SECONDS_TRIED = 3.0
DTYPES = {"float32": None, "float64": torch.float64, "bf16": None}


class ModuleTask(GradientTask):
    """A PyTorch module, its data, loss and score as a task with two faces.

    *Training* is an ordinary loop: an optimizer of `torch.optim`, a schedule, clipping, the data in an order
    that belongs to the trial's seed. *Measuring* is the same loss as a pure function, which warm starts and
    hyper-gradients differentiate; it uses the peak rate of a schedule, and full precision.

    Trials that wait are on disk, not in memory, and every draw (initialisation, order, dropout) is addressed
    by seed and step: a trial goes on from any unit with the bits it would have had, on a CPU.

    Names that the training reads, from the space or from `fixed`: `lr`, `momentum` (for AdamW the decay of
    the first moment, also called `beta1`), `beta2`, `weight_decay`, `batch_size`, `grad_clip` (largest norm
    of the gradient), `ema` (decay of averaged weights, which are then scored), `warmup` and `final_factor`
    (of the schedule). All others belong to the model and the loss, which get every value.

    Args:
        model: `model(hp)` builds a new module at every call, under a seed of its own.
        data: Training and validation part, and a test part if there is one. What is trained on is a
            `DataLoader` over a map-style data set (shuffled, or in turn), such a data set, a tuple of tensors
            with equal first dimension, or a function of `(seed, step)` that returns a batch; for the others
            see `HeldOut`. A batch is a tensor, a tuple of tensors, or a mapping to tensors.
        loss: `loss(model, batch, hp)`, a scalar tensor. What enters it by tensor operations has an exact
            hyper-gradient.
        score: `score(model, split)`, larger is better; iterating `split` yields batches, `split.name` says of
            which part. `"accuracy"` is `scores.accuracy`, `"loss"` minus `loss` at `fixed` values.
        space: The search space, with a continuous `lr`.
        name: In records.
        metric: What the score is called.
        metric_range: Its worst and best value.
        optimizer: `"sgd"`, `"adamw"`, a rule of `hypernudge.optimizers`, or PyTorch's class.
        schedule: `"constant"`, `"linear"`, `"cosine"`, `"step"`, `"warmup_stable_decay"`, a mapping with
            such a `name` and options, or a `Schedule`; over the units of the longest training of the study.
        fixed: Values that are not tuned.
        batch_size: Samples of a mini-batch; those of the loader where None, else 128.
        steps_per_unit: Optimizer steps between two scores; an epoch where None.
        units: Of the longest training; those of the study's scheduler where None.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
        precision: `"float32"`, `"float64"`, or `"bf16"`: parameters in float32, forward pass in bfloat16
            where that is safe.
        channels_last: Whether images lie with the channels last, faster for convolutions on GPUs.
        compile: Whether the model goes through `torch.compile`.
        checkpoint_dir: Where trials are kept, after every unit: a study that is interrupted goes on from
            there. A folder for every study, since it is emptied when the study has ended. A temporary one,
            written to when a trial has to wait, if absent.
        keep_checkpoints: Whether files of finished trials stay.
        resident: Trials in memory at a time.
        score_test: Whether the test part is scored after every unit, where there is one.
        devices: Several devices for one trial; tasks by name make them from a number.

    Raises:
        InvalidArgumentError: For an argument that breaks a rule.
    """

    one_at_a_time = True

    def __init__(
        self,
        model: Callable[[Mapping[str, Any]], nn.Module],
        data: Sequence[Any],
        loss: Loss,
        score: Score | Literal["accuracy", "loss"],
        space: SearchSpace,
        *,
        name: str = "module",
        metric: str | None = None,
        metric_range: tuple[float, float] | None = None,
        optimizer: str | Mapping[str, Any] | Optimizer | type[torch.optim.Optimizer] = "sgd",
        schedule: str | Mapping[str, Any] | Schedule = "constant",
        fixed: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        steps_per_unit: int | None = None,
        units: int | None = None,
        device: str = "auto",
        precision: Literal["float32", "float64", "bf16"] = "float32",
        channels_last: bool = False,
        compile: bool = False,
        checkpoint_dir: str | Path | None = None,
        keep_checkpoints: bool = False,
        resident: int = 1,
        score_test: bool = True,
        devices: Devices | None = None,
    ) -> None:
        check_functions(model, loss)
        require_choice("precision", precision, DTYPES)
        flags = {"channels_last": channels_last, "compile": compile}
        for flag, given in {**flags, "keep_checkpoints": keep_checkpoints, "score_test": score_test}.items():
            require_flag(flag, given)
        require_whole("resident", resident)
        counts = {"batch_size": batch_size, "steps_per_unit": steps_per_unit, "units": units}
        for argument, count in counts.items():
            if count is not None:
                require_whole(argument, count, remedy="leave it out, or give one")
        if keep_checkpoints:
            remedy = "say where"
            require(checkpoint_dir is not None, "checkpoint_dir", "must be given to keep files", None, remedy)
        self.name, self.space, self.fixed = name, space, dict(fixed or {})
        self.precision, self.units = precision, units
        self.optimizer = rule_from(optimizer)
        check_trainable(self.optimizer)
        self.schedule: Schedule = instance("schedule", schedule, has=("factor",))
        check_values(space, self.fixed)
        self.device = device_of(device)
        self.recipe = Recipe(model, loss, self.optimizer, self.device, DTYPES[precision])
        listed = isinstance(data, tuple | list) and len(data) in (2, 3)
        rule, remedy = "must be (training, validation) or (training, validation, test)", "write a tuple"
        require(listed, "data", rule, type(data).__name__ if not listed else len(data), remedy)
        self._data, self._asked = data[0], batch_size
        self._readers: dict[int | None, MiniBatches] = {}
        self.batch_size = self._reader({}).batch_size
        self._steps_per_unit = steps_per_unit
        self.steps_per_unit = self.steps_of({})
        self._held = {
            part: HeldOut(given, part, self.batch_size, self.recipe, self.device)
            for part, given in zip(PARTS, data[1:], strict=False)
        }
        if not score_test:
            self._held.pop("test", None)
        self._score, own_metric, own_range = scores.scoring(score, loss, self.fixed)
        self.metric, self.metric_range = metric or own_metric, metric_range or own_range
        self._loop = Loop(
            self.recipe, self.device, self.schedule, precision == "bf16", channels_last, compile
        )
        self._described: dict[str, Any] = {"task": name, "precision": precision}
        self._described |= {"optimizer": repr(self.optimizer), "schedule": repr(self.schedule)}
        self._described |= flags
        self.settings: dict[str, Any] = {"model": model, "loss": loss, "score": score, **flags}
        self.settings |= {"score_test": "test" in self._held, "devices": devices}
        folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        self._trials = Trials(Checkpoints(folder, keep_checkpoints), resident, self._fresh)
        self._units, self._studies, self._devices = units, 0, devices
        self._studied: int | None = None
        self._noted: set[str] = set()
        self._checked = False
        self._counts: dict[Any, dict[str, float]] = {}

    # What an engine calls.

    def start(self, seed: int) -> ModuleState:
        """Return an untrained trial; its model is built when its configuration is known."""
        return ModuleState({}, {}, seed, units=self._units or self._studied or 1)

    def advance(self, state: TrainingState, hp: Mapping[str, Value]) -> bool:
        """Train for one unit; return False once a loss was not finite.

        Raises:
            InvalidArgumentError: If the trial has begun with other values.
        """
        assert isinstance(state, ModuleState)  # `start` makes no other
        values = self._values(hp)
        if state.hp is None:
            self._trials.bind(state, values, self._file(state, values))
        same = {k: hashable(v) for k, v in values.items()} == {k: hashable(v) for k, v in state.hp.items()}  # type: ignore[union-attr]
        require(same, "hp", "must stay as the trial has begun", dict(hp), "start another trial")
        finite = self._trials.advance(state)
        state.step = state.unit * self.steps_of(values)
        return finite

    def evaluate(self, state: TrainingState, split: Split) -> float:
        """Return the score after the units so far, NaN on a split that there is not.

        Raises:
            InvalidArgumentError: If the trial has not begun: nobody knows its model.
        """
        assert isinstance(state, ModuleState)
        if split not in self._held:
            return float("nan")
        require(state.hp is not None, "state", "must have been trained for a unit", state.unit, "advance it")
        part = self._held[split]
        return self._trials.evaluate(state, split, lambda training: training.score(self._score, part))

    def weights(self, state: TrainingState) -> Params | None:
        """Return the state dictionary of the model as it was scored; None if it would have to be trained."""
        assert isinstance(state, ModuleState)
        return self._trials.weights(state)

    @contextlib.contextmanager
    def kept_in(self, folder: Path) -> Iterator[bool]:
        """Keep trials in a folder while entered, unless `checkpoint_dir` names another; yield True."""
        before = self._trials.checkpoints
        if not before.durable:
            self._trials.checkpoints = Checkpoints(folder, keep=False)
        try:
            yield True
        finally:
            self._trials.checkpoints = before

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return the cost of a unit: that of its losses and gradients, counted once for discrete values."""
        at = self.at(hp)
        try:
            if not self._checked:
                at.try_step()
                at.check_builds_anew()
                self._check_read(hp)
                self._checked = True
            return at.step_flops * at.steps_per_unit
        except InvalidArgumentError:
            raise
        except Exception:  # the loss raises for this configuration: the cost is that of its discrete values
            at = self.at({n: self.space[n].decode(0.5) if self._continuous(n) else v for n, v in hp.items()})
            return at.step_flops * at.steps_per_unit

    def try_score(self, hp: Mapping[str, Value]) -> None:
        """Score a fresh model on the validation part, for a few seconds at most: to see whether that raises.

        Raises:
            Exception: Whatever the user's model or score raises.
        """
        at = self.at(hp)
        params = at.init(0)
        with contextlib.suppress(EnoughError):
            at.scored_on(params, Beginning(self._held["validation"], SECONDS_TRIED))

    def _check_read(self, hp: Mapping[str, Value]) -> None:
        """Refuse a space with a name that nothing reads; where values are discrete, another may read it."""
        known = {*self._noted, *getattr(self.optimizer, "reads", ()), *self.schedule.reads, *OPTIONS}
        if not all(isinstance(parameter, Real) for parameter in self.space):
            return
        for name in (*hp, *self.fixed):
            where = f"fixed.{name}" if name in self.fixed else f"space.{name}"
            rule = "must be read by model, loss, optimizer or schedule"
            require(name in known, where, rule, "a name that nothing reads", f"one of {sorted(known)}")

    @contextlib.contextmanager
    def study(self, units: int) -> Iterator[None]:
        """Be trained by a study whose longest training has so many units; files are removed at its end.

        Raises:
            InvalidArgumentError: If a schedule is shared with a study of another length, or ends before.
        """
        check_study_length(units, self._units, self._studied if self._studies else None)
        self._studied = units
        self._studies += 1
        try:
            yield
        except BaseException:
            self._studies -= 1
            self._stop_devices()
            raise
        self._studies -= 1
        if not self._studies:
            self._trials.close()
            self._stop_devices()

    def _stop_devices(self) -> None:
        if self._devices is not None and not self._studies:
            self._devices.stop()

    # What a measurement calls.

    def at(self, config: Mapping[str, Value]) -> MeasuredTask:
        """Return the measuring face at a configuration, from which the model is built."""
        values = self._values(config)
        # A configuration may have other names than the space, where somebody left some out.
        discrete = tuple((n, hashable(v)) for n, v in sorted(values.items()) if not self._continuous(n))
        task = MeasuredTask(
            self.recipe,
            self._reader(values),
            self.space,
            values,
            {},
            steps_per_unit=self.steps_of(values),
            score=(self._score, self._held),
            with_buffers=True,
            name=self.name,
            noted=self._noted,
        )
        task.metric, task.metric_range = self.metric, self.metric_range
        counts = self._counts.setdefault(discrete, {})
        if type(self).step_flops is not ModuleTask.step_flops:  # declared: a subclass knows better
            counts["step"] = float(self.step_flops)
        vars(task)["_flops"] = counts
        return task

    def init(self, seed: int) -> Params:
        """Return initial parameters and buffers at the middle of the space; `at` has other places."""
        self._middle = self.at({p.name: p.decode(0.5) for p in self.space})
        return self._middle.init(seed)

    def batch(self, seed: int, step: int) -> Batch:
        """Return a mini-batch of the size at the middle of the space."""
        return self._at_middle().batch(seed, step)

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the loss, a scalar, of the model at the middle of the space."""
        return self._at_middle().loss(params, batch, hp)

    def score(self, params: Params, split: Split) -> float:
        """Return the score of the model at the middle of the space."""
        return self._at_middle().score(params, split)

    def trained(self, params: Params) -> Params:
        """Return those of `params` that training descends on."""
        return self._at_middle().trained(params)

    @property
    def step_flops(self) -> float:
        """FLOPs of one loss and gradient on one batch, at the middle of the space."""
        return self._at_middle().step_flops

    def _at_middle(self) -> MeasuredTask:
        if not hasattr(self, "_middle"):
            self.init(0)
        return self._middle

    # What both are made of.

    def steps_of(self, hp: Mapping[str, Any]) -> int:
        """Return the steps of a unit.

        Raises:
            InvalidArgumentError: If nobody knows them.
        """
        steps = self._steps_per_unit or self._reader(hp).steps_per_epoch
        if not steps:
            raise InvalidArgumentError(
                "steps_per_unit: must be given where the data do not say how long an epoch is, but got None; "
                "give the optimizer steps between two scores"
            )
        return steps

    def _reader(self, hp: Mapping[str, Any]) -> MiniBatches:
        size = hp.get("batch_size", self._asked)
        if size not in self._readers:
            self._readers[size] = MiniBatches(self._data, size, trained_on=True)
        return self._readers[size]

    def _values(self, hp: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.fixed, **hp}

    def _continuous(self, name: str) -> bool:
        return name in self.space and isinstance(self.space[name], Real)

    def _file(self, state: ModuleState, values: Mapping[str, Any]) -> str:
        steps, size = self.steps_of(values), self._reader(values).batch_size
        about = {"seed": state.seed, "units": state.units, "steps": steps, "batch": size}
        return digest({**self._described, **about, "hp": {k: repr(v) for k, v in values.items()}})

    def _fresh(self, state: ModuleState) -> Training:
        assert state.hp is not None
        make = Training if self._devices is None else self._devices.training
        return make(*self.training_arguments(state.hp, state.seed, state.units))

    def training_arguments(self, hp: Mapping[str, Any], seed: int, units: int) -> tuple[Any, ...]:
        """Return what `Training` takes for a trial of `seed` that is trained for `units` at most."""
        return self._loop, self._reader(hp), hp, seed, self.steps_of(hp), units

    def __deepcopy__(self, memo: object) -> ModuleTask:
        """Refuse: a copy would share files, and draws from global generators, with the original."""
        raise TypeError("ModuleTask cannot be copied; build another")
