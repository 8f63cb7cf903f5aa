"""The life of episodes: chosen, applied around every step of the optimizer, judged, recorded."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from hypernudge.episodes import checks
from hypernudge.episodes.axes.noise import NoiseSource
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.lifecycle import persistence
from hypernudge.episodes.lifecycle.applied import AppliedSelection
from hypernudge.episodes.lifecycle.hooks import Closure, hooks_of
from hypernudge.episodes.lifecycle.losses import LossBuffer, check_scalar
from hypernudge.episodes.lifecycle.update_norm import UpdateNorm
from hypernudge.episodes.ranks import active_group
from hypernudge.episodes.records import EpisodeRecord, Selection


class EpisodeLifecycle:
    """The open episode, if there is one, its part in every step, and the records of the closed ones.

    It is the `StepDriver` of a scheduler: what an optimizer's hooks hold.

    Args:
        optimizer: What is stepped.
        controller: Chooses, may want to see gradients, and learns.
        noise: Where gradient noise comes from.
        deferred_reads: See `LossBuffer`.
        update_norm: Measure the updates.
        process_group: Ranks that must choose alike; None for all of them.

    Attributes:
        current: What was chosen, or None between episodes.
        steps: Steps of the open episode so far.
        start: First optimizer step of the open episode.
        records: Closed episodes in order.
        step_count: Steps counted in all.
        losses: Losses of the open episode.
        evaluations: Times the closure of the step in progress was evaluated.
        touches: What it changes, as `take_over` found.
        handles: Further hooks, removed with it.
        detached: Whether it acts no longer: no step begins then.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        controller: Controller,
        noise: NoiseSource,
        *,
        deferred_reads: bool | None = None,
        update_norm: bool = False,
        process_group: Any = None,
    ) -> None:
        self.optimizer = optimizer
        self.controller = controller
        self.current: Selection | None = None
        self.steps = 0
        self.step_count = 0
        self.records: list[EpisodeRecord] = []
        self.losses = LossBuffer(controller.capacity, deferred=deferred_reads)
        self.evaluations = 0
        self.touches: frozenset[str] = frozenset()
        self.handles: list[RemovableHandle] = []
        self.detached = False
        self._last_rates: list[Any] = []
        self._applied = AppliedSelection(optimizer, controller.axes, noise)
        self._norm = UpdateNorm() if update_norm else None
        self._process_group = process_group
        self._strict = getattr(controller, "non_finite", "ignore") == "raise"
        self.start = 0
        self._begun = False

    # ------------------------------------------------------------------ episodes

    def open_early(self) -> None:
        """Open an episode now if an axis must be applied before the forward pass of its first step."""
        if self._applied.spans_forward:
            self._open(self.step_count)

    def close(self) -> None:
        """Judge and record the open episode.

        Raises:
            ValueError: Its losses have no reward, or are not finite under the policy `raise`; the
                episode is dropped then.
        """
        selection = self.current
        if selection is None:
            return
        try:
            losses = self._episode_losses(selection)
            reward = self.controller.close(selection, losses)
            self.records.append(
                EpisodeRecord(
                    index=len(self.records),
                    selection=selection,
                    start_step=self.start,
                    end_step=self.start + self.steps - 1,
                    loss_start=losses[0] if losses else None,
                    loss_end=losses[-1] if losses else None,
                    reward=reward,
                    update_norm=None if self._norm is None else self._norm.mean(),
                )
            )
        finally:
            # Also when the losses have no reward: the episode is lost, the scheduler is not.
            self.drop()
        self.open_early()

    def drop(self) -> None:
        """Forget the open episode: nothing is learned from it or recorded."""
        self._applied.leave()
        self.losses.clear()
        if self._norm is not None:
            self._norm.clear()
        self.current = None
        self.steps = 0

    def finalize(self) -> None:
        """Close the open episode early: judged and recorded if it has a step, dropped if not."""
        self.release()
        if self.steps:
            self.close()
        else:
            self.drop()

    def detach(self) -> None:
        """Remove every hook and put everything back as the user configured it; for good."""
        self.detached = True
        self.drop()
        for handle in self.handles:
            handle.remove()
        hooks_of(self.optimizer).remove(self)

    def last_rates(self) -> list[float]:
        """Return each group's rate at the last step, as applied; NaN for a group without one."""
        return [math.nan if rate is None else float(rate) for rate in self._last_rates]

    def losses_if_complete(self) -> list[float] | None:
        """Return the losses the episode will have if the step in progress completes it, if that is free.

        None if more steps follow, or if knowing would take a device read or a collective.
        """
        if not self.controller.is_complete(self.steps + 1) or active_group(self._process_group) is not None:
            return None
        return self.losses.with_pending()

    # ------------------------------------------------------------------ steps

    def observe(self, loss: Tensor | float) -> None:
        """Note a loss of the step in progress.

        Raises:
            ValueError: The loss is not a scalar, or not finite where that is refused.
        """
        check_scalar(loss)
        if self.evaluations > 1 or not self.controller.uses_loss:
            return  # a closure evaluated again within one step: only its first loss precedes the update
        value = self.losses.observe(loss)
        # With several ranks only the reduced losses may raise: one rank alone would hang the others.
        if self._strict and value is not None and active_group(self._process_group) is None:
            try:
                checks.finite("loss", value)
            except ValueError:
                self.losses.void_step()
                raise

    def check_attached(self) -> None:
        """Refuse to act once detached.

        Raises:
            RuntimeError: The scheduler was detached.
        """
        if self.detached:
            raise RuntimeError(
                "this scheduler of episodes was detached, or replaced by a later one on the same optimizer; "
                "use the later one or construct a new one"
            )

    def begin(self, start_step: int | None = None) -> Selection:
        """Open an episode if none is open and prepare a step; called by `before` if need be."""
        self.check_attached()
        self._applied.release()
        selection = self.current
        if selection is None:
            selection = self._open(self.step_count if start_step is None else start_step)
        if self._norm is not None:
            self._norm.snapshot(self.optimizer)
        self._begun = True
        return selection

    def before(self, closure: Closure | None) -> Closure | None:
        """Apply the selection; return a wrapped closure if noise must follow the backward pass.

        Raises:
            RuntimeError: The controller needs losses and none was observed.
        """
        if closure is None:
            self._require_loss()
        return self._prepare(closure)

    def after(self) -> None:
        """Undo the selection and count the step; close the episode if it is complete."""
        self.release()
        if self._norm is not None:
            self._norm.measure(self.optimizer)
        if self.controller.uses_gradients:
            self.controller.after_step(self.optimizer)
        if self.controller.uses_loss:
            self.losses.close_step()
        self.steps += 1
        self.step_count += 1
        if self.controller.is_complete(self.steps):
            self.close()

    def release(self) -> None:
        """Undo the selection's part in a step; no step is in progress then."""
        self._applied.release()
        self._begun = False
        self.evaluations = 0

    def failed(self) -> None:
        """Undo a step that raised: it is not counted and its loss is forgotten."""
        self.release()
        self.losses.void_step()

    @contextmanager
    def around(self) -> Iterator[None]:
        """Treat the body as one step; the loss is due by its end.

        Raises:
            RuntimeError: The controller needs losses and none was observed.
        """
        self._prepare(None)
        try:
            yield
            self._require_loss()
        except BaseException:
            self.failed()
            raise
        self.after()

    # ------------------------------------------------------------------ checkpoints

    def state_dict(self, *, logs: bool) -> dict[str, Any]:
        """Return the open episode, and the closed ones if `logs`, in plain types."""
        self._applied.release()
        return {
            "losses": self.losses.state_dict(),
            "current": None if self.current is None else persistence.plain(asdict(self.current)),
            "steps": self.steps,
            "start": self.start,
            "step_count": self.step_count,
            "norm": None if self._norm is None else [self._norm.total, self._norm.steps],
            "records": [persistence.plain(record.to_plain()) for record in self.records] if logs else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        counters = ("steps", "start", "step_count")
        steps, start, count = (checks.at_least(key, state[key], 0) for key in counters)
        records = [EpisodeRecord.from_plain(plain) for plain in state["records"]]
        current = persistence.selection(state["current"], self.controller.axes)
        norm = (0.0, 0) if state["norm"] is None else checks.state_list("norm", state["norm"], 2)
        self.drop()
        self.losses.load_state_dict(state["losses"])
        if self.controller.uses_loss and len(self.losses) != steps:
            rule = f"must be the {len(self.losses)} of the losses"
            checks.refuse("steps", rule, steps, "load it unchanged")
        self.step_count, self.records = count, records
        if self._norm is not None:
            self._norm.total, self._norm.steps = norm
        if current is not None:
            self._open(start, current)
        self.steps = steps

    # ------------------------------------------------------------------ parts of the above

    def _open(self, start_step: int, selection: Selection | None = None) -> Selection:
        """Begin an episode with what the controller chooses, or with a selection from a checkpoint."""
        self.current = self.controller.open() if selection is None else selection
        self.start = start_step
        self._applied.enter(self.current)
        return self.current

    def _episode_losses(self, selection: Selection) -> list[float]:
        if not self.controller.uses_loss:
            return []
        group = active_group(self._process_group)
        if group is None:
            return self.losses.values()
        return self.losses.reduced(group, self.controller.selection_id(selection))

    def _prepare(self, closure: Closure | None) -> Closure | None:
        if not self._begun:
            self.begin()
        self.evaluations = 0
        wrapped = None
        if closure is None:
            self._use_gradients()
        else:
            wrapped = self._wrap(closure)
        self._applied.apply("step")
        # A rate in a tensor is put back in place: what it was takes a copy.
        self._last_rates = [
            rate.detach().clone() if isinstance(rate, Tensor) else rate
            for rate in (group.get("lr") for group in self.optimizer.param_groups)
        ]
        return wrapped

    def _require_loss(self) -> None:
        if self.controller.uses_loss and not self.losses.pending:
            raise RuntimeError(
                "no loss was observed before optimizer.step(); call observe(loss) after the forward pass "
                "or construct the scheduler with criterion="
            )

    def _use_gradients(self) -> None:
        if self.evaluations <= 1 and self.controller.uses_gradients:
            self.controller.before_step(self.optimizer)
        self._applied.apply("gradients")

    def _wrap(self, closure: Closure) -> Closure:
        def evaluated() -> Any:
            self.evaluations += 1
            loss = closure()
            if self.evaluations == 1 and loss is not None and not self.losses.pending:
                self.observe(loss)
            self._use_gradients()
            return loss

        return evaluated
