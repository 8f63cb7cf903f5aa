"""Alignment episodes: the learning rate follows whether the next batch agrees with the last update."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.axes.learning_rate import LearningRate
from hypernudge.episodes.probe import CoordinateSample, PendingRead
from hypernudge.episodes.ranks import active_group
from hypernudge.episodes.records import Selection, value_text
from hypernudge.episodes.rewards.base import RewardDetails


class Alignment:
    """A sequential test on the cosine between an update and the descent direction that follows it.

    After a step ``u = theta_t - theta_(t-1)``, the next batch gives a gradient ``g`` at ``theta_t``, and
    ``h = -<g, u> / (|g| |u|)`` says whether that batch would have gone further the same way. Over an
    episode, ``z = sum(h) / sqrt(sum(h^2))`` is about standard normal if the rate is right. Beyond
    ``z_up`` the multiplier grows, below ``-z_down`` it shrinks, after ``samples`` probes it stays; each
    of the three closes the episode. Once it has shrunk, a rate too high has been seen and growth takes
    the stronger evidence of ``z_again``; without that, training under noise settles at rates that
    still descend but end badly. It is a test on the signal of hypergradient descent (Baydin et
    al. 2018), but the batch that judges a step is not the batch that made it, so fitting noise shows as
    disagreement.

    It needs no loss. Cost: every ``every``-th step copies the probed coordinates three times and takes
    three scalar products; products stay on the device, and one transfer per look is read ``lag`` steps
    later, when it has long arrived. With several ranks each look is one collective.

    Caveats: sampling batches without replacement from a tiny data set biases ``h`` downwards; an update that
    is mostly weight decay says little.

    Args:
        start: First multiplier; below 1 the rate ramps up from a safe start.
        up: Factor after a positive verdict, above 1.
        down: Factor after a negative verdict, in (0, 1).
        z_up: Threshold of a positive verdict, above 0.
        z_down: Threshold of a negative verdict, above 0.
        z_again: Threshold of a positive verdict after the first negative one, above 0; None for ``z_up``.
        z_leave: Threshold of both verdicts while the multiplier is exactly 1, above 0: the user's own rate is
            not left on slight evidence, and no change passes it without stopping there. None treats 1
            like any other multiplier.
        samples: Probes after which the test gives up, at least 1.
        every: Steps between probes, at least 1.
        look_every: Probes between looks at the test statistic, at least 1.
        lag: Steps between starting a transfer to the host and reading it, at least 0.
        coordinates: About so many coordinates of the model are probed, all of a smaller one; at least 1.
        low: Smallest multiplier.
        high: Largest multiplier, at least ``low``.
        seed: Chooses which coordinates are probed.
        process_group: Ranks that must choose alike; None for all of them.

    Raises:
        ValueError: An argument is out of range.
    """

    uses_loss = False
    uses_gradients = True

    def __init__(
        self,
        *,
        start: float = 0.01,
        up: float = 2.0,
        down: float = 0.7,
        z_up: float = 1.7,
        z_down: float = 1.5,
        z_again: float | None = 3.0,
        z_leave: float | None = 3.0,
        samples: int = 15,
        every: int = 1,
        look_every: int = 1,
        lag: int = 1,
        coordinates: int = 16384,
        low: float = 1e-4,
        high: float = 1e4,
        seed: int = 0,
        process_group: Any = None,
    ) -> None:
        if not up > 1:
            raise ValueError(f"up must be above 1, but got {up!r}.")
        if not 0 < down < 1:
            raise ValueError(f"down must lie in (0, 1), but got {down!r}.")
        if not 0 < low <= high:
            raise ValueError(f"low must be above 0 and at most high, but got {low=!r}, {high=!r}.")
        self.axes: tuple[Axis, ...] = (LearningRate([1.0]),)
        self.up, self.down = up, down
        self.z_up = checks.positive("z_up", z_up)
        self.z_down = checks.positive("z_down", z_down)
        self.z_again = None if z_again is None else checks.positive("z_again", z_again)
        self.z_leave = None if z_leave is None else checks.positive("z_leave", z_leave)
        self.samples = checks.at_least("samples", samples, 1)
        self.every = checks.at_least("every", every, 1)
        self.look_every = checks.at_least("look_every", look_every, 1)
        self.lag = checks.at_least("lag", lag, 0)
        self.low, self.high = low, high
        self.multiplier = min(max(checks.positive("start", start), low), high)
        self.start = start
        # Losses are not kept, but an episode's length still bounds the buffer that would hold them.
        self.capacity = self.samples * self.every + self.every + self.lag
        self.z = 0.0
        self._fell = False  # whether a negative verdict was ever given
        self._sample = CoordinateSample(coordinates, seed)
        self._group = process_group
        self._tick = 0
        self._taken = 0
        self._before: Tensor | None = None
        self._update: Tensor | None = None
        self._products: Tensor | None = None  # (samples, 3): <g,u>, <g,g>, <u,u>
        self._reads: list[PendingRead] = []
        self._verdict: float | None = None

    def open(self) -> Selection:
        """Return the current multiplier; the test begins anew."""
        self._taken = 0
        self._reads = []
        self._verdict = None
        self._update = None  # made under the last multiplier
        return Selection(f"lr{value_text(self.multiplier)}", (0,), (self.multiplier,))

    def gradients_ready(self, optimizer: Optimizer) -> None:
        """Judge the last probed update by these gradients; begin a probe if one is due."""
        due = self._tick % self.every == 0
        if due or self._update is not None:
            self._sample.look_up(optimizer)
        if self._update is not None and self._taken < self.samples:
            self._judge(self._update)
        self._update = None
        if due and self._taken < self.samples:
            self._before = self._sample.parameters()

    def stepped(self, optimizer: Optimizer) -> None:
        """Complete a probe; read the look that an earlier step started."""
        del optimizer
        self._tick += 1
        while self._reads and self._reads[0].started + self.lag < self._tick and self._verdict is None:
            self._decide(self._reads.pop(0).fetch())
        if self._before is not None:
            self._update = self._sample.parameters().sub_(self._before)
            self._before = None

    def full(self, steps: int) -> bool:
        """Whether the test has come to a verdict."""
        del steps
        return self._verdict is not None

    def close(self, selection: Selection, losses: list[float]) -> RewardDetails | None:
        """Change the multiplier by the verdict; an episode closed without one changes nothing."""
        del selection, losses
        if self._verdict is not None:
            changed = min(max(self.multiplier * self._verdict, self.low), self.high)
            self._fell = self._fell or self._verdict < 1.0
            passes_one = (self.multiplier - 1.0) * (changed - 1.0) < 0
            self.multiplier = 1.0 if passes_one and self.z_leave is not None else changed
        self._verdict = None
        return None

    def code(self, selection: Selection) -> int:
        """Return 0: ranks decide on reduced products and cannot differ."""
        del selection
        return 0

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types."""
        return {
            "kind": "alignment",
            "start": self.start,
            "factors": [self.up, self.down],
            "thresholds": [self.z_up, self.z_down, self.z_again, self.z_leave],
            "schedule": [self.samples, self.every, self.look_every, self.lag],
            "range": [self.low, self.high],
            "sample": self._sample.fingerprint(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the multiplier and the test in progress, in plain types and tensors."""
        rows = None if self._products is None else self._products[: self._taken].tolist()
        return {
            "multiplier": self.multiplier,
            "z": self.z,
            "fell": self._fell,
            "tick": self._tick,
            "taken": self._taken,
            "update": None if self._update is None else self._update.clone(),
            "products": rows,
            "reads": [[read.fetch(), read.started] for read in self._reads],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.multiplier = state["multiplier"]
        self.z = state["z"]
        self._fell = state["fell"]
        self._tick = state["tick"]
        self._taken = state["taken"]
        self._verdict = None
        self._before = None
        update = state["update"]
        self._update = None if update is None else update.clone()
        self._products = None
        if state["products"]:
            device = None if self._update is None else self._update.device
            self._products = torch.zeros(self.samples, 3, device=device, dtype=torch.float64)
            self._products[: self._taken] = torch.tensor(
                state["products"], device=device, dtype=torch.float64
            )
        self._reads = [
            PendingRead(torch.tensor(rows, dtype=torch.float64), started) for rows, started in state["reads"]
        ]

    def _judge(self, update: Tensor) -> None:
        gradient = self._sample.gradients()
        if gradient.numel() != update.numel():
            return  # a parameter group was added between the two steps
        if self._products is None or self._products.device != update.device:
            kind = torch.float32 if update.device.type == "mps" else torch.float64
            self._products = torch.zeros(self.samples, 3, device=update.device, dtype=kind)
        row = torch.stack((gradient.dot(update), gradient.dot(gradient), update.dot(update)))
        self._products[self._taken] = row
        self._taken += 1
        if self._taken % self.look_every == 0 or self._taken == self.samples:
            products = self._products[: self._taken].clone()
            group = active_group(self._group)
            if group is not None:
                # A sum over ranks is exact for shards and a mere factor for replicas.
                torch.distributed.all_reduce(products, group=group)
            self._reads.append(PendingRead(products, self._tick))

    def _decide(self, products: list[list[float]]) -> None:
        cosines = [
            -dot / math.sqrt(gradients * updates)
            for dot, gradients, updates in products
            if math.isfinite(dot) and gradients * updates > 0
        ]
        square = sum(h * h for h in cosines)
        self.z = sum(cosines) / math.sqrt(square) if square > 0 else 0.0
        at_home = self.z_leave if self.multiplier == 1.0 else None
        rise = (self.z_again if self._fell else None) or self.z_up
        if self.z > (at_home or rise):
            self._verdict = self.up
        elif self.z < -(at_home or self.z_down):
            self._verdict = self.down
        elif len(products) >= self.samples:
            self._verdict = 1.0
