"""What episodes cost: training steps with and without them, interleaved in one process.

All variants train the same parameters with the same optimizer state, in an order that rotates from round to
round, so that drift of the machine, memory placement and cache state hit them alike. On the small model
every variant takes whole steps. On the large ones a round computes the gradients once, and each variant
then does everything else of a step on a copy of them: forward and backward passes do not depend on the
variant, and their jitter would drown a difference of half a percent. Either way the overhead is the
difference of the fifth percentiles of variant and plain over that of whole plain steps. On a CPU processor
time is counted, not the clock on the wall: others may be at work on the machine.

The default is measured as it begins (every step probed), as it is from 8,000 steps on, and while a training
of known length is annealed.

    uv run python -m benchmarks.episodes --json [--quick] [--device cuda] [--models mlp_26k ...]

With `--results FOLDER` every cell is also written to a file of its own, and the last line's table is over
all files of the folder: a long measurement may be taken in several calls.
"""

import argparse
import datetime
import functools
import importlib.util
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.episodes.models import workload
from hypernudge.episodes import Alignment, AnnealedAlignment, EpisodicScheduler, GradientNoise, LearningRate
from hypernudge.harness.cells.provenance import provenance
from hypernudge.results.jsonio import write_json

RATES = (0.5, 1.0, 2.0)
NOISES = (0.005, 0.01)  # never zero, so that every step pays for its noise
EPISODE = 10  # short, so that closing an episode is paid for often


class Variant(NamedTuple):
    """What a training loop does besides computing gradients."""

    begin: Callable[[], object]
    end: Callable[[Tensor], object]


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9),
    "adamw_foreach": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-5, foreach=True),
    "adamw_fused": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True),
}
ROUNDS = {"mlp_26k": (250, 3000), "resnet18": (7, 60), "transformer_20m": (5, 35)}


def variants(model: nn.Module, optimizer_name: str) -> dict[str, Variant]:
    """Return the variants, all on the same parameters and optimizer state; pulseopt's if it is installed."""
    shared = OPTIMIZERS[optimizer_name](model)

    def fresh() -> torch.optim.Optimizer:
        optimizer = OPTIMIZERS[optimizer_name](model)
        optimizer.state = shared.state
        return optimizer

    def hooked(*axes: Any, **options: Any) -> Variant:
        optimizer = fresh()
        episodes = EpisodicScheduler(optimizer, *axes, seed=0, **options)

        def end(loss: Tensor) -> None:
            episodes.observe(loss)
            optimizer.step()

        return Variant(lambda: None, end)

    def published(noises: tuple[float, ...]) -> Variant:
        import pulseopt

        front = pulseopt.AEES(
            fresh(), lr_candidates=RATES, noise_candidates=noises, episode_length=EPISODE, seed=0
        )
        count = itertools.count()
        return Variant(lambda: front.step_start(next(count)), front.step_end)

    installed = importlib.util.find_spec("pulseopt") is not None
    return {
        "plain": Variant(lambda: None, lambda loss: shared.step()),
        "hypernudge_lr": hooked(LearningRate(RATES), episode_length=EPISODE),
        **({"pulseopt_lr": published((0.0,))} if installed else {}),
        "hypernudge_noise": hooked(LearningRate(RATES), GradientNoise(NOISES), episode_length=EPISODE),
        **({"pulseopt_noise": published(NOISES)} if installed else {}),
        "hypernudge_default": hooked(),
        # From the first step as after many: what is rarer is the same.
        "hypernudge_default_settled": hooked(controller=Alignment(settled_steps=1, initial_multiplier=1.0)),
        "hypernudge_annealing": hooked(
            controller=AnnealedAlignment(10**7, anneal="linear", search=(0.0, 0.0))
        ),
    }


def compute_gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Run the part of a step that no variant changes; return the loss."""
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


class Clock:
    """Seconds of a call: of the processor, or on the wall where a device works too."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
        """Return the duration of `work(*arguments)` and what it returned."""
        if self.cuda:
            torch.cuda.synchronize()
        clock = time.perf_counter if self.cuda else time.process_time
        start = clock()
        result = work(*arguments)
        if self.cuda:
            torch.cuda.synchronize()
        return clock() - start, result


def measure(
    found: dict[str, Variant],
    gradients: Callable[[], Tensor],
    model: nn.Module,
    rounds: int,
    clock: Clock,
    *,
    whole: bool,
) -> tuple[dict[str, list[float]], list[float]]:
    """Time every variant `rounds` times, interleaved.

    Returns:
        Seconds per step of each variant, and seconds of the shared gradient computation per round (zeros if
        every variant took whole steps).
    """
    names = list(found)
    times: dict[str, list[float]] = {name: [] for name in names}
    common: list[float] = []
    parameters = list(model.parameters())

    def whole_step(variant: Variant) -> None:
        variant.begin()
        variant.end(gradients())

    for name in names:
        whole_step(found[name])
    for turn in range(rounds):
        seconds, loss = (0.0, None) if whole else clock(gradients)
        common.append(seconds)
        kept = [] if whole else [p.grad.clone() for p in parameters if p.grad is not None]
        for position in range(len(names)):
            name = names[(turn + position) % len(names)]
            variant = found[name]
            if loss is None:
                times[name].append(clock(whole_step, variant)[0])
                continue
            torch._foreach_copy_([p.grad for p in parameters if p.grad is not None], kept)
            times[name].append(clock(variant.begin)[0] + clock(variant.end, loss)[0])
    return times, common


def overheads(times: dict[str, list[float]], common: list[float]) -> dict[str, float]:
    """Return what each variant adds to the plain step, in percent of a whole plain step.

    Compared are the fifth percentiles: whatever else the machine does can only make a step longer, and the
    shortest of many rounds are those that it let alone.
    """
    plain = times["plain"]
    whole = [base + rest for base, rest in zip(plain, common, strict=True)]
    least, all_of_it = _fifth(plain), _fifth(whole)
    return {
        name: round(100 * (_fifth(seconds) - least) / all_of_it, 3)
        for name, seconds in times.items()
        if name != "plain"
    }


def _fifth(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[0] if len(seconds) > 1 else seconds[0]


def measure_cell(
    model_name: str, optimizer_name: str, rounds: int, device: torch.device, note: dict[str, Any]
) -> dict[str, Any]:
    """Measure one model under one optimizer; return the cell's record."""
    model, inputs, targets = workload(model_name, device)
    times, common = measure(
        variants(model, optimizer_name),
        functools.partial(compute_gradients, model, inputs, targets),
        model,
        rounds,
        Clock(device),
        whole=model_name == "mlp_26k",
    )
    plain = statistics.median(map(sum, zip(times["plain"], common, strict=True)))
    return {
        "event": "cell",
        "model": model_name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "optimizer": optimizer_name,
        "rounds": rounds,
        "plain_median_ms": round(1e3 * plain, 4),
        "overhead_percent": overheads(times, common),
        **note,
    }


def table_of(cells: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the overheads by model and optimizer."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for cell in cells:
        table.setdefault(cell["model"], {})[cell["optimizer"]] = cell["overhead_percent"]
    return table


def main() -> None:
    """Measure, and print one JSON object per cell and a last one with all overheads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", action="store_true", help="JSON lines on stdout (the default and only form)"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, under a minute")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", choices=list(ROUNDS), default=list(ROUNDS))
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=list(OPTIMIZERS))
    parser.add_argument("--results", type=Path, help="folder with a file per cell, for several calls")
    parser.add_argument("--rounds", type=int, help="rounds per cell; default by model")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    note = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": arguments.threads,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **provenance(),
    }
    cells = []
    for model_name, optimizer_name in itertools.product(arguments.models, arguments.optimizers):
        rounds = arguments.rounds or ROUNDS[model_name][0 if arguments.quick else 1]
        cell = measure_cell(model_name, optimizer_name, rounds, device, note)
        cells.append(cell)
        print(json.dumps(cell), flush=True)
        if arguments.results is not None:
            write_json(arguments.results / f"{model_name}-{optimizer_name}.json", cell)
    if arguments.results is not None:
        cells = [json.loads(path.read_text()) for path in sorted(arguments.results.glob("*.json"))]
    print(json.dumps({"overhead_percent": table_of(cells)}))


if __name__ == "__main__":
    main()
