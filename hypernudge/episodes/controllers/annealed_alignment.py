"""Alignment for a training of known length: find a rate, then take it to zero."""

import warnings
from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.axes.moving_rate import MovingLearningRate
from hypernudge.episodes.controllers.alignment import Alignment
from hypernudge.episodes.controllers.anneal_shapes import AUTO, CHOICES, EPISODES, share_left
from hypernudge.episodes.controllers.base_rates import BaseRates
from hypernudge.episodes.controllers.step_bounds import StepBounds
from hypernudge.episodes.records import Selection, value_text
from hypernudge.episodes.rewards.base import RewardDetails
from hypernudge.episodes.trained_weights import SHARE, trained_share

SEARCH, ANNEAL = "search", "anneal"
ADAPTIVE_PEAK, PLAIN_PEAK = 2.0, 1.25
NEW = "new"
"""In place of a peak: that of a network trained from scratch, whatever the weights look like."""
SEARCHER: dict[str, Any] = {
    "first_down": 0.35,
    "z_up": 1.3,
    "z_recover": 2.0,
    "z_above_base": 2.0,
    "z_at_base": (1.7, 1.5),
    "z_warmup": 0.0,
    "bounds": StepBounds(),
}
STEPS_PER_DOUBLING = 6  # the soonest that five probes can speak for growth


class AnnealedAlignment:
    """Searches by `Alignment`, then anneals what was found: the last step of `total_steps` ends near 0.

    The search is over as soon as the evidence says so: past the first bound, once updates are not small any
    more and the rate stood a test; at the second bound in any case, or where a schedule of the user's own
    has halved the rate. While that schedule still rises the search goes on. From then on nothing is probed:
    the multiplier is a function of the step, and all groups keep the ratios of their rates.

    With a schedule of the user's own (one of `torch.optim.lr_scheduler` is attached, or the rate changed
    during the search) the multiplier found, times `peak`, stays by default and the schedule acts on top of
    it; a schedule that does not fall wants `anneal="linear"`.

    Args:
        total_steps: Optimizer steps of the whole training, at least 1. Steps that a gradient scaler skips do
            not count.
        anneal: `auto`, `linear`, `cosine`, `1-sqrt` or `none`, see `anneal_shapes`.
        search: Bounds of the end of the search, as shares of the steps, `0 <= first <= second < 1`.
        peak: Factor on the multiplier found, above 0. `new` for 2 where every group has `betas` (Adam and its
            kin, whose steps are bounded), else 1.25: an annealed training wants a higher rate than a constant
            one. What comes of that is drawn towards the size of updates that is usual where batches agree so
            far (`StepBounds.drawn`), unless a schedule of the user's acts; it is the multiplier found
            where a training is too short for one size to be known (of 5 steps at most). Such a peak may
            destroy a pretrained network, so None looks at the weights before the first step
            (`trained_share`): it is `new` for a new network, and 1, with a warning, for a pretrained one.
        alignment: Searches; None for one that rises on slighter evidence than the default, steps back by more
            on its first fall and bounds the relative size of updates (`SEARCHER`). It warms up from 0.01, or
            from more where the first bound is less than 84 steps away. It belongs to this controller from
            then on.
        process_group: Ranks that must choose alike; None for all of them.

    Raises:
        ValueError: An argument is out of range.
    """

    uses_loss = False
    uses_gradients = True

    def __init__(
        self,
        total_steps: int,
        *,
        anneal: str = AUTO,
        search: tuple[float, float] = (0.25, 0.5),
        peak: float | str | None = None,
        alignment: Alignment | None = None,
        process_group: Any = None,
    ) -> None:
        self.total_steps = checks.at_least("total_steps", total_steps, 1)
        self.anneal = checks.choice("anneal", anneal, CHOICES)
        self.search = _bounds(search)
        self.peak = _peak(peak)
        if alignment is not None and not isinstance(alignment, Alignment):
            checks.refuse("alignment", "must be an Alignment or None", alignment, "pass Alignment(...)")
        self._starts_by_itself = alignment is None
        if alignment is None:
            # A short training has no time for a long warm-up: at its fastest it takes half of the search.
            doublings = round(self.search[0] * self.total_steps) // (2 * STEPS_PER_DOUBLING)
            begin = max(0.01, 2.0**-doublings)
            alignment = Alignment(initial_multiplier=begin, process_group=process_group, **SEARCHER)
        self.alignment = alignment
        self._process_group = process_group
        self._share: float | None = None  # of what was pretrained; None before it was looked at
        self._axis = MovingLearningRate([self.alignment.low, self.alignment.high])
        self.axes: tuple[Axis, ...] = (self._axis,)
        self.capacity = max(self.alignment.capacity, self.total_steps)
        self._rates = BaseRates()
        self._step = 0
        self._since = 0  # step at which the search began
        self._stood: bool | None = None  # whether a rate stood its last test; None before the first verdict
        self._last: float | None = None  # factor of that verdict
        self._shape: str | None = None  # of the annealing, None while searching
        self._start, self._top = 0, 1.0  # step and multiplier from which the rate falls
        self._notice: str | None = None  # said before the next step: a warning may be an error
        self._axis.multiplier = self.multiplier

    # ------------------------------------------------------------------ what is in force

    @property
    def phase(self) -> str:
        """`search` or `anneal`."""
        return SEARCH if self._shape is None else ANNEAL

    @property
    def steps(self) -> int:
        """Steps taken."""
        return self._step

    @property
    def multiplier(self) -> float:
        """The multiplier of the next step."""
        return self.multiplier_at(self._step)

    def multiplier_at(self, step: int) -> float:
        """Return the multiplier of a step of the annealing; of any step while searching, the present one."""
        if self._shape is None:
            return self.alignment.multiplier
        return self._top * share_left(self._shape, step, self._start, self.total_steps)

    @property
    def pretrained(self) -> bool | None:
        """Whether the weights are taken for pretrained; None where a `peak` was given, and before a step."""
        return None if self._share is None else self._share > SHARE

    def metrics(self) -> dict[str, float]:
        """Return further numbers for a logger.

        `annealing` is 0 while searching, 1 from then on; `pretrained` is 1 where the weights are taken for
        that, 0 where not, and lacks where they were not looked at.
        """
        looked = {} if self.pretrained is None else {"pretrained": float(self.pretrained)}
        return {"annealing": float(self.phase == ANNEAL), **looked}

    def extend(self, total_steps: int) -> None:
        """Train on, or shorter: change the number of steps.

        While searching it is as if the training had been of this length from the start, but for its first
        multiplier: one of less than about 330 steps has begun its warm-up higher. An annealing that is
        shortened falls to zero by the new end from where it is; one that is lengthened ends, the multiplier
        returns to what was found and the search goes on from there, with the same shares of what is left.

        Raises:
            ValueError: `total_steps` is not above the steps taken.
        """
        self.check_extension(total_steps)
        if self._shape is not None and total_steps != self.total_steps:
            if total_steps < self.total_steps:
                self._top, self._start = self.multiplier, self._step
            else:
                self._shape, self._since, self._stood, self._last = None, self._step, None, None
        self.total_steps, self._notice = total_steps, None
        self.capacity = max(self.capacity, total_steps)
        self._axis.multiplier = self.multiplier

    def check_extension(self, total_steps: int) -> None:
        """Refuse a number of steps that `extend` cannot have.

        Raises:
            ValueError: `total_steps` is not above the steps taken.
        """
        if checks.at_least("total_steps", total_steps, 1) <= self._step:
            rule = f"must be above the {self._step} steps taken"
            checks.refuse("total_steps", rule, total_steps, "pass the steps of the whole training")

    # ------------------------------------------------------------------ the protocol of controllers

    def open(self) -> Selection:
        """Return the multiplier of the next step, and the phase as the bucket."""
        if self._shape is None:
            found = self.alignment.open()
            return Selection(found.name, found.arms, found.values, SEARCH)
        value = self.multiplier
        return Selection(f"lr{value_text(value)}", (0,), (value,), ANNEAL)

    def before_step(self, optimizer: Optimizer) -> None:
        """Look at the weights, once; let the search see the gradients; warn of what has come about."""
        if self.peak is None and self._share is None:
            self._share = trained_share(optimizer, self._process_group)
            if self.pretrained:
                self._notice = (
                    f"the network is taken for pretrained ({self._share:.0%} of its weights lie in matrices "
                    "that are not random any more): the rate found is annealed without a higher peak; "
                    f"pass peak=1 to say that it is meant, or peak={NEW!r} to train it like a new network"
                )
        if self._notice is not None:
            notice, self._notice = self._notice, None
            warnings.warn(notice, stacklevel=2)
        if self._shape is None:
            self.alignment.before_step(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        """Count the step; end the search where it is due."""
        self._step += 1
        if self._shape is None:
            self._rates.note(optimizer)
            # What a warm-up of the user's own holds back must not be made up for.
            self.alignment.may_leap = not self._rates.rising
            self.alignment.after_step(optimizer)
            if self._is_over():
                self._end_search(optimizer)
        elif self._step == self.total_steps and self._shape != "none":
            self._notice = (
                f"training goes on after the {self.total_steps} steps it was given, at a rate of 0: call "
                "extend(total_steps) on the scheduler of episodes to train on"
            )
        self._axis.multiplier = self.multiplier

    def is_complete(self, steps: int) -> bool:
        """Whether the test has come to a verdict, the search has ended or a part of the annealing is over."""
        if self._shape is None:
            return self.alignment.is_complete(steps)
        if self._start == self._step:
            return True  # the episode that was open is the search's last
        way = self.total_steps - (self._start if self._step <= self.total_steps else 0)
        return steps >= -(-way // EPISODES)

    def close(self, selection: Selection, losses: list[float]) -> RewardDetails | None:
        """Let the search change the multiplier by its verdict."""
        del selection, losses
        if self._shape is None:
            self._learn()
            self._axis.multiplier = self.multiplier
        return None

    def selection_id(self, selection: Selection) -> int:
        """Return 0: ranks decide on reduced products and cannot differ."""
        del selection
        return 0

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types.

        Where the warm-up begins is one only if it was given: otherwise it follows from the number of steps
        that was named first, and a training that was extended is resumed with another.
        """
        alignment = self.alignment.fingerprint()
        if self._starts_by_itself:
            del alignment["start"]
        return {
            "kind": "annealed_alignment",
            "total_steps": self.total_steps,
            "anneal": self.anneal,
            "search": list(self.search),
            "peak": self.peak,
            "alignment": alignment,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the phase and the search, in plain types and tensors."""
        return {
            "step": self._step,
            "since": self._since,
            "stood": self._stood,
            "last": self._last,
            "shape": self._shape,
            "start": self._start,
            "top": self._top,
            "share": self._share,
            "rates": self._rates.state_dict(),
            "alignment": self.alignment.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        keys = ("step", "since", "stood", "last", "shape", "start", "top", "share", "rates", "alignment")
        checks.state(state, keys, "state of AnnealedAlignment")
        step, since, start = (checks.at_least(key, state[key], 0) for key in ("step", "since", "start"))
        stood, shape = checks.flag("stood", state["stood"], optional=True), state["shape"]
        if shape is not None:
            checks.choice("shape", shape, CHOICES[1:])
        top = checks.positive("top", state["top"])
        last = None if state["last"] is None else checks.positive("last", state["last"])
        share = None if state["share"] is None else checks.not_negative("share", state["share"])
        self._rates.load_state_dict(state["rates"])
        self.alignment.load_state_dict(state["alignment"])
        self._step, self._since, self._start = step, since, start
        self._stood, self._last, self._shape, self._top = stood, last, shape, top
        self._share, self._notice = share, None
        self._axis.multiplier = self.multiplier

    # ------------------------------------------------------------------ the end of the search

    def _learn(self) -> None:
        """Let the search change the multiplier by its verdict, if there is one."""
        verdict, fell, small = self.alignment.verdict, self.alignment.fell, self.alignment.hardly_moves
        if verdict is not None:
            self.alignment.close(Selection("", (0,), (1.0,)), [])
            # What the first fall leads to has to be tested first: it may have been a step too far.
            # Nor has a rate stood a test at which the network hardly moves.
            self._stood, self._last = verdict <= 1.0 and (fell or (verdict == 1.0 and not small)), verdict

    def _is_over(self) -> bool:
        left = self.total_steps - self._since
        first, second = (self._since + round(share * left) for share in self.search)
        if self._rates.rising and self._step < self.total_steps - 1:
            return False
        return self._step >= second or (self._step >= first and (self._settled or self._rates.halved))

    @property
    def _settled(self) -> bool:
        stays = self.alignment.stays_at_base or self._stood is True
        if self.alignment.bounds is None:
            return stays and not self.alignment.is_warming_up
        return stays and not self.alignment.hardly_moves

    def _end_search(self, optimizer: Optimizer) -> None:
        self._learn()
        if self.alignment.only_grew and not self._stood:
            self._notice = (
                f"the search for a rate ended after {self._step - self._since} steps {self._unfinished}"
            )
        scheduled = self._rates.scheduled(optimizer)
        self._shape = ("none" if scheduled else "linear") if self.anneal == AUTO else self.anneal
        self._start, self._top = self._step, self._found_peak(optimizer, drawn=not scheduled)
        self.alignment.rest()

    @property
    def _unfinished(self) -> str:
        """How a search stands that no rate has stood a test of, and what helps."""
        found, last = self.alignment.multiplier, 1.0 if self._last is None else self._last
        where = f"{found:g} times the optimizer's"
        if last < 1.0 and found <= self.alignment.low:
            return f"while the rate still fell, at the least multiplier, {where}: pass a smaller rate"
        if last > 1.0 and found >= self.alignment.high:
            return f"while the rate still rose, at the largest multiplier, {where}: pass a larger rate"
        way = "while the rate still rose" if last > 1.0 else "before a rate had stood a test"
        # Where sizes of updates are known, untested steps make up for whatever rate was passed.
        also = "" if self.alignment.bounds is not None else ", or pass a larger rate"
        return f"{way}, at {where}: train for more steps{also}"

    def _found_peak(self, optimizer: Optimizer, *, drawn: bool) -> float:
        """Return the multiplier to anneal from, drawn towards the usual size of updates if that is wanted."""
        if isinstance(self.peak, float):
            return self.alignment.multiplier * self.peak
        if self.pretrained or not self.alignment.knows_sizes:
            return self.alignment.multiplier  # where nothing bounds it, nothing higher is tried
        adaptive = all("betas" in group for group in optimizer.param_groups)
        top = self.alignment.multiplier * (ADAPTIVE_PEAK if adaptive else PLAIN_PEAK)
        return self.alignment.drawn(top) if drawn else top


def _peak(peak: Any) -> float | str | None:
    if peak is None:
        return None
    if isinstance(peak, str):
        if peak == NEW:
            return NEW  # of NumPy's kind, say, it would not load from a checkpoint with weights_only=True
        rule = f"must be a number above 0, {NEW!r} or None"
        checks.refuse("peak", rule, peak, "pass 1 to fine-tune a pretrained network")
    return float(checks.positive("peak", peak))


def _bounds(search: Any) -> tuple[float, float]:
    right = isinstance(search, (tuple, list)) and len(search) == 2
    if right:
        first, second = (float(checks.not_negative("search", share)) for share in search)
        right = first <= second < 1
    if not right:
        rule = "must be two shares of the steps, 0 <= first <= second < 1"
        checks.refuse("search", rule, search, "pass (0.25, 0.5)")
    return first, second
