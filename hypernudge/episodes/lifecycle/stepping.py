"""What happens around one step of the optimizer: in force before it, out of force and counted after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.lifecycle.hooks import Closure
from hypernudge.episodes.lifecycle.in_force import InForce
from hypernudge.episodes.lifecycle.life import EpisodeLife
from hypernudge.episodes.lifecycle.losses import LossBuffer
from hypernudge.episodes.ranks import active_group
from hypernudge.episodes.records import Selection
from hypernudge.errors import InvalidArgumentError


class EpisodeStepping:
    """Drives the episodes' part of every step; a :class:`~hypernudge.episodes.lifecycle.hooks.StepDriver`.

    Args:
        optimizer: The optimizer.
        controller: Chooses, and may want to see gradients.
        in_force: Applies what was chosen.
        losses: Losses of the open episode.
        life: Opens, counts and closes episodes.
        process_group: Ranks that must choose alike; None for all of them.

    Attributes:
        evaluations: Times the closure of the step in progress was evaluated.
        closed: Whether the scheduler was detached: no step begins then.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        controller: Controller,
        in_force: InForce,
        losses: LossBuffer,
        life: EpisodeLife,
        process_group: Any = None,
    ) -> None:
        self._optimizer = optimizer
        self._controller = controller
        self._in_force = in_force
        self._losses = losses
        self._life = life
        self._process_group = process_group
        self._strict = getattr(controller, "non_finite", "ignore") == "raise"
        self._begun = False
        self.evaluations = 0
        self.closed = False

    def observe(self, loss: Tensor | float) -> None:
        """Note a loss of the step in progress.

        Raises:
            ValueError: The loss is not a scalar, or not finite where that is refused.
        """
        if not isinstance(loss, Tensor):
            checks.number("loss", loss, not_a_number=True)
        elif loss.numel() != 1:
            raise InvalidArgumentError(
                f"loss must be a scalar, but has shape {tuple(loss.shape)}; reduce it first."
            )
        if self.evaluations > 1 or not self._controller.uses_loss:
            return  # a closure evaluated again within one step: only its first loss precedes the update
        value = self._losses.observe(loss)
        # With several ranks only the reduced losses may raise: one rank alone would hang the others.
        if self._strict and value is not None and active_group(self._process_group) is None:
            try:
                checks.finite("loss", value)
            except ValueError:
                self._losses.void_step()
                raise

    def check_open(self) -> None:
        """Refuse to act once detached.

        Raises:
            RuntimeError: The scheduler was detached.
        """
        if self.closed:
            raise RuntimeError(
                "this scheduler of episodes was detached, or replaced by a later one on the same optimizer; "
                "use the later one or construct a new one."
            )

    def begin(self, start_step: int | None = None) -> Selection:
        """Open an episode if none is open and prepare a step; called by :meth:`before` if need be."""
        self.check_open()
        self._in_force.release()
        selection = self._life.current
        if selection is None:
            selection = self._life.open(self._life.step_count if start_step is None else start_step)
        self._life.snapshot(self._optimizer)
        self._begun = True
        return selection

    def before(self, closure: Closure | None) -> Closure | None:
        """Put the selection in force; return a wrapped closure if noise must follow the backward pass.

        Raises:
            RuntimeError: The controller needs losses and none was observed.
        """
        if closure is None:
            self._require_loss()
        return self._prepare(closure)

    def after(self) -> None:
        """Take the selection out of force and count the step; close the episode if it is full."""
        self.release()
        self._life.count_step(self._optimizer)

    def release(self) -> None:
        """Take the selection out of force; no step is in progress then."""
        self._in_force.release()
        self._begun = False
        self.evaluations = 0

    def failed(self) -> None:
        """Undo a step that raised: it is not counted and its loss is forgotten."""
        self.release()
        self._losses.void_step()

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

    def _prepare(self, closure: Closure | None) -> Closure | None:
        if not self._begun:
            self.begin()
        self.evaluations = 0
        wrapped = None
        if closure is None:
            self._gradients_ready()
        else:
            wrapped = self._wrap(closure)
        self._in_force.apply()
        return wrapped

    def _require_loss(self) -> None:
        if self._controller.uses_loss and not self._losses.pending:
            raise RuntimeError(
                "no loss was observed before optimizer.step(); call observe(loss) after the forward pass "
                "or construct the scheduler with criterion=."
            )

    def _gradients_ready(self) -> None:
        if self._controller.uses_gradients:
            self._controller.gradients_ready(self._optimizer)
        self._in_force.perturb()

    def _wrap(self, closure: Closure) -> Closure:
        def evaluated() -> Any:
            self.evaluations += 1
            loss = closure()
            if self.evaluations == 1:
                if loss is not None and not self._losses.pending:
                    self.observe(loss)
                self._gradients_ready()
            else:
                self._in_force.perturb()
            return loss

        return evaluated
