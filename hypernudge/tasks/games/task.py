"""PPO on games: reinforcement learning that is tuned like everything else (extra `rl`).

    from hypernudge import ASHA, tune
    from hypernudge.tasks.games.task import PPOTask

    study = tune(task := PPOTask("cartpole", space="ppo_control"), ASHA(task.space), seed=0, max_trials=20)

Training is stable-baselines3's PPO (Schulman et al. 2017); measuring is the same loss as a pure function of a
rollout of the initial policy, which warm starts differentiate.
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.func import functional_call

from hypernudge.errors import require, require_flag, require_share, require_whole
from hypernudge.flops import count_flops
from hypernudge.optimizers import AdamW, Params
from hypernudge.parameters import hashable
from hypernudge.registry import instance
from hypernudge.space import Value
from hypernudge.task import Batch, GradientTask, Split, TrainingState
from hypernudge.tasks.games.catalogue import METRIC
from hypernudge.tasks.games.environments import Environments, check_spaces, game_of, is_picture
from hypernudge.tasks.games.network import ActorCritic, initial_policy, parameters_of, put
from hypernudge.tasks.games.packages import gymnasium, stable_baselines
from hypernudge.tasks.games.scoring import Scoring
from hypernudge.tasks.games.surrogate import ppo_loss
from hypernudge.tasks.games.values import PUBLISHED, check_values
from hypernudge.tasks.module.checkpoints import Checkpoints, digest
from hypernudge.tasks.module.devices import device_of
from hypernudge.tasks.module.schedules import Schedule
from hypernudge.tasks.module.trials import ModuleState, Trials
from hypernudge.tasks.spaces import build_space
from hypernudge.tasks.study_length import check_study_length

T = TypeVar("T")
ROLLOUTS_KEPT = 2  # of Atari one is 30 MB
ADAM = 1e-5  # epsilon of Adam in stable-baselines3's PPO


class PPOTask(GradientTask):
    """Tunes PPO on a game.

    The score is the mean return of `episodes` whole games, played greedily or not, on seeds of their own,
    with the game's own rewards. A unit is `unit_steps` steps of the game. A
    trial that is resumed equals one that never stopped, to the bit, on a CPU. Cost is that of the networks;
    what a game costs is not counted in FLOPs, and stands in the seconds beside them.

    Args:
        game: `"pong"`, say: one of `hypernudge.tasks.games.catalogue`, a ROM of ale-py, or an environment of
            Gymnasium with finitely many actions.
        label: Name in records.
        space: The search space, of names of `hypernudge.tasks.games.values`.
        fixed: Values that are not tuned; those published for Atari where neither says.
        environments: Games side by side.
        length: Steps of each between two updates.
        unit_steps: Steps of all games together in a unit, a multiple of a rollout, `environments * length`.
        schedule: Of the learning rate, by updates, over the units of the study's longest training.
        episodes: Games of a score.
        deterministic: Whether scored games are played with the most probable action in every state, or with
            actions drawn as in training.
        frames: Of a scored Atari game at most; 18,000 are five minutes of play, as in Mnih et al. 2015.
        sticky: Probability that an Atari game repeats the action before; .25 is its authors' advice, 0 what
            the published results of PPO have.
        units: Of the longest training; those of the study's scheduler if absent.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`; small networks stay on the CPU under `"auto"`.
        threads: That step Atari games.
        resident: Trials in memory at a time; of Atari about 30 MB each.

    Raises:
        InvalidArgumentError: An unknown game or name, or a value that breaks a rule.
        MissingExtraError: stable-baselines3, Gymnasium or, for Atari, ale-py is not installed.
    """

    one_at_a_time = True
    optimizer = AdamW(eps=ADAM)

    def __init__(
        self,
        game: str,
        *,
        label: str | None = None,
        space: str | Mapping[str, Any] = "ppo",
        fixed: Mapping[str, Any] | None = None,
        environments: int = 8,
        length: int = 128,
        unit_steps: int = 8192,
        schedule: str | Mapping[str, Any] = "linear",
        episodes: int = 8,
        deterministic: bool = True,
        frames: int = 18_000,
        sticky: float = 0.0,
        units: int | None = None,
        device: str = "auto",
        threads: int = 1,
        resident: int = 4,
    ) -> None:
        named = label is None or (isinstance(label, str) and label != "")
        require(named, "label", "must be text", label, "leave it out for the name of the game")
        mapping = fixed is None or isinstance(fixed, Mapping)
        require(mapping, "fixed", "must be a mapping of names to values", fixed, "write {gamma: 0.98}")
        counts = {"environments": environments, "length": length, "episodes": episodes, "threads": threads}
        for name, count in {**counts, "resident": resident}.items():
            require_whole(name, count, 1, 4096)
        rollout = environments * length
        require(rollout > 1, "length", "must leave a rollout of two steps or more", length, "128 is usual")
        rule = f"must be a positive multiple of environments * length = {rollout}"
        require_whole("unit_steps", unit_steps)
        require(unit_steps % rollout == 0, "unit_steps", rule, unit_steps, f"{8 * rollout}, say")
        require_whole("frames", frames, 4, remedy="18000 are five minutes")
        require_share("sticky", sticky, "0 or 0.25")
        require_flag("deterministic", deterministic)
        if units is not None:
            require_whole("units", units, remedy="leave it out")
        self.schedule: Schedule = instance("schedule", schedule, has=("factor",))
        self.space, self.fixed = build_space(space), dict(fixed or {})
        check_values(self.space, self.fixed, rollout)
        stable_baselines()  # before anything is made
        self.game = game_of(game)
        made = Environments(self.game, sticky, threads, frames)
        self._spaces = made.spaces()
        check_spaces(game, *self._spaces)
        pictures = is_picture(self._spaces[0])
        self.device = device_of(device if pictures or device != "auto" else "cpu")
        self.name = label or f"{game}_ppo"
        self.family, self.metric = game, METRIC
        self.metric_range = self.game.low, self.game.high
        self.episodes, self.unit_steps = episodes, unit_steps
        if deterministic and self.game.deviation is not None:  # it was measured greedily
            self.score_error = self.game.deviation / math.sqrt(episodes)
        from hypernudge.tasks.games.training import Plan

        self._plan = Plan(made, environments, length, unit_steps // rollout, self.schedule, self.device)
        middle = {**PUBLISHED, **self.fixed, **self.space.middle()}
        self.batch_size = rollout // int(middle["minibatches"])
        self.steps_per_unit = self._plan.rollouts * int(middle["epochs"]) * int(middle["minibatches"])
        self._scoring = Scoring(made, episodes, self.device, deterministic)
        versions = {"gymnasium": gymnasium().__version__, "sb3": stable_baselines().__version__}
        played = {} if deterministic else {"deterministic": False}  # files of greedy trials keep names
        self.settings: dict[str, Any] = {
            "game": game,
            "fixed": self.fixed,
            **{"environments": environments, "length": length, "unit_steps": unit_steps},
            **{"schedule": self.schedule, "episodes": episodes, "sticky": sticky},
            "frames": frames,
            **played,
        }
        self._described = {**{k: repr(v) for k, v in self.settings.items()}, **versions}
        self._trials = Trials(Checkpoints(None, keep=False), resident, self._fresh)
        self._rollouts: OrderedDict[tuple[int, int], Batch] = OrderedDict()
        self._units, self._studied, self._studies = units, units, 0
        self.data_source = {"game": self.game.identifier, "episodes": episodes, **played, **versions}

    # Training

    def start(self, seed: int) -> ModuleState:
        """Return an untrained trial; its games begin when its configuration is known."""
        return ModuleState({}, {}, seed, units=self._units or self._studied or 1)

    def advance(self, state: TrainingState, hp: Mapping[str, Value]) -> bool:
        """Train for one unit; return False once a parameter is not finite.

        Raises:
            InvalidArgumentError: If the trial has begun with other values.
        """
        assert isinstance(state, ModuleState)  # `start` makes no other
        values = {**self.fixed, **hp}
        if state.hp is None:
            about = {"seed": state.seed, "units": state.units, "hp": {k: repr(v) for k, v in values.items()}}
            self._trials.bind(state, values, digest({**self._described, **about}))
        same = {k: hashable(v) for k, v in values.items()} == {k: hashable(v) for k, v in state.hp.items()}  # type: ignore[union-attr]
        require(same, "hp", "must stay as the trial has begun", dict(hp), "start another trial")
        return self._trials.advance(state)

    def evaluate(self, state: TrainingState, split: Split) -> float:
        """Return the mean return on the games of a split after the units so far.

        Raises:
            InvalidArgumentError: The trial has not begun.
        """
        assert isinstance(state, ModuleState)
        require(state.hp is not None, "state", "must have been trained for a unit", state.unit, "advance it")

        def score(training: Any) -> float:
            return float(self._scoring.returns(training.model.policy, split).mean())

        return self._trials.evaluate(state, split, score)

    def try_score(self, hp: Mapping[str, Value]) -> None:
        """Build a policy; its games, which take minutes, are played in runs only."""
        del hp  # no network depends on it
        self.init(0)

    def weights(self, state: TrainingState) -> Params | None:
        """Return the parameters of both networks as they were scored; None if they are gone."""
        assert isinstance(state, ModuleState)
        return self._trials.weights(state)

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return the cost of a unit: one pass to play each step, and three (back and forth) in each epoch."""
        epochs = int({**PUBLISHED, **self.fixed, **hp}["epochs"])
        return self._pass_flops * self.unit_steps * (1 + 3 * epochs)

    @contextlib.contextmanager
    def kept_in(self, folder: Path) -> Iterator[bool]:
        """Keep trials in a folder while entered; yield True."""
        before = self._trials.checkpoints
        self._trials.checkpoints = Checkpoints(folder, keep=False)
        try:
            yield True
        finally:
            self._trials.checkpoints = before

    @contextlib.contextmanager
    def study(self, units: int) -> Iterator[None]:
        """Be trained by a study whose longest training has so many units; files are removed at its end.

        Raises:
            InvalidArgumentError: If a schedule is shared with a study of another length, or ends before.
        """
        check_study_length(units, self._units, self._studied if self._studies else None)
        self._studied = units
        self._studies += 1
        ended = False
        try:
            yield
            ended = True
        finally:
            self._studies -= 1
            if not self._studies:
                self._scoring.close()
                self._rollouts.clear()
                if ended:
                    self._trials.close()

    # Measuring

    def init(self, seed: int) -> Params:
        """Return the parameters that a trial of `seed` begins with."""
        policy = initial_policy(*self._spaces, seed).to(self.device)
        return {name: value.clone() for name, value in parameters_of(policy).items()}

    def batch(self, seed: int, step: int) -> Batch:
        """Return samples of rollouts of the initial policy; the first ones are those of the first update."""
        of_rollout = self._plan.count * self._plan.length // self.batch_size
        number, part = divmod(step, of_rollout)
        rollout = self._rollout(seed, number)
        first = part * self.batch_size
        return {name: value[first : first + self.batch_size] for name, value in rollout.items()}

    def _rollout(self, seed: int, number: int) -> Batch:
        from hypernudge.tasks.games.rollout import stored_rollout

        key = seed, number
        if key not in self._rollouts:
            while len(self._rollouts) >= ROLLOUTS_KEPT:
                self._rollouts.popitem(last=False)
            found = stored_rollout(self._plan, seed, number)
            self._rollouts[key] = {name: value.to(self.device) for name, value in found.items()}
        self._rollouts.move_to_end(key)
        return self._rollouts[key]

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return PPO's loss, a scalar, of what `batch` holds."""
        logits, values = functional_call(self._network, params, (batch["observations"],))
        return ppo_loss(logits, values, batch, {**self.fixed, **hp})

    def score(self, params: Params, split: Split) -> float:
        """Return the mean return of a policy with `params` on the games of a split."""
        policy = initial_policy(*self._spaces, 0).to(self.device)
        put(policy, params)
        return float(self._scoring.returns(policy, split).mean())

    def counted(self, what: str, work: Callable[[], T]) -> tuple[T, float]:
        """As in `GradientTask`; rollouts belong to what is counted, so they are played anew for it."""
        if what not in self._flops:
            self._rollouts.clear()
        return super().counted(what, work)

    @property
    def step_flops(self) -> float:
        """FLOPs of one loss and gradient on one mini-batch."""
        return 3 * self._pass_flops * self.batch_size

    @cached_property
    def _network(self) -> ActorCritic:
        return ActorCritic(initial_policy(*self._spaces, 0).to(self.device))

    @cached_property
    def _pass_flops(self) -> float:
        """FLOPs of one pass for one observation."""
        space, two = self._spaces[0], 2
        seen = torch.zeros((two, *space.shape), device=self.device)
        with torch.no_grad():
            _, flops = count_flops(lambda: self._network(seen))
        return flops / two

    def _fresh(self, state: ModuleState) -> Any:
        from hypernudge.tasks.games.training import Training

        assert state.hp is not None
        return Training(self._plan, state.hp, state.seed, state.units)

    def __deepcopy__(self, memo: object) -> PPOTask:
        """Refuse: a copy would share files, and draws from global generators, with the original."""
        raise TypeError("PPOTask cannot be copied; build another")
