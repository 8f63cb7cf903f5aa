"""What a hyper-gradient is the gradient *of*: scalar functions of the hyper-parameters.

Each builder takes a task, parameters and mini-batches and returns a pure function from natural
hyper-parameter values (0-dimensional tensors) to a scalar loss. `reverse`, `forward` and
`finite_differences` differentiate any of them, so that the three can be compared.

Costs in forward/backward equivalents, differentiated in reverse: direct 1, look-ahead about 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hypernudge.hypergradient.attention import twice_differentiable
from hypernudge.optimizers import Optimizer, Params, decays, setting
from hypernudge.task import Batch, GradientTask

Objective = Callable[[Mapping[str, Any]], Tensor]
Loss = Callable[[Params, Batch, Mapping[str, Any]], Tensor]


class HasLoss(Protocol):
    """A `GradientTask`, or many trials of one as one (`VmapTask`): then every tensor has the member first."""

    optimizer: Optimizer

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the training loss, a scalar."""
        ...


def gather_batch(task: GradientTask, seed: int, first_step: int, size: int) -> Batch:
    """Join as many consecutive mini-batches of a trial as `size` samples need, and cut at `size`.

    A warm start's batch size is its own, not the training's; the data are the first that training will see.
    """
    batches = [task.batch(seed, first_step)]
    while sum(_length(batch) for batch in batches) < size:
        batches.append(task.batch(seed, first_step + len(batches)))
    return {name: torch.cat([batch[name] for batch in batches])[:size] for name in batches[0]}


def _length(batch: Batch) -> int:
    return next(iter(batch.values())).shape[0]


def gradient(task: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Params:
    """Gradient of the training loss with respect to the parameters, itself differentiable.

    Plain autograd rather than `torch.func.grad`, whose first call imports the compiler (five seconds).
    Attention is computed by plain operations, for fused ones cannot be differentiated again.
    """
    tracked = {name: w if w.requires_grad else w.detach().requires_grad_(True) for name, w in params.items()}
    # A parameter that the loss does not use has gradient zero.
    with twice_differentiable():
        loss = task.loss(tracked, batch, hp)
    grads = torch.autograd.grad(loss, list(tracked.values()), create_graph=True, materialize_grads=True)
    return dict(zip(tracked, grads, strict=True))


def spread(value: Any, like: Tensor) -> Any:
    """Return `value` so that it multiplies `like`: a number as it is, `(members,)` member by member."""
    stacked = isinstance(value, Tensor) and value.dim() > 0
    return value.reshape(-1, *[1] * (like.dim() - 1)) if stacked else value


def _decays(task: HasLoss, w: Tensor) -> bool:
    return decays(task.optimizer, w.dim() - getattr(task, "extra_dimensions", 0))


def direct(task: HasLoss, params: Params, batch: Batch, last: Loss | None = None) -> Objective:
    """One batch's loss with its L2 penalty, as it stands: `L(w; hp) + weight_decay/2 |w|^2`.

    Learning rate and momentum do not enter, so their hyper-gradient is exactly zero. With `last`, the losses
    of a `VmapTask`'s members one by one, the objective is that of each, `(members,)`.
    """

    def objective(hp: Mapping[str, Any]) -> Tensor:
        decay = setting(hp, "weight_decay")
        shrinking = [w.detach() for w in params.values() if _decays(task, w)]
        if last is not None:
            squares = [(0.5 * spread(decay, w) * w**2).reshape(len(w), -1).sum(1) for w in shrinking]
            losses = last(params, batch, hp)
            return losses + torch.stack(squares).sum(0) if squares else losses
        penalties = [(0.5 * spread(decay, w) * w**2).sum() for w in shrinking]
        loss = task.loss(params, batch, hp)
        return loss + torch.stack(penalties).sum() if penalties else loss

    return objective


def lookahead(task: HasLoss, params: Params, batches: Sequence[Batch], last: Loss | None = None) -> Objective:
    """The second batch's loss after one step on the first (Baydin et al. 2018, in its one-step form).

    The step is `w - r * (d + weight_decay * w)` with the optimizer's effective rate `r` and first direction
    `d`; for SGD `r = lr/(1 - momentum)` and `d = g`: from a standing start the momentum buffer is empty and
    momentum would have no effect at all, so it enters as the step length it leads to. `last` as in `direct`.
    """
    first, second = batches

    def objective(hp: Mapping[str, Any]) -> Tensor:
        step = task.optimizer.effective_rate(hp)
        decay = setting(hp, "weight_decay")
        d = task.optimizer.direction(gradient(task, params, first, hp))
        moved = {
            n: w - spread(step, w) * (d[n] + spread(decay, w) * w if _decays(task, w) else d[n])
            for n, w in params.items()
        }
        return (last or task.loss)(moved, second, hp)

    return objective
