"""Results as a run would save them, without running: three methods, some seeds, clean and noisy."""

import numpy as np

from hypernudge.experiments.training.results import RunResult, save_run_result
from tests.experiments.tools import config_of, steered

HARDWARE = {
    "device": "cpu",
    "gpus": [],
    "python": "3.11",
    "pytorch": "2.15",
    "cuda": None,
    "cudnn": None,
    "threads": 1,
    "num_workers": 0,
    "pin_memory": False,
}
GAIN = {"baseline": 0.0, "adaptive": 0.02, "random": 0.015}
TIME = {"baseline": 100.0, "adaptive": 103.0, "random": 102.0}


def result_of(mode="baseline", seed=0, epochs=4, arms=(0.5, 1.0, 2.0), hardware=None, **changes):
    common = {"epochs": epochs, "seed": seed, "data": {"model_name": "net"}, **changes}
    config = config_of(**common) if mode == "baseline" else steered(mode, **{"lr_candidates": arms, **common})
    generator = np.random.default_rng([seed, sum(map(ord, mode))])
    start = 0.5 - 0.2 * config.label_noise_rate
    curve = start + GAIN[mode] + 0.05 * np.arange(epochs) - 0.02 * (np.arange(epochs) == epochs - 1)
    accuracies = (curve + 0.002 * seed + generator.normal(0, 0.004, epochs)).round(4).tolist()
    episodes, controllers = (None, None) if mode == "baseline" else logs_of(config, generator)
    seconds = TIME[mode] * (1 + 0.001 * seed)
    return RunResult(
        method_name=config.method_name,
        task_name="cifar100",
        seed=seed,
        model_name="net",
        dataset_name="CIFAR-100",
        config=config.as_dict(),
        best_val_accuracy=max(accuracies),
        final_val_accuracy=accuracies[-1],
        final_train_loss=0.5,
        total_steps=20 * epochs,
        total_epochs=epochs,
        wall_clock_seconds=seconds + 5,
        estimated_flops=2e12,
        accuracy_per_tflop=max(accuracies) / 2,
        train_losses=[0.5] * epochs,
        train_accuracies=accuracies,
        val_accuracies=accuracies,
        epoch_wall_clock_seconds=[seconds / epochs] * epochs,
        epoch_tflops=[2 / epochs] * epochs,
        episode_logs=episodes,
        controller_logs=controllers,
        run_tag=None,
        runtime_metrics={
            "hardware": {**HARDWARE, **(hardware or {})},
            "train_samples_per_second": 10.0,
            "train_seconds": 2 * seconds,
            "train_cpu_seconds": seconds,
            "aees_overhead_metadata": {"episodes": None if episodes is None else 20, "noisy_steps": 0},
            "label_noise_diagnostics": {"train_accuracy_corrupted_subset_noisy_labels": 0.25}
            if config.noisy
            else None,
            "test_accuracy_at_best": None,
        },
        provenance={
            "commit": "c0ffee",
            "python": "3.11",
            "packages": {},
            "date": "2026-01-02",
            "cpu": "a CPU",
        },
    )


def logs_of(config, generator):
    arms = generator.integers(0, len(config.lr_candidates), 20).tolist()
    episodes = {
        "selected_lr_indices": arms,
        "selected_lr_values": [config.lr_candidates[arm] for arm in arms],
        "selected_noise_indices": [0] * 20,
        "selected_noise_values": [0.0] * 20,
        "episode_rewards": [0.1] * 20,
        "episode_start_steps": list(range(0, 80, 4)),
        "episode_end_steps": list(range(3, 83, 4)),
    }
    axis = {
        "axis_name": "lr",
        "arm_values": list(config.lr_candidates),
        "controller_created": True,
        "controller_type": "DiscountedUCB",
        "pulls": [arms.count(arm) for arm in range(len(config.lr_candidates))],
        "mean_rewards": [0.1] * len(config.lr_candidates),
    }
    fixed = {
        "axis_name": "noise",
        "arm_values": [0.0],
        "controller_created": False,
        "controller_type": "FixedAxis",
    }
    modes = {"structured_control_mode": "independent", "context_mode": "none"}
    return episodes, {**modes, "lr_controller_logs": axis, "noise_controller_logs": fixed}


def save_all(folder, seeds=8, modes=("baseline", "adaptive", "random"), **changes):
    for mode in modes:
        for seed in range(seeds):
            result = result_of(mode, seed, **changes)
            name = "_".join([mode, *map(str, changes.values()), str(seed)])
            save_run_result(result, folder / f"{name}.json")
    return folder
