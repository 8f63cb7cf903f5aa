"""Saved results, grouped into conditions (what is trained) and variants (how it is steered).

Two runs are comparable if they differ in nothing but the seed and how they were steered. Everything that
steers (`STEERING`) makes a variant; everything else makes a condition. Names are as short as the results
allow: a setting is mentioned only where it varies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.experiments.training.results import RunResult, UnreadableResultError, load_run_result

STEERING = (
    "lr_candidates",
    "noise_candidates",
    "structured_control_mode",
    "context_mode",
    "context_trend_window",
    "context_trend_epsilon",
    "episode_length",
    "reward_epsilon",
    "reward_instability_lambda",
    "reward_clip_min",
    "reward_clip_max",
    "ema_alpha",
)
IDENTITY = ("task_name", "method_name", "control_mode", "seed", "schedule_unit")
NOISE = ("label_noise_type", "label_noise_rate", "label_noise_seed")


@dataclass(frozen=True)
class Run:
    """A result with its place in the comparison.

    Attributes:
        result: What was saved.
        path: Where.
        condition: What was trained, for people.
        variant: How it was steered, for people; the baseline of a condition is its bare optimizer.
        noise: "clean", or kind and rate of the wrong labels.
    """

    result: RunResult
    path: Path
    condition: str
    variant: str
    noise: str

    @property
    def is_baseline(self) -> bool:
        """Whether the bare optimizer was run."""
        return str(self.result.config["control_mode"]) == "baseline"


@dataclass(frozen=True)
class Runs:
    """All results that were read.

    Attributes:
        runs: Ordered by condition, variant and seed.
        problems: One line per file that could not be used.
    """

    runs: tuple[Run, ...]
    problems: tuple[str, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions, in order."""
        return tuple(dict.fromkeys(run.condition for run in self.runs))

    def variants(self, condition: str) -> dict[str, list[Run]]:
        """Runs of a condition by variant, baseline first, each in the order of seeds."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            if run.condition == condition:
                found.setdefault(run.variant, []).append(run)
        return found

    def where(self, keep: Iterable[Run]) -> Runs:
        """Return these runs alone, with all problems."""
        return Runs(tuple(keep), self.problems)


def result_files(paths: Sequence[Path]) -> list[Path]:
    """Return the JSON files that `paths` are or hold, at any depth; no manifests or plans of run plans."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*.json") if p.name not in ("plan.json", "manifest.json"))
        found += inside if path.is_dir() else [path]
    return found


def load_runs(paths: Sequence[Path]) -> Runs:
    """Read results; a file that is none, is damaged or of another version is named in `problems`."""
    read: list[tuple[Path, RunResult]] = []
    problems: list[str] = []
    for path in result_files(paths):
        try:
            read.append((path, load_run_result(path)))
        except (UnreadableResultError, FileNotFoundError) as error:
            problems.append(str(error))
    kept = _without_repeats(read, problems)
    conditions = _names([_training(result) for _, result in kept], _condition_title)
    runs = []
    for (path, result), condition in zip(kept, conditions, strict=True):
        runs.append(Run(result, path, condition, result.method_name, noise_text(result.config)))
    return Runs(tuple(_ordered(_with_variants(runs))), tuple(problems))


def noise_text(config: Mapping[str, Any]) -> str:
    """Return "clean", or kind and rate of the wrong labels."""
    if config["label_noise_type"] == "none" or not config["label_noise_rate"]:
        return "clean"
    return f"{config['label_noise_type']} {100 * config['label_noise_rate']:g} %"


def _training(result: RunResult) -> dict[str, Any]:
    """Return everything that makes a condition."""
    skipped = {*STEERING, *IDENTITY, *NOISE}
    settings = {key: value for key, value in result.config.items() if key not in skipped}
    noise = noise_text(result.config)
    return {"task": result.dataset_name, **settings, "model_name": result.model_name, "noise": noise}


def _condition_title(settings: Mapping[str, Any]) -> str:
    model = str(settings["model_name"]).removeprefix("package:").rstrip("/").rsplit("/", 1)[-1]
    return f"{settings['task']}, {model}, {settings['optimizer']}, {settings['noise']}"


def _steering(run: Run) -> dict[str, Any]:
    return {} if run.is_baseline else {key: run.result.config.get(key) for key in STEERING}


def _with_variants(runs: Sequence[Run]) -> list[Run]:
    """Name the variants of each condition and method by what varies among them."""
    named: dict[int, str] = {}
    for key in dict.fromkeys((run.condition, run.variant) for run in runs):
        members = [index for index, run in enumerate(runs) if (run.condition, run.variant) == key]
        names = _names([_steering(runs[index]) for index in members], lambda settings, m=key[1]: m)
        named.update(zip(members, names, strict=True))
    return [
        Run(run.result, run.path, run.condition, named[index], run.noise) for index, run in enumerate(runs)
    ]


def _names(settings: Sequence[Mapping[str, Any]], title: Any) -> list[str]:
    """Return a title for each of some settings, with those that vary among equal titles added to it."""
    titles = [title(entry) for entry in settings]
    names = []
    for own, entry in zip(titles, settings, strict=True):
        peers = [other for peer, other in zip(titles, settings, strict=True) if peer == own]
        varying = [key for key in entry if len({json.dumps(peer.get(key)) for peer in peers}) > 1]
        extra = ", ".join(f"{key}={_short(entry[key])}" for key in varying)
        names.append(f"{own} ({extra})" if extra else own)
    return names


def _short(value: Any) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, list) else str(value)


def _without_repeats(
    read: Sequence[tuple[Path, RunResult]], problems: list[str]
) -> list[tuple[Path, RunResult]]:
    """Drop every further result of the same run, and say so: nobody should count it twice."""
    seen: dict[str, Path] = {}
    kept = []
    for path, result in read:
        key = json.dumps([result.config, result.model_name], sort_keys=True)
        if key in seen:
            problems.append(
                f"{path}: repeats the run of {seen[key]} (equal settings and seed) and is left out"
            )
            continue
        seen[key] = path
        kept.append((path, result))
    return kept


def _ordered(runs: Iterable[Run]) -> list[Run]:
    order = {"baseline": 0, "adaptive": 1, "random": 2}

    def key(run: Run) -> tuple[Any, ...]:
        return (run.condition, order[run.result.config["control_mode"]], run.variant, run.result.seed)

    return sorted(runs, key=key)
