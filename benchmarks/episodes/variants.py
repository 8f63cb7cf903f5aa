"""What a training loop does besides computing gradients: nothing, episodes, or another package's."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernudge.episodes import Alignment, AnnealedAlignment, EpisodicScheduler, GradientNoise, LearningRate

RATES = (0.5, 1.0, 2.0)
NOISES = (0.005, 0.01)  # never zero, so that every step pays for its noise
EPISODE = 10  # short, so that closing an episode is paid for often


class Variant(NamedTuple):
    """What is done before the gradients of a step are computed, and after."""

    begin: Callable[[], object]
    end: Callable[[Tensor], object]


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9),
    "adamw_foreach": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-5, foreach=True),
    "adamw_fused": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True),
}


def rotations(model: nn.Module, optimizer_name: str) -> list[dict[str, Variant]]:
    """Return the variants by name, those that are timed in one rotation together, each with `plain`.

    All are on the same parameters and optimizer state. Another package has a rotation of its own, since one
    that moves much memory drives from the caches what the others need; it is left out where it is not
    installed.
    """
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

    plain = {"plain": Variant(lambda: None, lambda loss: shared.step())}
    found = [
        {
            **plain,
            "hypernudge_lr": hooked(LearningRate(RATES), episode_length=EPISODE),
            "hypernudge_noise": hooked(LearningRate(RATES), GradientNoise(NOISES), episode_length=EPISODE),
            "hypernudge_default": hooked(),
            # From the first step as after many: what is rarer is the same.
            "hypernudge_default_settled": hooked(
                controller=Alignment(settled_steps=1, initial_multiplier=1.0)
            ),
            "hypernudge_annealing": hooked(
                controller=AnnealedAlignment(10**7, anneal="linear", search=(0.0, 0.0))
            ),
        }
    ]
    if importlib.util.find_spec("pulseopt") is not None:
        found.append(
            {
                **plain,
                "pulseopt_lr": _published(fresh(), (0.0,)),
                "pulseopt_noise": _published(fresh(), NOISES),
            }
        )
    return found


def _published(optimizer: torch.optim.Optimizer, noises: tuple[float, ...]) -> Variant:
    import pulseopt

    front = pulseopt.AEES(
        optimizer, lr_candidates=RATES, noise_candidates=noises, episode_length=EPISODE, seed=0
    )
    count = itertools.count()
    return Variant(lambda: front.step_start(next(count)), front.step_end)
