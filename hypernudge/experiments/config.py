"""What a run is: every setting that determines its result, checked before any work starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypernudge.episodes import AEES
from hypernudge.errors import InvalidArgumentError, require

MODES = ("baseline", "adaptive", "random")
OPTIMIZERS = ("AdamW", "SGD")
SCHEDULES = ("none", "cosine", "linear", "warmup_linear")
NOISE_TYPES = ("none", "symmetric", "asymmetric")
EMA_ALPHA = 0.1  # of the published experiments, where it is no option either


@dataclass(frozen=True)
class RunConfig:
    """One run of one method.

    Attributes:
        task_name: "cifar100", "sst2" or "agnews".
        method_name: The method under the name that the task's results have always used.
        control_mode: "baseline" (the bare optimizer), "adaptive" or "random" (AEES around it).
        epochs: Passes over the training part.
        batch_size: Samples per step; the last batch of an epoch may be smaller.
        lr: Base learning rate.
        weight_decay: Decoupled for AdamW, an L2 term for SGD; on every parameter.
        optimizer: "AdamW" (usual betas) or "SGD".
        momentum: Of SGD, without Nesterov.
        lr_scheduler: "none", "cosine", "linear" or "warmup_linear".
        scheduler_t_max: Span of the schedule, in its own steps; None for the whole run.
        warmup_epochs: Length of the warm-up of "warmup_linear".
        schedule_unit: "epoch" or "step": after which the schedule moves on.
        lr_candidates: Multipliers of the learning rate; one of them is a constant.
        noise_candidates: Standard deviations of gradient noise; one of them is a constant.
        structured_control_mode: "independent" or "conditional".
        context_mode: "none" or "trend".
        context_trend_window: Episodes.
        context_trend_epsilon: Loss per episode.
        episode_length: Optimizer steps.
        reward_epsilon: Guard of the reward's logarithms.
        reward_instability_lambda: Weight of the instability penalty.
        reward_clip_min: Smallest reward.
        reward_clip_max: Largest reward.
        ema_alpha: Smoothing of the losses within an episode.
        seed: Of everything but what names its own seed.
        label_noise_type: "none", "symmetric" or "asymmetric".
        label_noise_rate: Share of the training labels.
        label_noise_seed: Seed of the label noise; None for that of the run.
        data: What the task adds: model, data set, lengths, subsets.
    """

    task_name: str
    method_name: str
    control_mode: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    lr_scheduler: str = "none"
    scheduler_t_max: int | None = None
    warmup_epochs: int = 0
    schedule_unit: str = "step"
    optimizer: str = "AdamW"
    momentum: float = 0.9
    lr_candidates: tuple[float, ...] = (1.0,)
    noise_candidates: tuple[float, ...] = (0.0,)
    structured_control_mode: str = "independent"
    context_mode: str = "none"
    context_trend_window: int = 3
    context_trend_epsilon: float = 1e-3
    episode_length: int = 100
    reward_epsilon: float = 1e-8
    reward_instability_lambda: float = 0.0
    reward_clip_min: float = -1.0
    reward_clip_max: float = 1.0
    ema_alpha: float = EMA_ALPHA
    seed: int = 0
    label_noise_type: str = "none"
    label_noise_rate: float = 0.0
    label_noise_seed: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for flag, value in (("--epochs", self.epochs), ("--batch-size", self.batch_size)):
            require(value >= 1, flag, "must be at least 1", value, "raise it")
        require(self.lr > 0, "--lr", "must be above 0", self.lr, "raise it")
        require(self.weight_decay >= 0, "--weight-decay", "must not be negative", self.weight_decay, "use 0")
        require(0 <= self.momentum < 1, "--momentum", "must lie in [0, 1)", self.momentum, "0.9 is usual")
        require(
            self.warmup_epochs >= 0, "--warmup-epochs", "must not be negative", self.warmup_epochs, "use 0"
        )
        span = self.scheduler_t_max
        require(span is None or span >= 1, "--scheduler-t-max", "must be at least 1", span, "leave it out")
        self._check_noise()
        self._check_episodes()

    def _check_noise(self) -> None:
        rate, kind = self.label_noise_rate, self.label_noise_type
        require(0 <= rate <= 1, "--label-noise-rate", "must lie in [0, 1]", rate, "0.4 is 40 %")
        silent = kind != "none" or rate == 0
        remedy = "choose --label-noise-type, or leave the rate out"
        require(silent, "--label-noise-rate", "must be 0 where the type is none", rate, remedy)

    def _check_episodes(self) -> None:
        """Let the library refuse what it would refuse later, naming the flag instead of the argument."""
        import torch

        parameter = torch.nn.Parameter(torch.zeros(1))
        try:
            AEES(torch.optim.SGD([parameter], lr=1.0), **self.episodes)
        except ValueError as error:
            argument, _, rest = str(error).partition(": ")
            raise InvalidArgumentError(f"--{argument.replace('_', '-')}: {rest}") from None

    @property
    def episodes(self) -> dict[str, Any]:
        """Keyword arguments of `AEES`, but for what is put in at run time."""
        return {
            "lr_candidates": self.lr_candidates,
            "noise_candidates": self.noise_candidates,
            "episode_length": self.episode_length,
            "control_mode": "random" if self.control_mode == "random" else "adaptive",
            "structured_control_mode": self.structured_control_mode,
            "context_mode": self.context_mode,
            "context_trend_window": self.context_trend_window,
            "context_trend_epsilon": self.context_trend_epsilon,
            "reward_instability_lambda": self.reward_instability_lambda,
            "reward_epsilon": self.reward_epsilon,
            "reward_clip_min": self.reward_clip_min,
            "reward_clip_max": self.reward_clip_max,
            "ema_alpha": self.ema_alpha,
            "seed": self.seed,
        }

    def limit(self, part: str) -> int | None:
        """Return at most how many samples of a part are used; None for all."""
        most: int | None = self.data["max_train_samples" if part == "train" else "max_eval_samples"]
        return most

    @property
    def noisy(self) -> bool:
        """Whether any training label is made wrong."""
        return self.label_noise_type != "none" and self.label_noise_rate > 0

    def as_dict(self) -> dict[str, Any]:
        """Return all settings as plain data, those of the task beside the others."""
        plain = dataclasses.asdict(self)
        data = plain.pop("data")
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}
        return {**lists, **data}
