"""What a run of the experiments says of its speed, memory, episodes and labels, from known numbers."""

import statistics
from types import SimpleNamespace

import pytest
import torch

from experiments.utils.metrics import hardware, runtime_metrics
from hypernudge.experiments.labels import NoisyLabels
from hypernudge.experiments.training.trainer import TrainerState
from tests.experiments.tools import config_of, steered, trainer_of

SEEN = {
    "step": 30,
    "epoch_seconds": [2.5, 3.0, 5.0],
    "train_seconds": [2.0, 2.0, 4.0],
    "train_cpu_seconds": [3.0, 3.5, 7.0],
    "val_accuracies": [0.5, 0.75, 0.5],
    "test_at_best": 0.625,
}


class TrainerDouble(SimpleNamespace):
    """Says of every part what `right` says; its 37 samples were trained on for three epochs."""

    def accuracy(self, part, labels=None, rows=None):
        truth = self.right[part] if rows is None else self.right[part][rows]
        return float(truth.double().mean()) if labels is None else float(len(labels))


def finished(config=None, logs=None, noise=None, **changes):
    sizes = {"train": 37, "validation": 20, "test": 8}
    labels = {part: torch.zeros(size, dtype=torch.int64) for part, size in sizes.items()}
    data = SimpleNamespace(
        size=sizes.get, samples=SimpleNamespace(labels=labels), digest="d" * 64, noise=noise
    )
    given = {
        "config": config or config_of(),
        "state": TrainerState(**SEEN),
        "data": data,
        "device": torch.device("cpu"),
        "resumed_at": 0,
        "evaluate_test": True,
        "stepper": SimpleNamespace(logs=lambda: (logs, None)),
        "right": {part: torch.arange(size) % 4 != 0 for part, size in sizes.items()},
    }
    return TrainerDouble(**{**given, **changes})


def test_throughput_counts_training_and_epochs_their_spread():
    metrics = runtime_metrics(finished(), ["a warning"])
    assert metrics["train_seconds"] == 8.0 and metrics["train_cpu_seconds"] == 13.5
    assert metrics["train_samples_per_second"] == 3 * 37 / 8.0
    assert metrics["train_steps_per_second"] == 30 / 8.0
    assert metrics["epoch_seconds_mean"] == pytest.approx(3.5)
    assert metrics["epoch_seconds_std"] == pytest.approx(statistics.pstdev([2.5, 3.0, 5.0]))
    assert metrics["rows"] == {"train": 37, "validation": 20, "test": 8}
    assert metrics["data_digest"] == "d" * 64 and metrics["warnings"] == ["a warning"]


def test_a_resumed_run_says_where_it_went_on():
    assert runtime_metrics(finished(), [])["resumed_at_step"] is None
    assert runtime_metrics(finished(resumed_at=15), [])["resumed_at_step"] == 15


def test_test_accuracy_is_that_of_the_best_epoch_and_of_the_end():
    metrics = runtime_metrics(finished(), [])
    assert metrics["test_accuracy_at_best"] == 0.625 and metrics["final_test_accuracy"] == 0.75
    assert runtime_metrics(finished(evaluate_test=False), [])["final_test_accuracy"] is None


def test_episodes_updates_and_noisy_steps_are_counted():
    logs = {
        "episode_rewards": [0.1, None, 0.2],
        "episode_start_steps": [0, 4, 8],
        "episode_end_steps": [3, 7, 9],
        "selected_noise_values": [0.0, 0.01, 0.01],
    }
    both = runtime_metrics(finished(steered(), logs), [])["aees_overhead_metadata"]
    expected = {
        "episodes": 3,
        "lr_controller_updates": 2,
        "noise_controller_updates": 2,
        "noisy_steps": 4 + 2,
    }
    assert both == expected
    constant = steered(noise_candidates=(0.01,))
    alone = runtime_metrics(finished(constant, logs), [])["aees_overhead_metadata"]
    assert alone == {**expected, "noise_controller_updates": 0}
    bare = runtime_metrics(finished(), [])["aees_overhead_metadata"]
    assert bare == dict.fromkeys(expected)


def test_wrong_labels_split_the_training_accuracy():
    noise = NoisyLabels(labels=[0] * 37, clean=[1] * 37, corrupted=[0, 1, 4])
    found = runtime_metrics(finished(noise=noise), [])["label_noise_diagnostics"]
    right = [row % 4 != 0 for row in range(37)]
    assert found == {
        "corrupted": 3,
        "train_accuracy_all": sum(right) / 37,
        "train_accuracy_clean_subset": pytest.approx((sum(right) - 1) / 34),
        "train_accuracy_corrupted_subset_noisy_labels": pytest.approx(1 / 3),
        "train_accuracy_corrupted_subset_clean_labels": 37.0,  # asked with the clean labels
    }
    assert runtime_metrics(finished(), [])["label_noise_diagnostics"] is None


def test_hardware_names_versions_and_how_batches_travel():
    found = runtime_metrics(finished(), [])["hardware"]
    assert found == hardware(torch.device("cpu"))
    assert found["device"] == "cpu" and found["pytorch"] == torch.__version__
    assert found["num_workers"] == 0 and found["pin_memory"] is False
    assert {"gpus", "python", "cuda", "cudnn", "threads"} < found.keys()
    for gpu in found["gpus"]:
        assert gpu["name"] and gpu["memory_bytes"] > 0


def test_a_real_run_fills_them_all():
    trainer = trainer_of(steered(), evaluate_test=True)
    state = trainer.run()
    metrics = runtime_metrics(trainer, [])
    assert metrics["train_seconds"] == sum(state.train_seconds) <= sum(state.epoch_seconds)
    assert metrics["train_steps_per_second"] == state.step / metrics["train_seconds"]
    assert metrics["aees_overhead_metadata"]["episodes"] == 4
    assert metrics["peak_memory_bytes"] is None
    assert 0 < metrics["final_test_accuracy"] <= 1
