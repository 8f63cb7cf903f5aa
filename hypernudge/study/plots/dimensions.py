"""Hyper-parameters as axes: where a value stands, and what is written there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hypernudge.parameters import Categorical, HyperParameter, Integer
from hypernudge.plotting.picture import label, number
from hypernudge.study.analysis.encoding import space_of
from hypernudge.study.study import Study

_LABELLED = 12  # choices; of more, some have no label
_LONGEST_CHOICE = 12
_TALL = 8  # numbers on an axis of its own
_MARGIN = 0.04  # of the range, on either side


@dataclass(frozen=True)
class Dimension:
    """A hyper-parameter as an axis.

    Attributes:
        parameter: The hyper-parameter.
    """

    parameter: HyperParameter

    @property
    def name(self) -> str:
        """What is written beside the axis."""
        return label(self.parameter.name)

    @property
    def log(self) -> bool:
        """Whether its scale is logarithmic."""
        return not isinstance(self.parameter, Categorical) and self.parameter.log

    def values(self, configs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return its values in configurations, shape (n,): choices by position, NaN where it is inactive."""
        return np.array([self._number(config) for config in configs], dtype=np.float64)

    def places(self, configs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return where its values stand on the unit interval, shape (n,); NaN where it is inactive."""
        return self._placed(self.values(configs))

    def _number(self, config: Mapping[str, Any]) -> float:
        name = self.parameter.name
        if name not in config:
            return math.nan
        if not isinstance(self.parameter, Categorical):
            return float(config[name])
        try:
            return float(self.parameter.index(config[name]))
        except ValueError:  # as shown in a study that was read: a choice that JSON does not have
            return math.nan

    def _placed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if isinstance(self.parameter, Categorical):
            return (values + 0.5) / len(self.parameter.choices)
        positive = np.where(values > 0, values, np.nan) if self.log else values
        return np.asarray(self.parameter.encode(positive), dtype=np.float64)

    def marks(self, most: int = 5) -> list[tuple[float, str]]:
        """Return about `most` values, as `values` has them, and what is written there; up to 12 choices."""
        if isinstance(self.parameter, Categorical):
            choices = self.parameter.choices
            every = -(-len(choices) // _LABELLED)
            return [(float(i), label(choices[i], _LONGEST_CHOICE)) for i in range(0, len(choices), every)]
        low, high = float(self.parameter.low), float(self.parameter.high)
        found = self._round_numbers(low, high, most)
        slack = 1e-9 * (low if self.log else high - low)  # a power of ten may be the next float to a bound
        inside = [value for value in found if low - slack <= value <= high + slack]
        return [(float(value), number(value)) for value in (inside if len(inside) > 1 else (low, high))]

    def _round_numbers(self, low: float, high: float, most: int) -> NDArray[np.float64]:
        if not self.log:
            whole = isinstance(self.parameter, Integer)
            return np.asarray(
                MaxNLocator(most - 1, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            )
        subs = (1.0,) if high / low >= 100 else (1.0, 2.0, 5.0)
        return np.asarray(LogLocator(subs=subs, numticks=most).tick_values(low, high))

    def ticks(self) -> list[tuple[float, str]]:
        """Return places on the unit interval, and what is written there."""
        marks = self.marks(_TALL)
        places = self._placed(np.array([value for value, _ in marks]))
        return [(float(place), text) for place, (_, text) in zip(places, marks, strict=True)]

    def scale(self, axes: Axes, which: Literal["x", "y"]) -> None:
        """Give an axis of `axes` its range, scale and ticks, for `values`."""
        axis, limits, scale = (
            (axes.xaxis, axes.set_xlim, axes.set_xscale)
            if which == "x"
            else (axes.yaxis, axes.set_ylim, axes.set_yscale)
        )
        marks = self.marks()
        if isinstance(self.parameter, Categorical):
            limits(-0.5, len(self.parameter.choices) - 0.5)
        elif self.log:
            scale("log")
            margin = float(self.parameter.high / self.parameter.low) ** _MARGIN
            limits(self.parameter.low / margin, self.parameter.high * margin)
        else:
            margin = _MARGIN * (self.parameter.high - self.parameter.low)
            limits(self.parameter.low - margin, self.parameter.high + margin)
        axis.set_ticks([value for value, _ in marks], labels=[text for _, text in marks])
        axis.set_minor_locator(NullLocator())


def dimensions(study: Study) -> list[Dimension]:
    """Return the axes of a study's hyper-parameters."""
    return [Dimension(parameter) for parameter in space_of(study) or ()]
