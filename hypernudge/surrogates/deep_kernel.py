"""A Gaussian process on features of a configuration, its budget and its learning curve so far.

Wistuba, Kadra, Grabocka: Supervising the Multi-Fidelity Race of Hyperparameter Configurations, NeurIPS 2022,
section 4 (the surrogate of DyHPO).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from hypernudge.random import torch_stream

JITTER = 1e-5


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: for matrices this small, others only wait; and results do not depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Inputs:
    """What is known before a unit: features `(n, d)`, budgets `(n,)` in (0, 1], curves `(n, t)`, 0-padded."""

    x: np.ndarray
    budgets: np.ndarray
    curves: np.ndarray

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return configuration with budget, `(n, d + 1)`, and curves, `(n, 1, t)`."""
        joined = np.column_stack([self.x, self.budgets])
        return torch.from_numpy(joined).float(), torch.from_numpy(self.curves).float()[:, None]

    def take(self, rows: np.ndarray) -> Inputs:
        """Return some rows."""
        return Inputs(self.x[rows], self.budgets[rows], self.curves[rows])


def _empty(layer: type[nn.Module], *sizes: int) -> Any:
    """Return a layer whose weights are not set, so that the global generator is not touched."""
    return skip_init(layer, *sizes)  # type: ignore[no-untyped-call]


class Extractor(nn.Module):
    """phi: `[x, budget]` to 64 normalised features, joined with 4 of the curve, to 128."""

    def __init__(self, columns: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = _empty(nn.Linear, columns, 64)
        self.norm = nn.BatchNorm1d(64)
        self.convolution = _empty(nn.Conv1d, 1, 4, 3)
        self.last = _empty(nn.Linear, 64 + 4, 128)
        with torch.no_grad():  # PyTorch's own initialisation, from a generator of ours
            for layer in (self.first, self.convolution, self.last):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, joined: Tensor, curves: Tensor) -> Tensor:
        """Return features `(n, 128)`."""
        own = nn.functional.leaky_relu(self.norm(self.first(joined)))
        of_curve = self.convolution(curves).amax(dim=2)
        joined_features: Tensor = self.last(torch.cat([own, of_curve], dim=1))
        return nn.functional.leaky_relu(joined_features)


class DeepKernel(nn.Module):
    """Constant mean and scaled squared-exponential kernel on the extractor's features.

    Args:
        columns: Features of a configuration, `d`.
        seed: Of the initial weights.
    """

    def __init__(self, columns: int, seed: int) -> None:
        super().__init__()
        self.extractor = Extractor(columns + 1, torch_stream(seed, "extractor"))
        self.mean = nn.Parameter(torch.zeros(()))
        self.raw = nn.Parameter(torch.zeros(3))  # softplus of it: scale, length, noise

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        scale, length, _ = nn.functional.softplus(self.raw)
        square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        kernel: Tensor = scale * torch.exp(-0.5 * square.clamp_min(0.0) / length**2)
        return kernel

    def _factor(self, phi: Tensor) -> Tensor:
        noise = nn.functional.softplus(self.raw[2]) + 1e-4
        kernel = self._kernel(phi, phi) + (noise + JITTER) * torch.eye(len(phi), dtype=phi.dtype)
        factor: Tensor = torch.linalg.cholesky_ex(kernel)[0]
        return factor

    @one_thread()
    def optimise(self, inputs: Inputs, y: np.ndarray, epochs: int, rate: float = 1e-3) -> None:
        """Take `epochs` full-batch steps of Adam on the marginal likelihood of values `y` `(n,)`."""
        joined, curves = inputs.tensors()
        target = torch.from_numpy(y).double()
        parameters: list[Tensor] = list(self.parameters())
        first = [torch.zeros_like(p) for p in parameters]
        second = [torch.zeros_like(p) for p in parameters]
        self.train()
        for step in range(1, epochs + 1):
            factor = self._factor(self.extractor(joined, curves).double())
            residual = (target - self.mean)[:, None]
            white = torch.linalg.solve_triangular(factor, residual, upper=False)
            loss = (0.5 * (white**2).sum() + factor.diagonal().log().sum()) / len(target)
            if not torch.isfinite(loss):  # keeps the last parameters that worked
                break
            gradients = list(torch.autograd.grad(loss, parameters))
            with torch.no_grad():  # Adam by hand: importing torch.optim takes seconds
                torch._foreach_lerp_(first, gradients, 0.1)
                torch._foreach_mul_(second, 0.999)
                torch._foreach_addcmul_(second, gradients, gradients, 0.001)
                denominator = torch._foreach_sqrt(second)
                torch._foreach_div_(denominator, math.sqrt(1 - 0.999**step))
                torch._foreach_add_(denominator, 1e-8)
                torch._foreach_addcdiv_(parameters, first, denominator, -rate / (1 - 0.9**step))
        self.eval()

    @one_thread()
    @torch.no_grad()
    def predict(self, known: Inputs, y: np.ndarray, at: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation at `at`, `(m,)` each, given values `y` of `known`."""
        phi = self.extractor(*known.tensors()).double()
        there = self.extractor(*at.tensors()).double()
        factor = self._factor(phi)
        residual = (torch.from_numpy(y).double() - self.mean)[:, None]
        across = self._kernel(phi, there)
        half = torch.linalg.solve_triangular(factor, torch.cat([residual, across], dim=1), upper=False)
        mean = self.mean + half[:, 1:].T @ half[:, 0]
        variance = nn.functional.softplus(self.raw[0]) - (half[:, 1:] ** 2).sum(0)
        return mean.double().numpy(), variance.clamp_min(1e-12).sqrt().numpy()
