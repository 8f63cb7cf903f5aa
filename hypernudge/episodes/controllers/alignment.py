"""Alignment episodes: the learning rate follows whether the next batch agrees with the last update."""

from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.axes.learning_rate import LearningRate
from hypernudge.episodes.controllers.agreement import AgreementProbe, Row
from hypernudge.episodes.controllers.evidence import Evidence
from hypernudge.episodes.controllers.overall import Overall
from hypernudge.episodes.controllers.step_bounds import StepBounds
from hypernudge.episodes.controllers.thresholds import Thresholds
from hypernudge.episodes.controllers.verdict import Judge, Verdict
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

    It needs no loss. Cost: every probe copies the probed coordinates twice and takes three or four scalar
    products; on an accelerator products stay on the device, and one transfer per look, of what is new, is
    read `lag` steps later, when it has long arrived. With several ranks each look is one collective.
    After the warm-up probes become rarer with the steps taken, so that a test takes the same small share of a
    long training as of a short one: every second step from 2,000 steps on, every eighth from 8,000 on.

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
        settled_every: How many times rarer probes become at most, at least 1.
        settled_steps: After the warm-up, and after k times so many steps, probes are k times rarer; at least
            1.
        look_every: Probes between looks at the test statistic, at least 1.
        lag: Steps between starting a transfer to the host and reading it, at least 0.
        coordinates: About so many coordinates of the model are probed, all of a smaller one; at least 1.
        low: Smallest multiplier.
        high: Largest multiplier, at least `low`.
        bounds: Bounds on the relative size of an update; None for none. With them the size, and not the
            multiplier, says where a search warms up: where an undecided test grows, and how soon.
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
        settled_every: int = 8,
        settled_steps: int = 1000,
        look_every: int = 1,
        lag: int = 1,
        coordinates: int = 8192,
        low: float = 1e-4,
        high: float = 1e4,
        bounds: StepBounds | None = None,
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
        self._thresholds = Thresholds(
            z_up=z_up,
            z_down=z_down,
            z_recover=z_recover,
            z_above_base=z_above_base,
            z_at_base=z_at_base,
            z_warmup=z_warmup,
            samples=samples,
            warmup_samples=warmup_samples,
            base_samples=base_samples,
            min_samples=min_samples,
        )
        self.every = checks.at_least("every", every, 1)
        self.settled_every = checks.at_least("settled_every", settled_every, 1)
        self.settled_steps = checks.at_least("settled_steps", settled_steps, 1)
        self.look_every = checks.at_least("look_every", look_every, 1)
        self.lag = checks.at_least("lag", lag, 0)
        self.initial_multiplier = checks.positive("initial_multiplier", initial_multiplier)
        self.multiplier = min(max(self.initial_multiplier, self.low), self.high)
        # Losses are not kept, but an episode's length still bounds the buffer that would hold them.
        apart = self.every * self.settled_every
        self.capacity = self._thresholds.most_samples * apart + apart + self.lag
        if bounds is not None and not isinstance(bounds, StepBounds):
            checks.refuse("bounds", "must be StepBounds or None", bounds, "pass StepBounds(...)")
        self.bounds = bounds
        self._judge = Judge(self._thresholds, bounds, self.up, self.down)
        self.z = 0.0
        self._overall = Overall()
        self._probe = AgreementProbe(coordinates, seed, sizes=bounds is not None, process_group=process_group)
        self._tick = 0
        self.may_leap = True  # a controller around this one forbids it while the user's rates rise
        self._begin()

    def _begin(self) -> None:
        """Begin the test anew."""
        self._taken = 0  # probes of this episode
        self._probe.clear()  # what was probed was made under the last multiplier
        self._evidence = Evidence()
        self._verdict: Verdict | None = None

    def open(self) -> Selection:
        """Return the current multiplier; the test begins anew."""
        self._begin()
        return Selection(f"lr{value_text(self.multiplier)}", (0,), (self.multiplier,))

    def before_step(self, optimizer: Optimizer) -> None:
        """Judge the last probed update by these gradients; begin a probe if one is due."""
        due = self._tick % (self.every * self._rarer) == 0
        limit = self._limit
        room = limit - self._taken
        # A probe that this one completes counts before another begins.
        begins = due and room > (1 if self._probe.waits else 0)
        if not self._probe.before_step(optimizer, judge=room > 0, begin=begins):
            return
        self._taken += 1
        looks = self._taken % self.look_every == 0 or self._taken == limit
        leaps = self.bounds is not None and not self.fell
        if looks and (self._taken >= self._thresholds.min_samples or leaps):
            self._probe.look(self._tick)

    def after_step(self, optimizer: Optimizer) -> None:
        """Complete a probe; read the look that an earlier step started."""
        del optimizer
        self._tick += 1
        while self._verdict is None:
            rows = self._probe.arrived(self._tick - self.lag)
            if rows is None:
                break
            self._decide(rows)
        self._probe.after_step()

    def is_complete(self, steps: int) -> bool:
        """Whether the test has come to a verdict."""
        del steps
        return self._verdict is not None

    def close(self, selection: Selection, losses: list[float]) -> RewardDetails | None:
        """Change the multiplier by the verdict; an episode closed without one changes nothing."""
        del selection, losses
        if self._verdict is not None:
            factor = self._verdict.factor
            if self._verdict.falls and not self.fell and self.first_down is not None:
                factor = self.first_down
            changed = min(max(self.multiplier * factor, self.low), self.high)
            self._overall.fell = self.fell or self._verdict.falls
            self._overall.tested += self._verdict.is_test
            self.multiplier = self._thresholds.after_a_crossing(self.multiplier, changed)
        self._verdict = None
        return None

    @property
    def verdict(self) -> float | None:
        """The factor that the test has come to, None while it goes on."""
        return None if self._verdict is None else self._verdict.factor

    @property
    def fell(self) -> bool:
        """Whether a verdict was ever negative."""
        return self._overall.fell

    def drawn(self, multiplier: float) -> float:
        """Return a peak drawn towards the usual size of updates by `bounds`; as it is where none is known.

        Args:
            multiplier: The peak, as a multiple of the optimizer's rates.
        """
        size = self._overall.size_at(multiplier)
        if self.bounds is None or size is None:
            return multiplier
        factor = self.bounds.drawn(size, self._judge.usual(self._overall), self._overall.judged)
        drawn = multiplier * factor
        return min(max(drawn, self.low), self.high)

    @property
    def knows_sizes(self) -> bool:
        """Whether the size of an update is known, where `bounds` ask for it; True without bounds."""
        return self.bounds is None or self._overall.size_at(1.0) is not None

    @property
    def is_warming_up(self) -> bool:
        """Whether the multiplier is below 1 and no verdict was negative yet."""
        return self._thresholds.is_warming_up(self.multiplier, self.fell)

    @property
    def only_grew(self) -> bool:
        """Whether the multiplier is neither 1 nor was any verdict negative yet."""
        return not self.fell and not self._at_base

    @property
    def stays_at_base(self) -> bool:
        """Whether the multiplier is exactly 1 and as many probes as decide elsewhere have not moved it."""
        return self._at_base and self._taken >= self._thresholds.samples

    @property
    def hardly_moves(self) -> bool:
        """Whether updates are small by `bounds` and no verdict was negative yet."""
        return self._judge.hardly_moves(self._evidence, self._overall)

    def rest(self) -> None:
        """Forget the test in progress and hold no tensor until an episode opens."""
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
            **self._thresholds.fingerprint(),
            "schedule": [self.every, self.settled_every, self.settled_steps, self.look_every, self.lag],
            "bounds": None if self.bounds is None else self.bounds.fingerprint(),
            "range": [self.low, self.high],
            "sample": self._probe.fingerprint(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the multiplier and the test in progress, in plain types and tensors."""
        return {
            "multiplier": self.multiplier,
            "z": self.z,
            "overall": self._overall.state_dict(),
            "tick": self._tick,
            "taken": self._taken,
            "probe": self._probe.state_dict(),
            "read": self._evidence.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        keys = ("multiplier", "z", "overall", "tick", "taken", "probe", "read")
        checks.state(state, keys, "state of Alignment")
        multiplier, z = checks.positive("multiplier", state["multiplier"]), checks.number("z", state["z"])
        tick, taken = (checks.at_least(key, state[key], 0) for key in ("tick", "taken"))
        overall, evidence = Overall.of_state(state["overall"]), Evidence.of_state(state["read"])
        self._begin()
        self._probe.load_state_dict(state["probe"])
        self.multiplier, self.z = multiplier, z
        self._tick, self._taken = tick, taken
        self._overall, self._evidence = overall, evidence

    @property
    def _at_base(self) -> bool:
        return self._thresholds.is_at_base(self.multiplier)

    @property
    def _rarer(self) -> int:
        """How many times rarer than `every` probes are by now."""
        if self.is_warming_up:
            return 1
        return min(max(1, self._tick // self.settled_steps), self.settled_every)

    @property
    def _limit(self) -> int:
        return self._judge.limit(self.multiplier, self.fell)

    def _decide(self, rows: list[Row]) -> None:
        self._evidence.add(rows)
        self.z = self._evidence.z
        self._overall.add(self._evidence, self.multiplier)
        if self.may_leap:
            size, is_first = self._evidence.last_size, self._overall.tested == 0
            self._verdict = self._judge.of_size(size, fell=self.fell, is_first=is_first)
        if self._verdict is None:
            self._verdict = self._judge.of_test(self._evidence, self.multiplier, self._overall)
