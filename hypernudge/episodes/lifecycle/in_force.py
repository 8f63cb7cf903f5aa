"""What is applied to the optimizer right now, and how it is taken back."""

from collections.abc import Sequence

from torch.optim import Optimizer

from hypernudge.episodes.axes.base import Axis, Token
from hypernudge.episodes.axes.noise import GradientNoise, NoiseSource
from hypernudge.episodes.records import Selection


class InForce:
    """Applies a selection around steps and whole episodes, and never loses what it must undo.

    Args:
        optimizer: What the axes act on.
        axes: The axes, in the order of a selection's values.
        noise: Where gradient noise comes from.
    """

    def __init__(self, optimizer: Optimizer, axes: Sequence[Axis], noise: NoiseSource) -> None:
        self.noise = noise
        self._optimizer = optimizer
        self._axes = tuple(axes)
        self._noise_std = 0.0
        self._around_steps: list[tuple[Axis, float]] = []
        self._step_tokens: list[tuple[Axis, Token]] = []
        self._episode_tokens: list[tuple[Axis, Token]] = []

    @property
    def spans_forward(self) -> bool:
        """Whether an axis must be in force before the first forward pass of an episode."""
        return any(axis.whole_episode for axis in self._axes)

    def enter(self, selection: Selection) -> None:
        """Begin an episode: apply what holds for all of it, note what holds around its steps."""
        self._around_steps = []
        self._noise_std = 0.0
        for axis, value in zip(self._axes, selection.values, strict=True):
            if isinstance(axis, GradientNoise):
                self._noise_std = value
            elif axis.whole_episode:
                self._apply(axis, value, self._episode_tokens)
            elif value != getattr(axis, "neutral", None):
                self._around_steps.append((axis, value))

    def leave(self) -> None:
        """End an episode: undo what held for all of it."""
        self._undo(self._episode_tokens)
        self._around_steps = []
        self._noise_std = 0.0

    def apply(self) -> None:
        """Apply what holds around a step."""
        for axis, value in self._around_steps:
            self._apply(axis, value, self._step_tokens)

    def release(self) -> None:
        """Undo what holds around a step, if it is applied."""
        if self._step_tokens:
            self._undo(self._step_tokens)

    def perturb(self) -> None:
        """Add the episode's noise to the gradients."""
        if self._noise_std > 0:
            self.noise.add(self._optimizer, self._noise_std)

    def _apply(self, axis: Axis, value: float, tokens: list[tuple[Axis, Token]]) -> None:
        token = axis.apply(self._optimizer, value)
        if token is not None:
            tokens.append((axis, token))

    def _undo(self, tokens: list[tuple[Axis, Token]]) -> None:
        # Last in, first out; popped first, so that a failing undo is not tried again.
        while tokens:
            axis, token = tokens.pop()
            axis.undo(self._optimizer, token)
