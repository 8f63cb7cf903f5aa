"""Several controllers on one optimizer, each with axes and episodes of its own."""

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.records import Selection, selection_from_plain, selection_to_plain
from hypernudge.episodes.rewards.base import RewardDetails


class JointController:
    """Lets every part decide about its own axes, for as long as its own episodes last.

    What is in force changes whenever an episode of a part ends, and that is what the records hold; a part
    whose episode goes on keeps its choice and is given all the losses of its episode when it ends.

    Args:
        parts: The controllers, at least one; no two may change the same.

    Raises:
        ValueError: `parts` is empty.
    """

    def __init__(self, parts: Sequence[Controller]) -> None:
        if not parts:
            checks.refuse("parts", "must not be empty", parts, "pass controllers")
        self.parts = tuple(parts)
        self.axes: tuple[Axis, ...] = tuple(axis for part in self.parts for axis in part.axes)
        self.uses_loss = any(part.uses_loss for part in self.parts)
        self.uses_gradients = True  # steps are counted there
        self.capacity = max(part.capacity for part in self.parts)
        self.non_finite = next(
            (part.non_finite for part in self.parts if hasattr(part, "non_finite")), "ignore"
        )
        self._open: list[Selection | None] = [None for _ in self.parts]
        self._steps = [0 for _ in self.parts]  # of each part's episode, in joint episodes that are over
        self._losses: list[list[float]] = [[] for _ in self.parts]
        self._taken = 0  # steps of the joint episode

    def open(self) -> Selection:
        """Ask the parts whose episode is over; the others keep their choice."""
        self._taken = 0
        self._open = [
            part.open() if chosen is None else chosen
            for part, chosen in zip(self.parts, self._open, strict=True)
        ]
        chosen = [selection for selection in self._open if selection is not None]
        return Selection(
            "_".join(selection.name for selection in chosen),
            tuple(arm for selection in chosen for arm in selection.arms),
            tuple(value for selection in chosen for value in selection.values),
            next((selection.bucket for selection in chosen if selection.bucket is not None), None),
        )

    def before_step(self, optimizer: Optimizer) -> None:
        """Show the gradients to the parts that want to see them."""
        for part in self.parts:
            if part.uses_gradients:
                part.before_step(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        """Show the parameters to the parts that want to see them."""
        self._taken += 1
        for part in self.parts:
            if part.uses_gradients:
                part.after_step(optimizer)

    def is_complete(self, steps: int) -> bool:
        """Whether the episode of a part ends after `steps` of the joint episode."""
        return any(self._ended(steps))

    def close(self, selection: Selection, losses: list[float]) -> RewardDetails | None:
        """Close the parts whose episode is over; all of them where none is, since it is closed early then.

        Raises:
            ValueError: The losses of a part have no reward; the others have learned.
        """
        ended = self._ended(self._taken)
        early = not any(ended)
        reward: RewardDetails | None = None
        failure: ValueError | None = None
        for index, part in enumerate(self.parts):
            self._steps[index] += self._taken
            self._losses[index] += losses if part.uses_loss else []
            chosen = self._open[index]
            if chosen is None or not (early or ended[index]):
                continue
            own, self._losses[index] = self._losses[index], []
            self._open[index], self._steps[index] = None, 0
            try:
                reward = part.close(chosen, own) or reward
            except ValueError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return reward

    def selection_id(self, selection: Selection) -> int:
        """Number the combinations of what the parts chose."""
        number = start = 0
        for part in self.parts:
            end = start + len(part.axes)
            own = Selection("", selection.arms[start:end], selection.values[start:end])
            arms = 1
            for axis in part.axes:
                arms *= len(axis.candidates)
            number, start = number * arms + part.selection_id(own), end
        return number

    def metrics(self) -> dict[str, float]:
        """Return the further numbers of the parts that have some."""
        found: dict[str, float] = {}
        for part in self.parts:
            if hasattr(part, "metrics"):
                found |= part.metrics()
        return found

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types."""
        return {"kind": "joint", "parts": [part.fingerprint() for part in self.parts]}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part and of its episode."""
        return {
            "parts": [part.state_dict() for part in self.parts],
            "open": [None if chosen is None else selection_to_plain(chosen) for chosen in self._open],
            "steps": list(self._steps),
            "taken": self._taken,
            "losses": [list(losses) for losses in self._losses],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.state(state, ("parts", "open", "steps", "taken", "losses"), "state of JointController")
        count = len(self.parts)
        for key in ("parts", "open", "losses"):
            if not isinstance(state[key], list) or len(state[key]) != count:
                checks.refuse(key, f"must be a list of {count}", state[key], "load it into the same parts")
        steps = checks.state_list("steps", state["steps"], count, int)
        taken = checks.at_least("taken", state["taken"], 0)
        losses = [checks.state_list("losses", row, len(row)) for row in state["losses"]]
        chosen = [None if plain is None else selection_from_plain(plain) for plain in state["open"]]
        for part, plain in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(plain)
        self._open, self._steps, self._losses = chosen, steps, losses
        self._taken = taken

    def _ended(self, steps: int) -> list[bool]:
        """Return which parts' episodes end after `steps` of the joint episode."""
        return [
            part.is_complete(before + steps) for part, before in zip(self.parts, self._steps, strict=True)
        ]
