"""Members trained together against an ordinary loop, with and without CUDA graphs.

The engine captures no graph: `graph` says what one would give to the part of its step that could be captured,
gradients and update on mini-batches at hand, and to an ordinary loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.engine.workloads import members_of
from benchmarks.gpu.timing import interleaved, summary
from hypernudge.batching import stacked_values
from hypernudge.engine.cohort import sgd_step_, shape_of
from hypernudge.engine.trainer import Population
from hypernudge.optimizers import SGD
from hypernudge.tasks.builtin import supervised
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.supervised.augment import translate
from hypernudge.tasks.supervised.supervised import SupervisedTask
from hypernudge.workspace import Workspace

MODELS: dict[str, dict[str, Any]] = {
    "digits_mlp": {"name": "mlp", "hidden": [32]},
    "digits_cnn": {"name": "cnn"},
}
MEMBERS = (1, 64, 1024)
HP = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "label_smoothing": 0.1, "augmentation": 0.5}


def measure(device: torch.device, limit: float, tiny: bool) -> dict[str, Any]:
    """Return milliseconds of a member's step: of both, by members, captured or not."""
    names = list(MODELS)[:1] if tiny else list(MODELS)
    members = (1, 2, 4) if tiny else MEMBERS
    found = {name: _measure(name, members, device, limit / len(names), tiny) for name in names}
    return {"members": list(members), "engine_captures_graphs": False, "tasks": found}


def _measure(
    name: str, members: tuple[int, ...], device: torch.device, limit: float, tiny: bool
) -> dict[str, Any]:
    task = supervised("digits", MODELS[name], batch_size=32, steps_per_unit=2 if tiny else 40, label=name)
    steps, rounds = task.steps_per_unit, 2 if tiny else 15
    population = Population(task, device=str(device))
    cohorts = {count: members_of(task, count) for count in members}
    works: dict[str, Callable[[], Any]] = {"loop": ordinary_loop(task, MODELS[name], device)}
    works |= {f"engine {count}": partial(population.train, cohort) for count, cohort in cohorts.items()}
    seconds = interleaved(works, device, 0.6 * limit, rounds)
    errors = [member.error for cohort in cohorts.values() for member in cohort if member.error]
    if errors:  # what raises is quickly done, and no measurement
        raise RuntimeError(errors[0])
    result: dict[str, Any] = {"loop": summary(seconds["loop"], steps)}
    for count in members:
        each = summary(seconds[f"engine {count}"], steps * count)
        result[f"engine {count}"] = {**each, "ratio": result["loop"]["median_ms"] / each["median_ms"]}
    inner: dict[str, Callable[[], Any]] = {"loop": loop_step(task, MODELS[name], device)}
    inner |= {f"engine {count}": cohort_step(task, count, device) for count in members}
    result["graph"] = _graphs(
        inner, dict(zip(inner, (1, *members), strict=True)), device, 0.4 * limit, rounds
    )
    return result


def _placed(task: SupervisedTask, model: dict[str, Any], device: torch.device) -> tuple[nn.Module, Any]:
    module = build_network(model, task.dataset.shape, task.dataset.classes).to(device)
    optimizer = torch.optim.SGD(
        module.parameters(), HP["lr"], HP["momentum"], weight_decay=HP["weight_decay"], foreach=True
    )
    return module, optimizer


def ordinary_loop(task: SupervisedTask, model: dict[str, Any], device: torch.device) -> Callable[[], None]:
    """Return what trains one trial for one unit and scores it, as one would write it by hand."""
    module, optimizer = _placed(task, model, device)
    held_out = {
        part: (task.inputs(part).to(device), task.labels(part).to(device)) for part in ("validation", "test")
    }
    position = 0

    def unit() -> None:
        nonlocal position
        module.train()
        for _ in range(task.steps_per_unit):
            batch = {
                key: value.to(device, non_blocking=True) for key, value in task.batch(0, position).items()
            }
            x = translate(batch["x"], batch["noise"], HP["augmentation"])
            loss = F.cross_entropy(module(x), batch["y"], label_smoothing=HP["label_smoothing"])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            position += 1
        module.eval()
        with torch.no_grad():
            for x, y in held_out.values():
                float((module(x).argmax(-1) == y).double().mean())

    return unit


def loop_step(task: SupervisedTask, model: dict[str, Any], device: torch.device) -> Callable[[], None]:
    """Return gradients and update of one trial on a mini-batch at hand."""
    module, optimizer = _placed(task, model, device)
    batch = {key: value.to(device) for key, value in task.batch(0, 0).items()}
    x = translate(batch["x"], batch["noise"], HP["augmentation"])

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(module(x), batch["y"], label_smoothing=HP["label_smoothing"])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def cohort_step(task: SupervisedTask, count: int, device: torch.device) -> Callable[[], None]:
    """Return gradients and update of a cohort on mini-batches at hand, as the engine makes them."""
    trajectories = members_of(task, count)
    states = [task.start(trajectory.seed) for trajectory in trajectories]
    shape = shape_of(task, states[0])
    rule, batched = task.optimizer, task.batched(device, {})
    assert shape is not None and batched is not None and isinstance(rule, SGD)
    params = torch.stack([shape.params.row(state.params, device) for state in states])
    moments = torch.stack([shape.moments.row(state.optimizer_state, device) for state in states])
    configs = [trajectory.config for trajectory in trajectories]
    hp = stacked_values(configs, params.dtype, device)
    named, gradient, work = shape.params.views(params), torch.empty_like(params), Workspace()
    seeds = [trajectory.seed for trajectory in trajectories]
    batch = next(iter(batched.batches(seeds, [0] * count, 1, hp, work)))
    batch = {key: value.clone() for key, value in batch.items()}

    def step() -> None:
        with torch.no_grad():
            _, grads, _ = batched.gradients(named, {}, batch, hp, work)
            torch.cat([grads[key].reshape(count, -1) for key in named], dim=1, out=gradient)
            sgd_step_(rule, params, gradient, moments, hp)

    return step


def _graphs(
    steps: dict[str, Callable[[], Any]],
    members: dict[str, int],
    device: torch.device,
    limit: float,
    rounds: int,
) -> dict[str, Any]:
    works: dict[str, Callable[[], Any]] = dict(steps)
    missing: dict[str, str] = {}
    for name, step in steps.items():
        if device.type != "cuda":
            missing[name] = f"no CUDA graph on {device.type}"
            continue
        try:
            works[f"{name} captured"] = captured(step)
        except RuntimeError as error:  # something in it cannot be captured: that is a result
            missing[name] = str(error).splitlines()[0]
    seconds = interleaved(works, device, limit, rounds)
    result: dict[str, Any] = {}
    for name in steps:
        on = seconds.get(f"{name} captured")
        off = summary(seconds[name], members[name])
        result[name] = {"off": off, "on": summary(on, members[name]) if on else missing[name]}
    return result


def captured(step: Callable[[], Any]) -> Callable[[], None]:
    """Return the replay of a step: captured after a few runs on another stream, as PyTorch asks for.

    Raises:
        RuntimeError: If it waits for the device, or does something else that cannot be captured.
    """
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
