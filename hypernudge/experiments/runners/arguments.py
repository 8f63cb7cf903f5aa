"""The command line that the three experiments share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.experiments.config import SCHEDULES

Option = tuple[str, dict[str, Any]]


def candidates(flag: str, *, zero: bool) -> Callable[[str], tuple[float, ...]]:
    """Return a reader of comma-separated candidates; blanks between commas are dropped."""

    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(",") if part.strip())
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be numbers separated by commas, but got {text!r}"
            ) from None
        rule = "0 or above" if zero else "above 0"
        if not values:
            raise argparse.ArgumentTypeError(f"must not be empty, but got {text!r}; one value is a constant")
        if any(not (value > 0 or (zero and value == 0)) or value == float("inf") for value in values):
            raise argparse.ArgumentTypeError(f"must be finite and {rule}, but got {text!r}")
        if len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"must not repeat a value, but got {text!r}")
        return values

    read.__name__ = flag  # what argparse calls the type in its own messages
    return read


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but got {text!r}")
    return value


def shared_options(task: str) -> dict[str, list[Option]]:
    """Return the options of every experiment by group; defaults come from the experiment."""
    training: list[Option] = [
        ("--epochs", {"type": int, "help": "passes over the training data"}),
        ("--batch-size", {"type": int, "help": "samples per optimizer step"}),
        ("--lr", {"type": float, "help": "base learning rate"}),
        ("--weight-decay", {"type": float, "help": "on every parameter"}),
        ("--seed", {"type": int, "help": "initial head or network, order, augmentation, dropout, episodes"}),
        ("--max-train-samples", {"type": count, "metavar": "N", "help": "train on a fixed random subset"}),
        ("--max-eval-samples", {"type": count, "metavar": "N", "help": "evaluate on fixed random subsets"}),
    ]
    schedule: list[Option] = [
        ("--lr-scheduler", {"choices": SCHEDULES, "help": "of the base rate, under the multipliers"}),
        (
            "--scheduler-t-max",
            {"type": int, "metavar": "N", "help": "span of the schedule (default: the run)"},
        ),
        ("--warmup-epochs", {"type": int, "help": "warm-up of warmup_linear; with 0 there is none"}),
    ]
    episodes: list[Option] = [
        ("--lr-candidates", {"type": candidates("--lr-candidates", zero=False), "metavar": "A,B"}),
        ("--noise-candidates", {"type": candidates("--noise-candidates", zero=True), "metavar": "A,B"}),
        ("--episode-length", {"type": int, "help": "optimizer steps"}),
        ("--structured-control-mode", {"choices": ("independent", "conditional")}),
        ("--context-mode", {"choices": ("none", "trend")}),
        ("--context-trend-window", {"type": int, "help": "episodes"}),
        ("--context-trend-epsilon", {"type": float, "help": "loss per episode that still counts as stable"}),
    ]
    episodes[0][1]["help"] = "multipliers of the learning rate; one value is a constant without a controller"
    episodes[1][1]["help"] = "standard deviations of gradient noise; one value is a constant"
    episodes[3][1]["help"] = "conditional: one noise controller per learning-rate arm"
    episodes[4][1]["help"] = "trend: a controller per trend of the loss"
    reward: list[Option] = [
        ("--reward-epsilon", {"type": float, "help": "guard of the logarithms"}),
        ("--reward-instability-lambda", {"type": float, "help": "weight of the loss variance in an episode"}),
        ("--reward-clip-min", {"type": float}),
        ("--reward-clip-max", {"type": float}),
    ]
    reward[2][1]["help"], reward[3][1]["help"] = "smallest reward", "largest reward"
    run: list[Option] = [
        ("--run-tag", {"help": "free text, kept in the result"}),
        ("--output", {"type": Path, "metavar": "FILE", "help": f"result (default: results/{task}_*.json)"}),
        ("--resume", {"action": "store_true", "help": "go on from the checkpoint; keep a finished result"}),
        (
            "--overwrite",
            {"action": "store_true", "help": "replace an earlier result, else kept as FILE.1"},
        ),
        (
            "--checkpoint-steps",
            {"type": int, "metavar": "N", "help": "optimizer steps between checkpoints; 0: epochs"},
        ),
        ("--device", {"choices": ("auto", "cpu", "cuda"), "help": "where to train"}),
        (
            "--evaluate-test",
            {"action": "store_true", "help": "test accuracy at the best validation, and at the end"},
        ),
        (
            "--dry-run",
            {"action": "store_true", "help": "print configuration, steps, FLOPs and files; train nothing"},
        ),
    ]
    return {"training": training, "schedule": schedule, "episodes": episodes, "reward": reward, "run": run}


SHARED_DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "lr_scheduler": "none",
    "warmup_epochs": 0,
    "lr_candidates": (1.0,),
    "noise_candidates": (0.0,),
    "structured_control_mode": "independent",
    "context_mode": "none",
    "context_trend_window": 3,
    "context_trend_epsilon": 1e-3,
    "reward_epsilon": 1e-8,
    "reward_instability_lambda": 0.0,
    "reward_clip_min": -1.0,
    "reward_clip_max": 1.0,
    "checkpoint_steps": 0,
    "device": "auto",
}


def build_parser(
    task: str, description: str, defaults: Mapping[str, Any], own: Mapping[str, list[Option]]
) -> argparse.ArgumentParser:
    """Return the parser of an experiment.

    Args:
        task: Its name.
        description: What it trains.
        defaults: Defaults that differ from the shared ones.
        own: Options of this experiment by group; a shared group's name puts them first in it.
    """
    parser = argparse.ArgumentParser(description=description)
    shared = shared_options(task)
    chosen = {**SHARED_DEFAULTS, **defaults}
    for title in dict.fromkeys([*own, *shared]):
        group = parser.add_argument_group(title)
        for flag, settings in [*own.get(title, []), *shared.get(title, [])]:
            default = chosen.get(flag.removeprefix("--").replace("-", "_"))
            options = dict(settings)
            if options.get("action") != "store_true":
                options["default"] = default
                if default is not None:
                    options["help"] += f" (default: {_shown(default)})"
            group.add_argument(flag, **{key: _escaped(key, value) for key, value in options.items()})
    return parser


def _shown(value: Any) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


def _escaped(key: str, value: Any) -> Any:
    return value.replace("%", "%%") if key == "help" else value


def config_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the shared options say about the run, as arguments of the configuration."""
    names = [
        flag.removeprefix("--").replace("-", "_")
        for group in ("training", "schedule", "episodes", "reward")
        for flag, _ in shared_options("")[group]
    ]
    limits = {"max_train_samples", "max_eval_samples"}
    require(
        options.checkpoint_steps >= 0,
        "--checkpoint-steps",
        "must not be negative",
        options.checkpoint_steps,
        "use 0",
    )
    return {name: getattr(options, name) for name in names if name not in limits}


def subsets(options: argparse.Namespace) -> dict[str, Any]:
    """Return the limits on samples, for the task's part of the configuration."""
    return {"max_train_samples": options.max_train_samples, "max_eval_samples": options.max_eval_samples}
