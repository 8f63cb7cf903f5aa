"""What happens around one step of the optimizer: in force before it, out of force and counted after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes.controller import Controller
from hypernudge.episodes.hooks import Closure
from hypernudge.episodes.in_force import InForce
from hypernudge.episodes.life import EpisodeLife
from hypernudge.episodes.losses import LossBuffer
from hypernudge.episodes.records import Selection


class EpisodeStepping:
    """Drives the episodes' part of every step; a :class:`~hypernudge.episodes.hooks.StepDriver`.

    Args:
        optimizer: The optimizer.
        controller: Chooses, and may want to see gradients.
        in_force: Applies what was chosen.
        losses: Losses of the open episode.
        life: Opens, counts and closes episodes.
        observe: Reports a loss that a closure returned.

    Attributes:
        evaluations: Times the closure of the step in progress was evaluated.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        controller: Controller,
        in_force: InForce,
        losses: LossBuffer,
        life: EpisodeLife,
        observe: Callable[[Tensor | float], None],
    ) -> None:
        self._optimizer = optimizer
        self._controller = controller
        self._in_force = in_force
        self._losses = losses
        self._life = life
        self._observe = observe
        self._begun = False
        self.evaluations = 0

    def begin(self, start_step: int | None = None) -> Selection:
        """Open an episode if none is open and prepare a step; called by :meth:`before` if need be."""
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
                    self._observe(loss)
                self._gradients_ready()
            else:
                self._in_force.perturb()
            return loss

        return evaluated
