"""Samples per second of `ModuleTask` over an ordinary PyTorch loop: is there a tax on training through it?

    python -m benchmarks.module_task [--json] [--steps 10] [--rounds 7] [--threads N] [--tasks resnet20 lm]

Both train the same model with the same optimizer, schedule and data in memory; the ordinary loop seeds
nothing and saves nothing. Unit by unit in turn, the first of each not counted; the ratio is that of the
medians. A unit of `ModuleTask` includes everything but the score.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hypernudge.harness.cells.provenance import provenance
from hypernudge.space import Real, SearchSpace
from hypernudge.tasks.language.transformer import TransformerLM
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.vision.resnet import resnet20

HP = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
SPACE = SearchSpace(
    [Real("lr", 1e-4, 1.0, log=True), Real("momentum", 0.0, 0.99), Real("weight_decay", 1e-6, 1e-1, log=True)]
)
TASKS = ("resnet20", "lm")
SAMPLES = {"resnet20": 128, "lm": 32}  # of a batch
Data = tuple[Tensor, Tensor]


def workload(name: str) -> tuple[Callable[[Any], nn.Module], Data, Callable[..., Tensor], str]:
    """Return model, data, loss and optimizer: random inputs, for only time counts."""
    drawn = torch.Generator().manual_seed(0)
    if name == "resnet20":
        x = torch.randn(2048, 3, 32, 32, generator=drawn)
        return lambda hp: resnet20(), (x, torch.randint(10, (2048,), generator=drawn)), classify, "sgd"
    tokens = torch.randint(2048, (1024, 129), generator=drawn)
    windows = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    return lambda hp: TransformerLM((128,), 2048, 128, 4, 4, dropout=0.1), windows, predict, "adamw"


def classify(model: nn.Module, batch: Any, hp: Any) -> Tensor:
    """Return the cross-entropy of labels."""
    return F.cross_entropy(model(batch[0]), batch[1])


def predict(model: nn.Module, batch: Any, hp: Any) -> Tensor:
    """Return the cross-entropy of next tokens."""
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def ordinary(name: str, steps: int, units: int, device: torch.device) -> Callable[[], None]:
    """Return what trains one unit in an ordinary loop."""
    build, (x, y), loss_of, rule = workload(name)
    torch.manual_seed(0)
    model = build(HP).to(device)
    lr, momentum, decay = HP.values()
    optimizer: torch.optim.Optimizer
    if rule == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=decay, fused=True)
    else:
        optimizer = torch.optim.AdamW(
            model.parameters(), lr, (momentum, 0.999), weight_decay=decay, fused=True
        )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * units)
    batches = _endless(len(x), SAMPLES[name])

    def unit() -> None:
        total = torch.zeros((), device=device)
        for _ in range(steps):
            rows = next(batches)
            batch = (x[rows].to(device), y[rows].to(device))
            loss = loss_of(model, batch, HP)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.detach()
        assert math.isfinite(total.item())

    return unit


def _endless(n: int, size: int) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(n)
        yield from (order[first : first + size] for first in range(0, n, size))


def through_task(name: str, steps: int, units: int, device: torch.device) -> Callable[[], None]:
    """Return what trains one unit of a trial."""
    build, data, loss, rule = workload(name)
    task = ModuleTask(
        build,
        (data, data),
        loss,
        "accuracy",
        SPACE,
        optimizer=rule,
        schedule="cosine",
        batch_size=SAMPLES[name],
        steps_per_unit=steps,
        units=units,
        device=device.type,
    )
    state = task.start(0)

    def unit() -> None:
        assert task.advance(state, HP)

    return unit


def measure(name: str, steps: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Return samples per second of both, and their ratio."""
    loops = [make(name, steps, rounds + 1, device) for make in (ordinary, through_task)]
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for index in (0, 1) if turn % 2 else (1, 0):
            begun = time.perf_counter()
            loops[index]()
            if turn:
                seconds[index].append(time.perf_counter() - begun)
    plain, ours = (steps * SAMPLES[name] / statistics.median(part) for part in seconds)
    return {"plain": plain, "module_task": ours, "ratio": ours / plain}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the last line is the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the measurements as JSON lines")
    parser.add_argument("--steps", type=int, default=10, help="steps of a unit (10)")
    parser.add_argument("--rounds", type=int, default=7, help="units of each that are counted (7)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch (as it chooses)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    options = parser.parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    ratio = {}
    for name in options.tasks:
        found = measure(name, options.steps, options.rounds, torch.device(options.device))
        ratio[name] = round(found["ratio"], 4)
        line = {"task": name, **{key: round(value, 4) for key, value in found.items()}}
        print(
            json.dumps(line) if options.json else "  ".join(f"{k} {v}" for k, v in line.items()), flush=True
        )
    print(json.dumps({"provenance": provenance(), "threads": torch.get_num_threads()}), file=sys.stderr)
    print(json.dumps({"ratio": ratio}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
