"""Trials of like shape trained together for one unit: one set of operations for all of them.

Parameters, momentum and buffers of a member are rows; a cohort stacks them, trains, and writes them back only
when the whole unit went well. So an exception leaves every member where it was, and the caller can train
them one by one instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hypernudge.batching import stacked_values
from hypernudge.engine.layout import Layout
from hypernudge.optimizers import SGD, Optimizer, Params
from hypernudge.space import Value
from hypernudge.task import BatchedTask, GradientTask, TrainingState
from hypernudge.workspace import Workspace


@dataclass(frozen=True)
class Shape:
    """What must be equal for members to train together: the layouts of all that they carry."""

    params: Layout
    moments: Layout
    buffers: Layout


@dataclass
class Member:
    """A trial's training state in rows."""

    seed: int
    step: int
    params: Tensor
    moments: Tensor
    buffers: Tensor


def shape_of(task: GradientTask, state: TrainingState) -> Shape | None:
    """Return the shape of a trial's state; None if it cannot be stacked.

    That is so with mixed or whole-number types, and where a task wants its trials one at a time.
    """
    if task.one_at_a_time:
        return None
    trained = task.trained(state.params)
    rest = {name: value for name, value in state.params.items() if name not in trained}
    layouts = [Layout.of(tensors) for tensors in (trained, state.optimizer_state, rest)]
    params, moments, buffers = layouts
    return Shape(params, moments, buffers) if params and moments and buffers else None


def member_of(state: TrainingState, shape: Shape, device: torch.device) -> Member:
    """Return the state in rows."""
    return Member(
        state.seed,
        state.step,
        shape.params.row(state.params, device),
        shape.moments.row(state.optimizer_state, device),
        shape.buffers.row(state.params, device),
    )


def state_of(member: Member, shape: Shape) -> TrainingState:
    """Return a copy of the member as the state of a single trial, on the CPU."""
    params = {**shape.params.views(member.params), **shape.buffers.views(member.buffers)}
    moments = shape.moments.views(member.moments)
    return TrainingState(
        {name: value.cpu().clone() for name, value in params.items()},
        {name: value.cpu().clone() for name, value in moments.items()},
        member.seed,
        member.step,
    )


def train_unit(
    task: GradientTask,
    batched: BatchedTask,
    shape: Shape,
    members: Sequence[Member],
    configs: Sequence[Mapping[str, Value]],
    work: Workspace,
) -> list[bool]:
    """Train every member for one unit; return which of them have finite losses.

    Raises:
        Exception: Whatever the task raises for any member; no member has moved then.
    """
    params = torch.stack([member.params for member in members])
    moments = torch.stack([member.moments for member in members])
    buffers = torch.stack([member.buffers for member in members])
    hp = stacked_values(configs, params.dtype, params.device, int | float)
    floats = {name: hp[name] for name, value in configs[0].items() if isinstance(value, float)}
    rule = task.optimizer
    sgd = rule if type(rule) is SGD and rule.decay == "all" else None  # rows do not know dimensions
    named, named_buffers = shape.params.views(params), shape.buffers.views(buffers)
    total = params.new_zeros(len(members))
    gradient = torch.empty_like(params)
    seeds, steps = [member.seed for member in members], [member.step for member in members]
    for batch in batched.batches(seeds, steps, task.steps_per_unit, floats, work):
        losses, grads, changed = batched.gradients(named, named_buffers, batch, floats, work)
        with torch.no_grad():
            idle = _idle(shape, params, moments, grads) if len(grads) < len(named) else []
            parts = [grads[name] if name in grads else torch.zeros_like(w) for name, w in named.items()]
            torch.cat([part.reshape(len(members), -1) for part in parts], dim=1, out=gradient)
            if sgd is not None:
                sgd_step_(sgd, params, gradient, moments, hp)
            else:
                vmap_step_(task.optimizer, shape, params, gradient, moments, hp)
            for view, value in idle:
                view.copy_(value)
            for name, value in changed.items():
                named_buffers[name].copy_(value.detach())
            total += losses
    finite = torch.isfinite(total).tolist()
    for i, member in enumerate(members):
        member.params, member.moments = params[i].clone(), moments[i].clone()
        member.buffers = buffers[i].clone()
        member.step += task.steps_per_unit
    return finite


def _idle(shape: Shape, params: Tensor, moments: Tensor, grads: Params) -> list[tuple[Tensor, Tensor]]:
    """Return views of what the loss does not use, moments included, with their values: a step leaves them."""
    names = shape.params.names
    views = [(name, view) for name, view in shape.params.views(params).items()]
    for name, view in shape.moments.views(moments).items():  # they are called `NAME` or `KIND/NAME`
        views.append((name if name in names else name.partition("/")[2], view))
    return [(view, view.clone()) for name, view in views if name in names and name not in grads]


def train_single(
    task: GradientTask, batched: BatchedTask, state: TrainingState, config: Mapping[str, Value]
) -> bool:
    """Train one trial's state in place for one unit as a cohort of one; return False if it diverged.

    Raises:
        TypeError: If the state cannot be laid out in rows, see `shape_of`.
    """
    shape = shape_of(task, state)
    if shape is None:
        raise TypeError(f"{task.name}: parameters must have one floating-point type to be trained in a batch")
    member = member_of(state, shape, torch.device("cpu"))
    (finite,) = train_unit(task, batched, shape, [member], [config], Workspace())
    after = state_of(member, shape)
    state.params, state.optimizer_state, state.step = after.params, after.optimizer_state, after.step
    return finite


def sgd_step_(sgd: SGD, w: Tensor, g: Tensor, v: Tensor, hp: Params) -> None:
    """Do `SGD.update_` in place on `(members, size)` with one learning rate, momentum and decay for each.

    A momentum or decay that the space lacks costs nothing.
    """
    lr = hp["lr"].unsqueeze(1)
    momentum, decay = hp.get("momentum"), hp.get("weight_decay")
    if momentum is None:
        v.copy_(g)
    else:
        torch.addcmul(g, v, momentum.unsqueeze(1), out=v)
    if decay is not None and sgd.decoupled:
        w.mul_((1.0 - hp["lr"] * decay).unsqueeze(1))
    elif decay is not None:
        v.addcmul_(w, decay.unsqueeze(1))
    w.addcmul_(v, lr, value=-1.0)


def vmap_step_(optimizer: Optimizer, shape: Shape, w: Tensor, g: Tensor, state: Tensor, hp: Params) -> None:
    """Do any optimizer's pure `update` for all members through `torch.vmap`, and write the result back."""
    params, grads, moments = shape.params.views(w), shape.params.views(g), shape.moments.views(state)
    new_params, new_moments = torch.vmap(optimizer.update)(params, grads, moments, hp)
    for name, value in params.items():
        value.copy_(new_params[name])
    for name, value in moments.items():
        value.copy_(new_moments[name])
