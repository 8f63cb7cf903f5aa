"""Shared tools of the tests: a task that trains in microseconds, and one thread for all of PyTorch."""

import pytest
import torch

from hypernudge import GradientTask, Real, SearchSpace

torch.set_num_threads(1)


def pytest_configure():
    """No example of Hypothesis fails because the machine is busy. Imported here: workers import this file."""
    from hypothesis import HealthCheck, settings

    settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("tests")


@pytest.fixture(autouse=True)
def one_thread():
    """Each test begins with one thread, whatever a command that ran in this process has set."""
    torch.set_num_threads(1)


class Bowl(GradientTask):
    """Linear regression on four features in float64; the score is minus the noise-free squared error."""

    name, metric, metric_range = "bowl", "negative squared error", (-float("inf"), 0.0)
    batch_size, steps_per_unit = 8, 5

    def __init__(self, dtype=torch.float64):
        self.space = SearchSpace(
            [
                Real("lr", 1e-4, 1.0, log=True),
                Real("weight_decay", 1e-6, 1e-1, log=True),
                Real("momentum", 0.0, 0.99),
                Real("augmentation", 0.0, 1.0),
                Real("label_smoothing", 0.0, 0.3),
            ]
        )
        self.dtype = dtype
        self.truth = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=dtype)

    def init(self, seed):
        generator = torch.Generator().manual_seed(seed % 2**62)
        return {"w": torch.randn(4, generator=generator, dtype=self.dtype)}

    def batch(self, seed, step):
        generator = torch.Generator().manual_seed((seed * 31 + step) % 2**62)
        x = torch.randn(8, 4, generator=generator, dtype=self.dtype)
        return {"x": x, "noise": torch.randn(8, 4, generator=generator, dtype=self.dtype)}

    def loss(self, params, batch, hp):
        x = batch["x"] + hp["augmentation"] * batch["noise"]
        error = x @ params["w"] - batch["x"] @ self.truth
        return (error**2).mean() + hp["label_smoothing"] * error.mean().tanh()

    def score(self, params, split):
        return -float(((params["w"] - self.truth) ** 2).sum())


@pytest.fixture
def bowl():
    return Bowl()
