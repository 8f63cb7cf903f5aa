"""What a finished run says about itself beside its accuracy: speed, memory, episodes, wrong labels."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from hypernudge.experiments.training.hardware import hardware, peak_memory
from hypernudge.experiments.training.trainer import Trainer


def runtime_metrics(trainer: Trainer, warnings: list[str]) -> dict[str, Any]:
    """Return the runtime metrics of a finished run; deviations are those of the population of epochs."""
    seen, config = trainer.state, trainer.config
    seconds = sum(seen.train_seconds)
    samples = config.epochs * trainer.data.size("train")
    metrics: dict[str, Any] = {
        "hardware": hardware(trainer.device),
        "train_seconds": seconds,
        "train_cpu_seconds": sum(seen.train_cpu_seconds),
        "train_samples_per_second": samples / seconds,
        "train_steps_per_second": seen.step / seconds,
        "epoch_seconds_mean": statistics.fmean(seen.epoch_seconds),
        "epoch_seconds_std": statistics.pstdev(seen.epoch_seconds),
        "peak_memory_bytes": peak_memory(trainer.device),
        "data_digest": trainer.data.digest,
        "rows": {part: trainer.data.size(part) for part in trainer.data.samples.labels},
        "resumed_at_step": trainer.resumed_at or None,
        "warnings": warnings,
        "aees_overhead_metadata": _episodes(trainer),
        "label_noise_diagnostics": _label_noise(trainer),
        "test_accuracy_at_best": seen.test_at_best,
        "final_test_accuracy": trainer.accuracy("test") if trainer.evaluate_test else None,
    }
    return metrics


def _episodes(trainer: Trainer) -> dict[str, Any]:
    """Count what the controllers did; None where there are none."""
    logs, _ = trainer.stepper.logs()
    if logs is None:
        return {
            "episodes": None,
            "lr_controller_updates": None,
            "noise_controller_updates": None,
            "noisy_steps": None,
        }
    rewarded = sum(reward is not None for reward in logs["episode_rewards"])
    lengths = [
        end - start + 1
        for start, end in zip(logs["episode_start_steps"], logs["episode_end_steps"], strict=True)
    ]
    noisy = [
        length for length, noise in zip(lengths, logs["selected_noise_values"], strict=True) if noise > 0
    ]
    return {
        "episodes": len(lengths),
        "lr_controller_updates": rewarded if len(trainer.config.lr_candidates) > 1 else 0,
        "noise_controller_updates": rewarded if len(trainer.config.noise_candidates) > 1 else 0,
        "noisy_steps": sum(noisy),
    }


def _label_noise(trainer: Trainer) -> dict[str, Any] | None:
    """Return accuracies on the training part, without augmentation, by what was done to the labels."""
    noise = trainer.data.noise
    if noise is None:
        return None
    clean = torch.tensor(noise.clean)
    wrong = torch.tensor(noise.corrupted, dtype=torch.int64)
    right = torch.ones(len(clean), dtype=torch.bool)
    right[wrong] = False
    return {
        "corrupted": len(noise.corrupted),
        "train_accuracy_all": trainer.accuracy("train"),
        "train_accuracy_clean_subset": trainer.accuracy("train", rows=right.nonzero().flatten()),
        "train_accuracy_corrupted_subset_noisy_labels": trainer.accuracy("train", rows=wrong),
        "train_accuracy_corrupted_subset_clean_labels": trainer.accuracy("train", clean, wrong),
    }
