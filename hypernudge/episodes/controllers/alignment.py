"""Alignment episodes: the learning rate follows whether the next batch agrees with the last update."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.axes.learning_rate import LearningRate
from hypernudge.episodes.controllers.coordinate_sample import CoordinateSample, PendingRead
from hypernudge.episodes.ranks import active_group
from hypernudge.episodes.records import Selection, value_text
from hypernudge.episodes.rewards.base import RewardDetails
from hypernudge.renamed import accepts


@accepts(
    initial_multiplier="start",
    z_recover="z_back",
    z_above_base="z_again",
    z_at_base="z_leave",
    z_warmup="z_ramp",
    warmup_samples="ramp_samples",
    base_samples="home_samples",
)
class Alignment:
    """A sequential test on the cosine between an update and the descent direction that follows it.

    If the next batches' gradients significantly agree with the last updates, the rate is raised; if they
    significantly disagree, it is lowered; otherwise it is kept. Each of the three ends the episode.

    After a step `u = theta_t - theta_(t-1)`, the next batch gives a gradient `g` at `theta_t`, and
    `h = -<g, u> / (|g| |u|)` is their agreement. `z = sum(h) / sqrt(sum(h^2))` over an episode is about
    standard normal if the rate is right. How much evidence a change takes depends on the multiplier (the
    table in docs/episodes.md): more after the first shrinking, since without that training under noise ends
    at rates that are too high; most at the user's own rate, multiplier 1; least during the warm-up below it.

    The signal is that of hypergradient descent (Baydin et al. 2018), but the batch that judges a step is not
    the batch that made it, so fitting noise shows as disagreement.

    It needs no loss. Cost: every `every`-th step copies the probed coordinates three times and takes
    three scalar products; products stay on the device, and one transfer per look, of what is new, is read
    `lag` steps later, when it has long arrived. With several ranks each look is one collective.

    Caveats: sampling batches without replacement from a tiny data set biases `h` downwards; an update that
    is mostly weight decay says little.

    Args:
        initial_multiplier: First multiplier; below 1 the rate warms up from a safe start.
        up: Factor after a positive verdict, above 1.
        down: Factor after a negative verdict, in (0, 1).
        first_down: The same for the first one, which a rise has overshot by the time it comes; None for
            `down`.
        z_up: Threshold of a positive verdict, above 0.
        z_down: Threshold of a negative verdict, above 0.
        z_recover: Threshold of a positive verdict after the first negative one, while the multiplier is below
            1; above 0, None for `z_up`.
        z_above_base: The same while the multiplier is 1 or more.
        z_at_base: Thresholds of the positive and of the negative verdict while the multiplier is exactly 1,
            above 0: the user's own rate is not left on slight evidence, and no change passes it without
            stopping there. None treats 1 like any other multiplier, and knows no warm-up.
        z_warmup: What an undecided test must exceed for growth during the warm-up.
        samples: Probes after which the test gives up, at least 1.
        warmup_samples: The same during the warm-up, that is below 1 before the first negative verdict; at
            least 1.
        base_samples: The same while the multiplier is exactly 1; at least 1.
        min_samples: Probes before the first look; from 1 to the least of the three.
        every: Steps between probes, at least 1.
        look_every: Probes between looks at the test statistic, at least 1.
        lag: Steps between starting a transfer to the host and reading it, at least 0.
        coordinates: About so many coordinates of the model are probed, all of a smaller one; at least 1.
        low: Smallest multiplier.
        high: Largest multiplier, at least `low`.
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
        initial_multiplier: float = 0.01,
        up: float = 2.0,
        down: float = 0.7,
        first_down: float | None = None,
        z_up: float = 1.7,
        z_down: float = 1.5,
        z_recover: float | None = 2.5,
        z_above_base: float | None = 3.0,
        z_at_base: tuple[float, float] | None = (3.0, 2.0),
        z_warmup: float = 0.5,
        samples: int = 30,
        warmup_samples: int = 15,
        base_samples: int = 200,
        min_samples: int = 5,
        every: int = 1,
        look_every: int = 1,
        lag: int = 1,
        coordinates: int = 8192,
        low: float = 1e-4,
        high: float = 1e4,
        seed: int = 0,
        process_group: Any = None,
    ) -> None:
        self.up, self.down = checks.number("up", up), checks.number("down", down)
        if not self.up > 1:
            checks.refuse("up", "must be above 1", up, "pass for example 2")
        if not 0 < self.down < 1:
            checks.refuse("down", "must lie in (0, 1)", down, "pass for example 0.7")
        self.first_down = None if first_down is None else checks.number("first_down", first_down)
        if self.first_down is not None and not 0 < self.first_down < 1:
            checks.refuse("first_down", "must lie in (0, 1)", first_down, "pass for example 0.35")
        self.low, self.high = checks.number("low", low), checks.positive("high", high)
        if not 0 < self.low <= self.high:
            checks.refuse("low", f"must be above 0 and at most high ({high!r})", low, "pass for example 1e-4")
        # What the multiplier may become, for whoever asks what is changed; it moves between the two.
        self.axes: tuple[Axis, ...] = (LearningRate(sorted({self.low, self.high})),)
        self.z_up = checks.positive("z_up", z_up)
        self.z_down = checks.positive("z_down", z_down)
        self.z_recover = None if z_recover is None else checks.positive("z_recover", z_recover)
        self.z_above_base = None if z_above_base is None else checks.positive("z_above_base", z_above_base)
        if z_at_base is not None:
            if not isinstance(z_at_base, (tuple, list)) or len(z_at_base) != 2:
                checks.refuse("z_at_base", "must be two thresholds or None", z_at_base, "pass (3.0, 2.0)")
            z_at_base = (
                checks.positive("z_at_base", z_at_base[0]),
                checks.positive("z_at_base", z_at_base[1]),
            )
        self.z_at_base = z_at_base
        self.z_warmup = checks.number("z_warmup", z_warmup)
        self.samples = checks.at_least("samples", samples, 1)
        self.warmup_samples = checks.at_least("warmup_samples", warmup_samples, 1)
        self.base_samples = checks.at_least("base_samples", base_samples, 1)
        self.min_samples = checks.at_least("min_samples", min_samples, 1)
        if min_samples > min(samples, warmup_samples, base_samples):
            rule = "must be at most samples, warmup_samples and base_samples"
            given = (min_samples, samples, warmup_samples, base_samples)
            checks.refuse("min_samples", rule, given, "lower it")
        self.every = checks.at_least("every", every, 1)
        self.look_every = checks.at_least("look_every", look_every, 1)
        self.lag = checks.at_least("lag", lag, 0)
        self.initial_multiplier = checks.positive("initial_multiplier", initial_multiplier)
        self.multiplier = min(max(self.initial_multiplier, self.low), self.high)
        # Losses are not kept, but an episode's length still bounds the buffer that would hold them.
        self.capacity = max(samples, warmup_samples, base_samples) * self.every + self.every + self.lag
        self.z = 0.0
        self._fell = False  # whether a negative verdict was ever given
        self._sample = CoordinateSample(coordinates, seed)
        self._group = process_group
        self._tick = 0
        self._before: Tensor | None = None
        self._begin()

    def _begin(self) -> None:
        """Begin the test anew."""
        self._taken = 0  # probes of this episode
        self._update: Tensor | None = None  # what was probed was made under the last multiplier
        self._products: list[Tensor] = []  # since the last look, each (3,): <g,u>, <g,g>, <u,u>
        self._reads: list[PendingRead] = []
        self._read = 0  # probes that have arrived, and their sums
        self._sum = self._square = 0.0
        self._verdict: float | None = None

    def open(self) -> Selection:
        """Return the current multiplier; the test begins anew."""
        self._begin()
        return Selection(f"lr{value_text(self.multiplier)}", (0,), (self.multiplier,))

    def before_step(self, optimizer: Optimizer) -> None:
        """Judge the last probed update by these gradients; begin a probe if one is due."""
        due = self._tick % self.every == 0
        if due or self._update is not None:
            self._sample.look_up(optimizer)
        if self._update is not None and self._taken < self._limit:
            self._judge(self._update)
        self._update = None
        if due and self._taken < self._limit:
            self._before = self._sample.parameters()

    def after_step(self, optimizer: Optimizer) -> None:
        """Complete a probe; read the look that an earlier step started."""
        del optimizer
        self._tick += 1
        while self._reads and self._reads[0].started + self.lag < self._tick and self._verdict is None:
            self._decide(self._reads.pop(0).fetch())
        if self._before is not None:
            self._update = self._sample.parameters().sub_(self._before)
            self._before = None

    def is_complete(self, steps: int) -> bool:
        """Whether the test has come to a verdict."""
        del steps
        return self._verdict is not None

    def close(self, selection: Selection, losses: list[float]) -> RewardDetails | None:
        """Change the multiplier by the verdict; an episode closed without one changes nothing."""
        del selection, losses
        if self._verdict is not None:
            factor = self._verdict
            if factor < 1.0 and not self._fell and self.first_down is not None:
                factor = self.first_down
            changed = min(max(self.multiplier * factor, self.low), self.high)
            self._fell = self._fell or self._verdict < 1.0
            passes_one = (self.multiplier - 1.0) * (changed - 1.0) < 0
            self.multiplier = 1.0 if passes_one and self.z_at_base is not None else changed
        self._verdict = None
        return None

    @property
    def verdict(self) -> float | None:
        """The factor that the test has come to, None while it goes on."""
        return self._verdict

    @property
    def fell(self) -> bool:
        """Whether a verdict was ever negative."""
        return self._fell

    @property
    def is_warming_up(self) -> bool:
        """Whether the multiplier is below 1 and no verdict was negative yet."""
        return self.z_at_base is not None and self.multiplier < 1.0 and not self._fell

    @property
    def only_grew(self) -> bool:
        """Whether the multiplier is neither 1 nor was any verdict negative yet."""
        return not self._fell and not self._at_base

    @property
    def stays_at_base(self) -> bool:
        """Whether the multiplier is exactly 1 and as many probes as decide elsewhere have not moved it."""
        return self._at_base and self._taken >= self.samples

    def rest(self) -> None:
        """Forget the test in progress and hold no tensor until an episode opens."""
        self._before = None
        self._begin()

    def selection_id(self, selection: Selection) -> int:
        """Return 0: ranks decide on reduced products and cannot differ."""
        del selection
        return 0

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types."""
        return {
            "kind": "alignment",
            "start": self.initial_multiplier,
            "factors": [self.up, self.down, *(() if self.first_down is None else (self.first_down,))],
            "thresholds": [
                self.z_up,
                self.z_down,
                self.z_recover,
                self.z_above_base,
                self.z_warmup,
                *(self.z_at_base or ()),
            ],
            "samples": [self.min_samples, self.samples, self.warmup_samples, self.base_samples],
            "schedule": [self.every, self.look_every, self.lag],
            "range": [self.low, self.high],
            "sample": self._sample.fingerprint(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the multiplier and the test in progress, in plain types and tensors."""
        return {
            "multiplier": self.multiplier,
            "z": self.z,
            "fell": self._fell,
            "tick": self._tick,
            "taken": self._taken,
            "update": None if self._update is None else self._update.clone(),
            "products": [row.clone() for row in self._products],
            "reads": [[read.fetch(), read.started] for read in self._reads],
            "read": [self._read, self._sum, self._square],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        keys = ("multiplier", "z", "fell", "tick", "taken", "update", "products", "reads", "read")
        checks.state(state, keys, "state of Alignment")
        multiplier, z = checks.positive("multiplier", state["multiplier"]), checks.number("z", state["z"])
        fell = checks.flag("fell", state["fell"])
        tick, taken = (checks.at_least(key, state[key], 0) for key in ("tick", "taken"))
        read, total, square = checks.state_list("read", state["read"], 3)
        update = None if state["update"] is None else state["update"].clone()
        products = [row.clone() for row in state["products"]]
        reads = [
            PendingRead(torch.tensor(rows, dtype=torch.float64), started) for rows, started in state["reads"]
        ]
        self._before = None
        self._begin()
        self.multiplier, self.z, self._fell = multiplier, z, fell
        self._tick, self._taken = tick, taken
        self._read, self._sum, self._square = read, total, square
        self._update, self._products, self._reads = update, products, reads

    def _judge(self, update: Tensor) -> None:
        gradient = self._sample.gradients()
        if gradient.numel() != update.numel():
            return  # a parameter group was added between the two steps
        kind = torch.float32 if update.device.type == "mps" else torch.float64
        row = torch.stack((gradient.dot(update), gradient.dot(gradient), update.dot(update)))
        self._products.append(row.to(kind))
        self._taken += 1
        looks = self._taken % self.look_every == 0 or self._taken == self._limit
        if looks and self._taken >= self.min_samples:
            products = torch.stack(self._products)
            self._products = []
            group = active_group(self._group)
            if group is not None:
                # A sum over ranks is exact for shards and a mere factor for replicas.
                torch.distributed.all_reduce(products, group=group)
            self._reads.append(PendingRead(products, self._tick))

    @property
    def _at_base(self) -> bool:
        return self.z_at_base is not None and self.multiplier == 1.0

    @property
    def _limit(self) -> int:
        if self._at_base:
            return self.base_samples
        return self.warmup_samples if self.is_warming_up else self.samples

    @property
    def _thresholds(self) -> tuple[float, float]:
        """Return those of growing and of shrinking, both above 0."""
        if self.z_at_base is not None and self._at_base:
            return self.z_at_base
        if not self._fell:
            return self.z_up, self.z_down
        return (self.z_recover if self.multiplier < 1.0 else self.z_above_base) or self.z_up, self.z_down

    def _decide(self, products: list[list[float]]) -> None:
        for dot, gradients, updates in products:
            if math.isfinite(dot) and gradients * updates > 0:
                cosine = -dot / math.sqrt(gradients * updates)
                self._sum += cosine
                self._square += cosine * cosine
        self._read += len(products)
        self.z = self._sum / math.sqrt(self._square) if self._square > 0 else 0.0
        rise, fall = self._thresholds
        if self.z > rise:
            self._verdict = self.up
        elif self.z < -fall:
            self._verdict = self.down
        elif self._read >= self._limit:
            self._verdict = self.up if self.is_warming_up and self.z > self.z_warmup else 1.0
