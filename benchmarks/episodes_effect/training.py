"""Training many members at once: one flat matrix of parameters, one row per member.

Members are ordered rate-major: member `r * seeds + s` trains seed `s` at the `r`-th rate. All members of a
seed see the same batches from the same initialisation. SGD and AdamW are written out, because rates differ
from member to member; Schedule-Free and Prodigy are the packages themselves, on rows of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor

from benchmarks.episodes_effect.rules import Floats, Rule, Signals
from benchmarks.episodes_effect.tasks import (
    Data,
    EffectTask,
    Params,
    Split,
    batch_rows,
    member_inputs,
    noisy_labels,
)
from hypernudge.tasks.networks.batched import BatchedChain

EVALUATED_AT_ONCE = 1 << 21  # inputs of an evaluation that are held at a time


class Update(Protocol):
    """An update rule on the matrix of parameters, `(members, n)`."""

    def step(self, parameters: Tensor, gradients: Tensor, rates: Tensor) -> Tensor | None:
        """Change `parameters` in place at `rates` `(members, 1)`; return the change where it is at hand."""
        ...

    def finish(self, parameters: Tensor) -> None:
        """Put the parameters to be evaluated in place."""
        ...


class SGD:
    """Heavy-ball momentum 0.9, as `torch.optim.SGD`."""

    def __init__(self) -> None:
        self._velocity: Tensor | None = None

    def step(self, parameters: Tensor, gradients: Tensor, rates: Tensor) -> Tensor:
        """Take a step; return the change."""
        if self._velocity is None:
            self._velocity = gradients.clone()
        else:
            self._velocity.mul_(0.9).add_(gradients)
        change = self._velocity * -rates
        parameters.add_(change)
        return change

    def finish(self, parameters: Tensor) -> None:
        """Do nothing."""


class AdamW:
    """Adam with decoupled weight decay 0.01 and the usual betas, as `torch.optim.AdamW`."""

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._second: Tensor | None = None
        self._steps = 0

    def step(self, parameters: Tensor, gradients: Tensor, rates: Tensor) -> Tensor:
        """Take a step; return the change."""
        if self._first is None or self._second is None:
            self._first, self._second = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self._steps += 1
        self._first.lerp_(gradients, 0.1)
        self._second.mul_(0.999).addcmul_(gradients, gradients, value=0.001)
        root = self._second.sqrt().div_(math.sqrt(1.0 - 0.999**self._steps)).add_(1e-8)
        change = torch.div(self._first, root, out=root).mul_(rates / -(1.0 - 0.9**self._steps))
        change.addcmul_(parameters, rates * -0.01)
        parameters.add_(change)
        return change

    def finish(self, parameters: Tensor) -> None:
        """Do nothing."""


class Packaged:
    """Optimizers of a package, each on a block of rows; what they need besides a rate is theirs to know.

    Args:
        build: Makes an optimizer of a list of parameters.
        blocks: Rows of each optimizer.
        shapes: Of the parameters that a row is cut into, for optimizers that look at them; each block is one
            row then. None hands a block over as one parameter.
        factor: The optimizer's own rate is multiplied by this function of the step; None leaves it constant.
    """

    def __init__(
        self,
        build: Callable[[list[Tensor], int], Any],
        blocks: Sequence[slice],
        *,
        shapes: Sequence[torch.Size] | None = None,
        factor: Callable[[int], float] | None = None,
    ) -> None:
        self._build, self._blocks, self._shapes, self._factor = build, list(blocks), shapes, factor
        self._optimizers: list[Any] = []
        self._leaves: list[list[Tensor]] = []
        self._rates: list[float] = []
        self._steps = 0

    def step(self, parameters: Tensor, gradients: Tensor, rates: Tensor) -> None:
        """Let every optimizer take its step at its own rate."""
        del rates
        if not self._optimizers:
            self._leaves = [self._cut(parameters[rows]) for rows in self._blocks]
            self._optimizers = [self._build(leaves, index) for index, leaves in enumerate(self._leaves)]
            self._rates = [optimizer.param_groups[0]["lr"] for optimizer in self._optimizers]
            self._mode("train")
        for index, optimizer in enumerate(self._optimizers):
            if self._factor is not None:
                optimizer.param_groups[0]["lr"] = self._rates[index] * self._factor(self._steps)
            pieces = self._cut(gradients[self._blocks[index]])
            for leaf, piece in zip(self._leaves[index], pieces, strict=True):
                leaf.grad = piece
            optimizer.step()
        self._steps += 1

    def finish(self, parameters: Tensor) -> None:
        """Switch to the parameters that the method evaluates, where it has others than it trains."""
        del parameters
        self._mode("eval")

    def _cut(self, rows: Tensor) -> list[Tensor]:
        if self._shapes is None:
            return [rows]
        pieces = rows.squeeze(0).split([shape.numel() for shape in self._shapes])  # type: ignore[no-untyped-call]
        return [piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def _mode(self, name: str) -> None:
        for optimizer in self._optimizers:
            if hasattr(optimizer, name):
                getattr(optimizer, name)()


@dataclass(frozen=True)
class Outcome:
    """What came of the members: accuracies in percent and the last multipliers, all of shape `(members,)`."""

    validation: Floats
    test: Floats
    multipliers: Floats


def train(
    task: EffectTask,
    data: Data,
    *,
    seeds: Sequence[int],
    rates: Sequence[float],
    noise: float,
    update: Update,
    rule: Rule,
    dtype: torch.dtype = torch.float32,
    watch: Callable[[int, Floats], None] | None = None,
) -> Outcome:
    """Train every seed at every rate; return the accuracies after the last step.

    Args:
        task: What is trained.
        data: Its data.
        seeds: Seeds; members of a seed share initialisation, batches and label noise.
        rates: Base learning rates.
        noise: Share of the training labels that are wrong.
        update: Update rule.
        rule: Sets multipliers of the base rates.
        dtype: Floating-point type of the training.
        watch: Called with the step and its multipliers, for tests.
    """
    members = len(seeds) * len(rates)
    flat, params = _stack([task.init(data, seed, dtype) for seed in seeds], len(rates))
    forward = task.forward(data)
    labels = torch.stack(
        [noisy_labels(data.train.y, data.classes, noise, seed) if noise else data.train.y for seed in seeds]
    )
    rows = batch_rows(len(data.train.y), task.batch, task.steps, seeds)
    base = torch.tensor(rates, dtype=torch.float64).repeat_interleave(len(seeds))
    inputs = (
        data.train if not data.train.x.is_floating_point() else Split(data.train.x.to(dtype), data.train.y)
    )
    change: Tensor | None = None
    multipliers = np.ones(members)
    for step in range(task.steps):
        multipliers = rule.before(step)
        if watch is not None:
            watch(step, multipliers)
        x, _ = member_inputs(inputs, rows[step])
        y = labels.gather(1, rows[step])
        losses, gradients = _gradients(
            forward, params, _every_rate(x, len(rates)), _every_rate(y, len(rates))
        )
        signals = _signals(gradients, change, flat, rule)
        scaled = (base * torch.from_numpy(multipliers)).to(dtype).unsqueeze(1)
        with torch.no_grad():
            change = update.step(flat, gradients, scaled)
        rule.after(losses, signals)
    update.finish(flat)
    with torch.no_grad():
        scores = [
            _accuracies(forward, params, part, data.classes, dtype) for part in (data.validation, data.test)
        ]
    return Outcome(scores[0], scores[1], np.array(multipliers))


def _stack(members: Sequence[Params], copies: int) -> tuple[Tensor, Params]:
    """Return the matrix of parameters, `(copies * members, n)`, and its pieces by name as leaves."""
    flat = torch.stack([torch.cat([value.flatten() for value in params.values()]) for params in members])
    flat = flat.repeat(copies, 1)
    params: Params = {}
    at = 0
    for name, value in members[0].items():
        piece = flat[:, at : at + value.numel()].view(len(flat), *value.shape)
        params[name] = piece.requires_grad_()
        at += value.numel()
    return flat, params


def _every_rate(x: Tensor, copies: int) -> Tensor:
    return x.repeat(copies, *([1] * (x.dim() - 1)))


def _gradients(
    forward: Callable[[Params, Tensor], Tensor], params: Params, x: Tensor, y: Tensor
) -> tuple[Floats, Tensor]:
    """Return every member's loss, `(members,)`, and gradient, `(members, n)`."""
    if isinstance(forward, BatchedChain):
        with torch.no_grad():
            logits, tape = forward.forward(params, x)
            log_p = F.log_softmax(logits, dim=1)
            losses = -log_p.gather(1, y.unsqueeze(1)).mean((1, 2))
            hit = torch.zeros_like(log_p).scatter_(1, y.unsqueeze(1), 1.0)
            grads = forward.backward(params, tape, log_p.exp_().sub_(hit).div_(y.shape[-1]))
        pieces = tuple(grads[name] for name in params)
    else:
        log_p = F.log_softmax(forward(params, x), dim=1)
        losses = -log_p.gather(1, y.unsqueeze(1)).mean((1, 2))
        pieces = torch.autograd.grad(losses.sum(), list(params.values()))
    gradients = torch.cat([piece.flatten(1) for piece in pieces], dim=1)
    return losses.detach().double().numpy(), gradients


def _signals(gradients: Tensor, change: Tensor | None, flat: Tensor, rule: Rule) -> Signals:
    if rule.wants == "nothing":
        return Signals()
    if change is None:
        unknown = np.full(len(gradients), np.nan)
        return Signals(unknown, unknown)
    dot, own, moved = ((a * b).sum(1, dtype=torch.float64) for a, b in _pairs(gradients, change))
    cosines: Floats = (-dot / torch.sqrt(own * moved)).numpy()
    if rule.wants == "cosines":
        return Signals(cosines)
    held = flat.detach().square().sum(1, dtype=torch.float64)
    return Signals(cosines, torch.sqrt(moved / held).numpy())


def _pairs(gradients: Tensor, change: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(gradients, change), (gradients, gradients), (change, change)]


def _accuracies(
    forward: Callable[[Params, Tensor], Tensor], params: Params, part: Split, classes: int, dtype: torch.dtype
) -> Floats:
    """Return accuracies in percent; a member whose outputs are not finite is at chance."""
    first = next(iter(params.values()))
    members = len(first)
    hits = torch.zeros(members, dtype=torch.float64)
    finite = torch.ones(members, dtype=torch.bool)
    size = max(1, EVALUATED_AT_ONCE // (members * math.prod(part.x.shape[1:])))
    for start in range(0, len(part.y), size):
        x, y = member_inputs(part, torch.arange(start, min(start + size, len(part.y))))
        x = x.to(dtype) if x.is_floating_point() else x
        logits = forward(params, x.unsqueeze(0))
        finite &= torch.isfinite(logits).flatten(1).all(1)
        hits += (logits.argmax(1) == y).sum(1)
    accuracies: Floats = (100.0 * torch.where(finite, hits / len(part.y), 1.0 / classes)).numpy()
    return accuracies
