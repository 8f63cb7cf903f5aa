"""What episodes cost: training steps with and without them, interleaved in one process.

All variants train the same parameters with the same optimizer state, in an order that rotates from round to
round, so that drift of the machine, memory placement and cache state hit them alike. On the small model
every variant takes whole steps. On the large ones a round computes the gradients once, and each variant
then does everything else of a step on a copy of them: forward and backward passes do not depend on the
variant, and their jitter would drown a difference of half a percent. Either way the overhead is the
median over rounds of (variant - plain) / plain whole step of the same round.

    uv run python -m benchmarks.episodes --json [--quick] [--device cuda] [--models mlp_26k ...]
"""

import argparse
import functools
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernudge.episodes import Alignment, EpisodicScheduler, GradientNoise, LearningRate

RATES = (0.5, 1.0, 2.0)
NOISES = (0.005, 0.01)  # never zero, so that every step pays for its noise
EPISODE = 10  # short, so that closing an episode is paid for often


class Variant(NamedTuple):
    """What a training loop does besides computing gradients."""

    begin: Callable[[], object]
    end: Callable[[Tensor], object]


class Block(nn.Module):
    """A residual block of ResNet-18."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.skip = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, c, h, w)`` to ``(b, c', h / stride, w / stride)``."""
        return torch.relu(self.body(x) + self.skip(x))


def resnet18() -> nn.Module:
    """Return ResNet-18 with its ImageNet stem: on 32x32 inputs the cheapest, so the hardest on overhead."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    for inside, outside, stride in [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]:
        layers += [Block(inside, outside, stride), Block(outside, outside, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 100))


class Transformer(nn.Module):
    """A 20-million-parameter language model: six layers of width 512, tied to a vocabulary of 2,048."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(2048, 512)
        layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(b, t)`` to logits ``(b * t, 2048)``."""
        hidden: Tensor = self.layers(self.tokens(x))
        return (hidden @ self.tokens.weight.T).flatten(0, 1)


def workload(name: str, device: torch.device) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a model and one batch."""
    torch.manual_seed(0)  # a benchmark's own process; layers initialise from the global generator
    if name == "mlp_26k":
        mlp = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
        return mlp.to(device), torch.randn(128, 64, device=device), torch.randint(10, (128,), device=device)
    if name == "resnet18":
        images = torch.randn(32, 3, 32, 32, device=device)
        return resnet18().to(device), images, torch.randint(100, (32,), device=device)
    tokens = torch.randint(2048, (4, 32), device=device)
    return Transformer().to(device), tokens, tokens.flatten()


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9),
    "adamw_foreach": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-5, foreach=True),
    "adamw_fused": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True),
}
ROUNDS = {"mlp_26k": (250, 3000), "resnet18": (7, 60), "transformer_20m": (5, 35)}


def variants(model: nn.Module, optimizer_name: str) -> dict[str, Variant]:
    """Return the variants, all on the same parameters and optimizer state."""
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

    return {
        "plain": Variant(lambda: None, lambda loss: shared.step()),
        "hypernudge_lr": hooked(LearningRate(RATES), episode_length=EPISODE),
        "pulseopt_lr": published((0.0,)),
        "hypernudge_noise": hooked(LearningRate(RATES), GradientNoise(NOISES), episode_length=EPISODE),
        "pulseopt_noise": published(NOISES),
        "hypernudge_alignment": hooked(controller=Alignment(every=8, look_every=3, start=1.0)),
    }


def compute_gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Run the part of a step that no variant changes; return the loss."""
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


class Clock:
    """Seconds of a call, device work included."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
        """Return the duration of ``work(*arguments)`` and what it returned."""
        if self.cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = work(*arguments)
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start, result


def measure(
    found: dict[str, Variant],
    gradients: Callable[[], Tensor],
    model: nn.Module,
    rounds: int,
    clock: Clock,
    *,
    whole: bool,
) -> tuple[dict[str, list[float]], list[float]]:
    """Time every variant ``rounds`` times, interleaved.

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
    """Return the median relative cost over the plain step of the same round, in percent."""
    plain = times["plain"]
    return {
        name: round(
            100
            * statistics.median(
                (own - base) / (base + rest) for own, base, rest in zip(seconds, plain, common, strict=True)
            ),
            3,
        )
        for name, seconds in times.items()
        if name != "plain"
    }


def main() -> None:
    """Measure, and print one JSON object per cell and a last one with all overheads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", action="store_true", help="JSON lines on stdout (the default and only form)"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, under a minute")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", choices=list(ROUNDS), default=list(ROUNDS))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(
        json.dumps(
            {
                "event": "machine",
                "torch": torch.__version__,
                "python": platform.python_version(),
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
                "threads": arguments.threads,
                "argv": sys.argv[1:],
            }
        )
    )
    table: dict[str, dict[str, dict[str, float]]] = {}
    for model_name in arguments.models:
        model, inputs, targets = workload(model_name, device)
        size = sum(parameter.numel() for parameter in model.parameters())
        for optimizer_name in OPTIMIZERS:
            gradients = functools.partial(compute_gradients, model, inputs, targets)
            times, common = measure(
                variants(model, optimizer_name),
                gradients,
                model,
                ROUNDS[model_name][0 if arguments.quick else 1],
                Clock(device),
                whole=model_name == "mlp_26k",
            )
            cell = overheads(times, common)
            table.setdefault(model_name, {})[optimizer_name] = cell
            print(
                json.dumps(
                    {
                        "event": "cell",
                        "model": model_name,
                        "parameters": size,
                        "optimizer": optimizer_name,
                        "rounds": len(times["plain"]),
                        "plain_median_ms": round(
                            1e3 * statistics.median(map(sum, zip(times["plain"], common, strict=True))), 4
                        ),
                        **cell,
                    }
                ),
                flush=True,
            )
    print(json.dumps({"overhead_percent": table}))


if __name__ == "__main__":
    main()
