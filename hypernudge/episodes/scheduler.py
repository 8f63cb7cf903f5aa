"""The scheduler: puts what a controller chose in force around every step of an optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hypernudge.episodes import checks, persistence
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.axes.noise import NoiseSource
from hypernudge.episodes.build import bandit_controller
from hypernudge.episodes.controller import Controller
from hypernudge.episodes.hooks import Closure, StepHooks, unwrap
from hypernudge.episodes.in_force import InForce
from hypernudge.episodes.losses import LossBuffer
from hypernudge.episodes.noise import StreamedNoise
from hypernudge.episodes.ranks import active_group, shared_seed
from hypernudge.episodes.records import EpisodeRecord, Selection, selection_from_plain
from hypernudge.episodes.update_norm import UpdateNorm
from hypernudge.episodes.watch import training_loss


class EpisodicScheduler:
    """Adapts a running optimizer in episodes: a controller chooses, a window of steps judges.

    Attach it and report the loss of each step, and the training loop stays as it is::

        episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 1, 2]), seed=0)
        for inputs, targets in loader:
            loss = criterion(model(inputs), targets)
            episodes.observe(loss)          # or construct with criterion=criterion
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    Cost: on the learning-rate axis a few Python operations per step, no memory, one device read per
    episode; gradient noise costs its random numbers. With ``torch.distributed`` initialised the ranks
    average their losses by one collective per episode and therefore choose alike.

    A CUDA graph replay runs no hooks: capture the step (hooks stand aside), then wrap each replay in
    :meth:`around_step` and keep the learning rate in a tensor.

    Args:
        optimizer: The optimizer, or a wrapper with the real one as ``.optimizer``.
        *axes: What may change. Leave empty when a ``controller`` is given.
        controller: Decides instead of bandits, for example :class:`~hypernudge.episodes.Alignment`.
        criterion: Module whose output is, or has as ``.loss``, the training loss; saves ``observe``.
        seed: Seed of every random stream; None draws one, shared by all ranks.
        deferred_reads: Keep losses on their device until the episode closes; None decides by device.
        process_group: Ranks that must choose alike; None for all of them.
        update_norm: Log the mean update norm (copies the parameters and reads the device every step).
        noise_source: Where gradient noise comes from; None for independent streams.
        attach: Register the hooks; False leaves stepping to :meth:`around_step`.
        **bandit_options: Options of :func:`~hypernudge.episodes.build.bandit_controller`:
            ``episode_length``, ``bandit``, ``reward``, ``context``, ``conditional``, ``non_finite``.

    Raises:
        TypeError: ``optimizer`` holds no torch optimizer.
        ValueError: An argument is out of range or the optimizer lacks what an axis changes.
    """

    def __init__(
        self,
        optimizer: Any,
        *axes: Axis,
        controller: Controller | None = None,
        criterion: nn.Module | None = None,
        seed: int | None = None,
        deferred_reads: bool | None = None,
        process_group: Any = None,
        update_norm: bool = False,
        noise_source: NoiseSource | None = None,
        attach: bool = True,
        **bandit_options: Any,
    ) -> None:
        self.optimizer = unwrap(optimizer)
        self.seed = shared_seed(seed, process_group)
        if controller is None:
            controller = bandit_controller(axes, seed=self.seed, **bandit_options)
        elif axes or bandit_options:
            extra = [*(axis.name for axis in axes), *bandit_options]
            raise ValueError(f"controller decides alone; drop {extra} or set them on the controller.")
        for axis in controller.axes:
            axis.check(self.optimizer)
        self.controller = controller
        self.step_count = 0
        self.current: Selection | None = None
        self.records: list[EpisodeRecord] = []
        self._process_group = process_group
        self._losses = LossBuffer(controller.capacity, deferred=deferred_reads)
        noise = noise_source if noise_source is not None else StreamedNoise(self.seed)
        self._in_force = InForce(self.optimizer, controller.axes, noise)
        self._norm = UpdateNorm() if update_norm else None
        self._steps = 0
        self._start = 0
        self._begun = False
        self._evaluations = 0
        self._strict = getattr(controller, "non_finite", "ignore") == "raise"
        self._hooks = StepHooks(self.optimizer, self) if attach else None
        self._handles: list[RemovableHandle] = []
        if criterion is not None:
            self.watch(criterion)
        if self._in_force.spans_forward:
            self._open(0)

    # ------------------------------------------------------------------ what the user calls

    def observe(self, loss: Tensor | float) -> None:
        """Report a loss of the step in progress; several before one step count as their mean.

        Args:
            loss: Scalar, one element; never modified, and kept on its device.

        Raises:
            ValueError: The loss is not a scalar, or not finite under the policy ``raise``.
        """
        if isinstance(loss, Tensor) and loss.numel() != 1:
            raise ValueError(f"loss must be a scalar, but has shape {tuple(loss.shape)}; reduce it first.")
        if self._evaluations > 1 or not self.controller.uses_loss:
            return  # a closure evaluated again within one step: only its first loss precedes the update
        value = self._losses.observe(loss)
        # With several ranks only the reduced losses may raise: one rank alone would hang the others.
        if self._strict and value is not None and active_group(self._process_group) is None:
            try:
                checks.finite("loss", value)
            except ValueError:
                self._losses.void_step()
                raise

    def watch(self, module: nn.Module) -> RemovableHandle:
        """Observe the training loss that ``module`` returns, at every forward pass with gradients."""

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            loss = training_loss(output)
            if loss is not None:
                self.observe(loss)

        handle = module.register_forward_hook(hook)
        self._handles.append(handle)
        return handle

    @contextmanager
    def around_step(self) -> Iterator[None]:
        """Treat the body as one optimizer step: a graph replay, or a step without hooks."""
        self.before(None)
        try:
            yield
        except BaseException:
            self.failed()
            raise
        self.after()

    def finalize(self) -> None:
        """Close the open episode early: judged and logged if it has a step, dropped if not. Idempotent."""
        self._in_force.release()
        self._begun = False
        if self.current is None:
            return
        if self._steps:
            self._close()
        else:
            self._drop()

    def abandon(self) -> None:
        """Drop the open episode: nothing is learned from it or logged."""
        self._in_force.release()
        self._drop()

    def losses_if_full(self) -> list[float] | None:
        """Return the losses the episode will have if the step in progress completes it, if that is free.

        None if more steps follow, or if knowing would take a device read or a collective.
        """
        if not self.controller.full(self._steps + 1) or active_group(self._process_group) is not None:
            return None
        return self._losses.with_pending()

    def detach(self) -> None:
        """Remove every hook and put everything back as the user configured it."""
        self._in_force.release()
        self._drop()
        for handle in self._handles:
            handle.remove()
        if self._hooks is not None:
            self._hooks.remove()

    def __enter__(self) -> EpisodicScheduler:
        """Return self."""
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        """Finalize unless an exception passes through, then detach."""
        if kind is None:
            self.finalize()
        self.detach()

    @property
    def device_reads(self) -> int:
        """Times losses were fetched from a device, at most one per episode."""
        return self._losses.reads

    # ------------------------------------------------------------------ around one step

    def begin(self, start_step: int | None = None) -> Selection:
        """Open an episode if none is open and prepare a step; called by :meth:`before` if need be."""
        self._in_force.release()
        if self.current is None:
            self._open(self.step_count if start_step is None else start_step)
        if self._norm is not None:
            self._norm.snapshot(self.optimizer)
        self._begun = True
        assert self.current is not None  # narrowing only: just opened
        return self.current

    def before(self, closure: Closure | None) -> Closure | None:
        """Put the selection in force; return a wrapped closure if noise must follow the backward pass.

        Raises:
            RuntimeError: The controller needs losses and none was observed.
        """
        if closure is None and self.controller.uses_loss and not self._losses.pending:
            raise RuntimeError(
                "no loss was observed before optimizer.step(); call observe(loss) after the forward pass "
                "or construct the scheduler with criterion=."
            )
        if not self._begun:
            self.begin()
        self._evaluations = 0
        wrapped = None
        if closure is None:
            self._gradients_ready()
        else:
            wrapped = self._wrap(closure)
        self._in_force.apply()
        return wrapped

    def after(self) -> None:
        """Take the selection out of force and count the step; close the episode if it is full."""
        self._in_force.release()
        self._begun = False
        self._evaluations = 0
        if self._norm is not None:
            self._norm.measure(self.optimizer)
        if self.controller.uses_gradients:
            self.controller.stepped(self.optimizer)
        if self.controller.uses_loss:
            self._losses.close_step()
        self._steps += 1
        self.step_count += 1
        if self.controller.full(self._steps):
            self._close()

    def failed(self) -> None:
        """Undo a step that raised: it is not counted and its loss is forgotten."""
        self._in_force.release()
        self._begun = False
        self._evaluations = 0
        self._losses.void_step()

    def _gradients_ready(self) -> None:
        if self.controller.uses_gradients:
            self.controller.gradients_ready(self.optimizer)
        self._in_force.perturb()

    def _wrap(self, closure: Closure) -> Closure:
        def evaluated() -> Any:
            self._evaluations += 1
            loss = closure()
            if self._evaluations == 1:
                if loss is not None and not self._losses.pending:
                    self.observe(loss)
                self._gradients_ready()
            else:
                self._in_force.perturb()
            return loss

        return evaluated

    # ------------------------------------------------------------------ episodes

    def _open(self, start_step: int, selection: Selection | None = None) -> None:
        self.current = self.controller.open() if selection is None else selection
        self._start = start_step
        self._in_force.enter(self.current)

    def _close(self) -> None:
        selection = self.current
        if selection is None:
            return
        group = active_group(self._process_group)
        try:
            if not self.controller.uses_loss:
                losses: list[float] = []
            elif group is None:
                losses = self._losses.values()
            else:
                losses = self._losses.reduced(group, self.controller.code(selection))
            reward = self.controller.close(selection, losses)
            self.records.append(
                EpisodeRecord(
                    index=len(self.records),
                    selection=selection,
                    start_step=self._start,
                    end_step=self._start + self._steps - 1,
                    loss_start=losses[0] if losses else None,
                    loss_end=losses[-1] if losses else None,
                    reward=reward,
                    update_norm=None if self._norm is None else self._norm.mean(),
                )
            )
        finally:
            # Also when the losses have no reward: the episode is lost, the scheduler is not.
            self._drop()
        if self._in_force.spans_forward:
            self._open(self.step_count)

    def _drop(self) -> None:
        self._in_force.leave()
        self._losses.clear()
        if self._norm is not None:
            self._norm.clear()
        self.current = None
        self._steps = 0

    # ------------------------------------------------------------------ checkpoints

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings a checkpoint must share, in plain types."""
        return {"controller": self.controller.fingerprint(), "noise": type(self._in_force.noise).__name__}

    def state_dict(self, *, logs: bool = True) -> dict[str, Any]:
        """Return everything a bit-exact continuation needs, in plain types and tensors.

        Loads with ``torch.load(..., weights_only=True)``. May be taken at any point between steps, also
        inside an episode or between the micro-batches of an accumulated step.

        Args:
            logs: Include the records of closed episodes.
        """
        self._in_force.release()
        return {
            "format": persistence.FORMAT,
            "settings": self.fingerprint(),
            "seed": self.seed,
            "controller": self.controller.state_dict(),
            "noise": self._in_force.noise.state_dict(),
            "losses": self._losses.state_dict(),
            "current": None if self.current is None else persistence.plain(asdict(self.current)),
            "steps": self._steps,
            "start": self._start,
            "step_count": self.step_count,
            "norm": None if self._norm is None else [self._norm.total, self._norm.steps],
            "records": [persistence.plain(record.to_plain()) for record in self.records] if logs else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken.

        Raises:
            ValueError: The state was saved under other settings; nothing is changed then.
        """
        persistence.check_state(state, self.fingerprint())
        self._in_force.release()
        self._drop()
        self.seed = state["seed"]
        self.controller.load_state_dict(state["controller"])
        self._in_force.noise.load_state_dict(state["noise"])
        self._losses.load_state_dict(state["losses"])
        self.step_count = state["step_count"]
        self.records = [EpisodeRecord.from_plain(plain) for plain in state["records"]]
        self._begun = False
        if self._norm is not None and state["norm"] is not None:
            self._norm.total, self._norm.steps = state["norm"]
        if state["current"] is not None:
            self._open(state["start"], selection_from_plain(state["current"]))
        self._steps = state["steps"]
