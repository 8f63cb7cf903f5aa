"""The life of episodes: chosen, in force for a number of steps, judged, recorded."""

from dataclasses import asdict
from typing import Any

from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.lifecycle import persistence
from hypernudge.episodes.lifecycle.in_force import InForce
from hypernudge.episodes.lifecycle.losses import LossBuffer
from hypernudge.episodes.lifecycle.update_norm import UpdateNorm
from hypernudge.episodes.ranks import active_group
from hypernudge.episodes.records import EpisodeRecord, Selection, selection_from_plain


class EpisodeLife:
    """The open episode, if there is one, and the records of the closed ones.

    Args:
        controller: Chooses and learns.
        in_force: Applies what was chosen.
        losses: Losses of the open episode.
        norm: Measures updates, or None.
        process_group: Ranks that must choose alike; None for all of them.

    Attributes:
        current: What is in force, or None between episodes.
        steps: Steps of the open episode so far.
        records: Closed episodes in order.
        step_count: Steps counted in all.
    """

    def __init__(
        self,
        controller: Controller,
        in_force: InForce,
        losses: LossBuffer,
        norm: UpdateNorm | None,
        process_group: Any,
    ) -> None:
        self.current: Selection | None = None
        self.steps = 0
        self.step_count = 0
        self.records: list[EpisodeRecord] = []
        self._controller = controller
        self._in_force = in_force
        self._losses = losses
        self._norm = norm
        self._process_group = process_group
        self._start = 0

    def open(self, start_step: int, selection: Selection | None = None) -> Selection:
        """Begin an episode with what the controller chooses, or with a selection from a checkpoint."""
        self.current = self._controller.open() if selection is None else selection
        self._start = start_step
        self._in_force.enter(self.current)
        return self.current

    def snapshot(self, optimizer: Optimizer) -> None:
        """Prepare to measure the update of the step that begins."""
        if self._norm is not None:
            self._norm.snapshot(optimizer)

    def count_step(self, optimizer: Optimizer) -> None:
        """Take a finished step into account; close the episode if it is full."""
        if self._norm is not None:
            self._norm.measure(optimizer)
        if self._controller.uses_gradients:
            self._controller.stepped(optimizer)
        if self._controller.uses_loss:
            self._losses.close_step()
        self.steps += 1
        self.step_count += 1
        if self._controller.full(self.steps):
            self.close()

    def close(self) -> None:
        """Judge and record the open episode.

        Raises:
            ValueError: Its losses have no reward, or are not finite under the policy ``raise``; the
                episode is dropped then.
        """
        selection = self.current
        if selection is None:
            return
        try:
            losses = self._episode_losses(selection)
            reward = self._controller.close(selection, losses)
            self.records.append(
                EpisodeRecord(
                    index=len(self.records),
                    selection=selection,
                    start_step=self._start,
                    end_step=self._start + self.steps - 1,
                    loss_start=losses[0] if losses else None,
                    loss_end=losses[-1] if losses else None,
                    reward=reward,
                    update_norm=None if self._norm is None else self._norm.mean(),
                )
            )
        finally:
            # Also when the losses have no reward: the episode is lost, the scheduler is not.
            self.drop()
        if self._in_force.spans_forward:
            self.open(self.step_count)

    def drop(self) -> None:
        """Forget the open episode: nothing is learned from it or recorded."""
        self._in_force.leave()
        self._losses.clear()
        if self._norm is not None:
            self._norm.clear()
        self.current = None
        self.steps = 0

    def state_dict(self, *, logs: bool) -> dict[str, Any]:
        """Return the open episode, and the closed ones if ``logs``, in plain types."""
        return {
            "losses": self._losses.state_dict(),
            "current": None if self.current is None else persistence.plain(asdict(self.current)),
            "steps": self.steps,
            "start": self._start,
            "step_count": self.step_count,
            "norm": None if self._norm is None else [self._norm.total, self._norm.steps],
            "records": [persistence.plain(record.to_plain()) for record in self.records] if logs else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        counters = ("steps", "start", "step_count")
        steps, start, count = (checks.at_least(key, state[key], 0) for key in counters)
        records = [EpisodeRecord.from_plain(plain) for plain in state["records"]]
        current = None if state["current"] is None else selection_from_plain(state["current"])
        axes = self._controller.axes
        if current is not None and (
            len(current.arms) != len(axes)
            or not all(0 <= arm < len(axis.candidates) for arm, axis in zip(current.arms, axes, strict=True))
        ):
            checks.refuse("current", f"must choose for {len(axes)} axes", current.arms, "load it unchanged")
        norm = (0.0, 0) if state["norm"] is None else checks.state_list("norm", state["norm"], 2)
        self.drop()
        self._losses.load_state_dict(state["losses"])
        if self._controller.uses_loss and len(self._losses) != steps:
            rule = f"must be the {len(self._losses)} of the losses"
            checks.refuse("steps", rule, steps, "load it unchanged")
        self.step_count, self.records = count, records
        if self._norm is not None:
            self._norm.total, self._norm.steps = norm
        if current is not None:
            self.open(start, current)
        self.steps = steps

    def _episode_losses(self, selection: Selection) -> list[float]:
        if not self._controller.uses_loss:
            return []
        group = active_group(self._process_group)
        if group is None:
            return self._losses.values()
        return self._losses.reduced(group, self._controller.code(selection))
