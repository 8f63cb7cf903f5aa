"""What a selection has changed on the optimizer, and how it is taken back."""

from collections.abc import Sequence

from torch.optim import Optimizer

from hypernudge.episodes.axes.base import Axis, Phase, Token
from hypernudge.episodes.axes.noise import GradientNoise, NoiseSource
from hypernudge.episodes.records import Selection


class AppliedSelection:
    """Applies a selection phase by phase, and never loses what it must undo.

    Args:
        optimizer: What the axes act on.
        axes: The axes, in the order of a selection's values.
        noise: Where gradient noise comes from.
    """

    def __init__(self, optimizer: Optimizer, axes: Sequence[Axis], noise: NoiseSource) -> None:
        self._optimizer = optimizer
        self._axes = tuple(
            axis.drawn_from(noise) if isinstance(axis, GradientNoise) else axis for axis in axes
        )
        self._values: list[tuple[Axis, float]] = []
        self._step_tokens: list[tuple[Axis, Token]] = []
        self._episode_tokens: list[tuple[Axis, Token]] = []

    @property
    def spans_forward(self) -> bool:
        """Whether an axis must be applied before the first forward pass of an episode."""
        return any(axis.phase == "episode" for axis in self._axes)

    def enter(self, selection: Selection) -> None:
        """Begin an episode: apply what holds for all of it, note the rest."""
        pairs = zip(self._axes, selection.values, strict=True)
        self._values = [(axis, value) for axis, value in pairs if value != getattr(axis, "neutral", None)]
        self.apply("episode")

    def apply(self, phase: Phase) -> None:
        """Apply what acts in `phase`."""
        tokens = self._episode_tokens if phase == "episode" else self._step_tokens
        for axis, value in self._values:
            if axis.phase == phase:
                token = axis.apply(self._optimizer, value)
                if token is not None:
                    tokens.append((axis, token))

    def release(self) -> None:
        """Undo what holds for a step, if it is applied."""
        self._undo(self._step_tokens)

    def leave(self) -> None:
        """End an episode: undo everything."""
        self.release()
        self._undo(self._episode_tokens)
        self._values = []

    def _undo(self, tokens: list[tuple[Axis, Token]]) -> None:
        # Last in, first out; popped first, so that a failing undo is not tried again.
        while tokens:
            axis, token = tokens.pop()
            axis.undo(self._optimizer, token)
