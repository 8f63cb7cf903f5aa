"""The training face: one trial in memory, an ordinary PyTorch loop whose every draw has an address."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hypernudge.optimizers import setting
from hypernudge.task import Batch
from hypernudge.tasks.module.measuring import Recipe, Score, build, check_scalar, forward_seed
from hypernudge.tasks.module.mini_batches import MiniBatches, flattened
from hypernudge.tasks.module.schedules import Schedule
from hypernudge.tasks.module.seeded import reseed, seeded
from hypernudge.tasks.module.torch_optimizers import torch_optimizer

OPTIONS = ("batch_size", "grad_clip", "ema")  # values that are read besides those of optimizer and schedule


@dataclass(frozen=True)
class Loop:
    """How the training face runs.

    Attributes:
        recipe: Model, loss and optimizer.
        device: Where.
        schedule: Of the learning rate.
        autocast: Whether the forward pass computes in bfloat16 where that is safe.
        channels_last: Whether images and convolutions lie with the channels last.
        compiled: Whether the model goes through `torch.compile`.
    """

    recipe: Recipe
    device: torch.device
    schedule: Schedule
    autocast: bool = False
    channels_last: bool = False
    compiled: bool = False


class Training:
    """Model, optimizer and position of one trial.

    Args:
        loop: How it runs.
        batches: What it reads.
        hp: The trial's values.
        seed: Of initialisation, order of the data, and everything drawn.
        steps_per_unit: Steps of a unit.
        units: Of the study's longest training, over which the schedule runs.
    """

    def __init__(
        self,
        loop: Loop,
        batches: MiniBatches,
        hp: Mapping[str, Any],
        seed: int,
        steps_per_unit: int,
        units: int,
    ) -> None:
        self.loop, self.batches, self.hp, self.seed = loop, batches, dict(hp), seed
        self.steps_per_unit, self.steps = steps_per_unit, steps_per_unit * units
        self.unit = 0
        self.model = self._build()
        if loop.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self._called: Any = torch.compile(self.model) if loop.compiled else self.model
        self._scored: Any = self._called
        self.params = [value for value in self.model.parameters() if value.requires_grad]
        frozen = ((name, p) for name, p in self.model.named_parameters() if not p.requires_grad)
        self._frozen = {name: _checksum(p) for name, p in frozen}
        # A mask of infinities is no statistic: averaged it would be NaN.
        self._masks = {n for n, b in self.model.named_buffers() if not bool(torch.isfinite(b).all())}
        self.optimizer = torch_optimizer(loop.recipe.optimizer, self.model, self.hp, loop.device)
        self._clip = setting(self.hp, "grad_clip", None)
        self._ema = float(setting(self.hp, "ema"))
        self.average = [value.detach().clone() for value in self._averaged()] if self._ema else []

    def advance(self) -> bool:
        """Train for one unit; return False if a loss was not finite."""
        first = self.unit * self.steps_per_unit
        last = first + self.steps_per_unit
        total = torch.zeros((), device=self.loop.device)
        with seeded(
            forward_seed(self.seed, -2)
        ):  # to be put back afterwards; every step has a seed of its own
            for step, batch in enumerate(self.batches.through(self.seed, first, last), start=first):
                total += self._step(step, batch)
        self.unit += 1
        return math.isfinite(self._total(total).item())

    def _step(self, step: int, batch: Any) -> Tensor:
        parts, pack = flattened(batch)
        parts, weight = self._share(parts)
        moved = pack({name: self._moved(value) for name, value in parts.items()})
        rate = float(self.hp["lr"]) * self.loop.schedule.factor(step, self.steps, self.hp)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        reseed(self._address(step))
        with self._autocast():
            loss = self.loop.recipe.loss(self._called, moved, dict(self.hp))  # which it may change
        check_scalar(loss)
        self.optimizer.zero_grad(set_to_none=True)
        self._backward(loss if weight == 1.0 else weight * loss)
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self.params, float(self._clip))
        self._optimizer_step()
        if self._ema:
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self._averaged(), 1.0 - self._ema)
        return loss.detach()

    # What several devices do in another way.

    def _build(self) -> nn.Module:
        recipe = self.loop.recipe
        return build(recipe.model, dict(self.hp), self.seed, self.loop.device, recipe.dtype)

    def _share(self, parts: Batch) -> tuple[Batch, float]:
        """Return what this device trains on, and the weight of its loss."""
        return parts, 1.0

    def _address(self, step: int) -> int:
        """Return the seed under which this device's forward pass draws."""
        return forward_seed(self.seed, step)

    def _backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def _optimizer_step(self) -> None:
        self.optimizer.step()

    def _total(self, total: Tensor) -> Tensor:
        """Return the sum of a unit's losses over all devices."""
        return total

    def score(self, function: Score, part: Any) -> float:
        """Return the user's score on a split, of the averaged weights where they are averaged."""
        modes = {module: module.training for module in self.model.modules()}
        with seeded(forward_seed(self.seed, -1)), torch.no_grad(), self._autocast(), self._weights_averaged():
            try:
                self.model.eval()
                return float(function(self._scored, part))
            finally:
                for module, mode in modes.items():
                    module.training = mode

    def scored_weights(self) -> dict[str, Tensor]:
        """Return a copy of the state dictionary that `score` sees, on the CPU."""
        with self._weights_averaged():
            return {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    @contextlib.contextmanager
    def _weights_averaged(self) -> Iterator[None]:
        if not self._ema:
            yield
            return
        own = [value.detach().clone() for value in self._averaged()]
        torch._foreach_copy_(self._averaged(), self.average)
        try:
            yield
        finally:
            torch._foreach_copy_(self._averaged(), own)

    def _averaged(self) -> list[Tensor]:
        """Return what is averaged: trainable parameters and the statistics that belong to them."""
        buffers = [b for n, b in self.model.named_buffers() if n not in self._masks]
        return [p.detach() for p in self.params] + [b for b in buffers if b.is_floating_point()]

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if not self.loop.autocast:
            return contextlib.nullcontext()
        return torch.autocast(self.loop.device.type, dtype=torch.bfloat16)

    def _moved(self, value: Tensor) -> Tensor:
        moved = self.loop.recipe.moved(value, self.loop.device)
        images = self.loop.channels_last and moved.dim() == 4 and moved.is_floating_point()
        return moved.contiguous(memory_format=torch.channels_last) if images else moved

    def state(self) -> dict[str, Any]:
        """Return all that training has changed, as tensors and plain values; tensors are shared."""
        return {
            "unit": self.unit,
            "model": self._changing(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of the same trial.

        Raises:
            ValueError: If the model or the optimizer is another one; nothing is changed then.
        """
        own = {name: p.detach() for name, p in self.model.named_parameters()}
        own |= dict(self.model.named_buffers())
        saved: Mapping[str, Tensor] = state["model"]
        known = all(name in own and own[name].shape == value.shape for name, value in saved.items())
        if not (known and self._changing().keys() <= saved.keys()):
            raise ValueError("the model has other parameters or buffers")
        if len(state["average"]) != len(self.average):
            raise ValueError("other weights are averaged")
        self.optimizer.load_state_dict(state["optimizer"])  # first, for it may refuse
        with torch.no_grad():
            for name, value in saved.items():
                own[name].copy_(value)
            for mine, value in zip(self.average, state["average"], strict=True):
                mine.copy_(value)
        self.unit = int(state["unit"])

    def _changing(self) -> dict[str, Tensor]:
        """Return by name what is trained, all buffers, and what is frozen but was moved by the model itself.

        A momentum encoder does so; what else is frozen is as it was drawn, and need not be saved.
        """
        parameters = {name: p.detach() for name, p in self.model.named_parameters()}
        unmoved = (name for name, before in self._frozen.items() if _checksum(parameters[name]) == before)
        for name in unmoved:
            del parameters[name]
        return parameters | dict(self.model.named_buffers())


def _checksum(value: Tensor) -> int:
    """Return a number that nearly every change of a tensor's bits changes."""
    kind = {1: torch.int8, 2: torch.int16, 4: torch.int32}.get(value.element_size(), torch.int64)
    return int(value.detach().contiguous().reshape(-1).view(kind).sum())
