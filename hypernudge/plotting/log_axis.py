"""Logarithmic axes with few ticks, each a plain number."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, NullLocator


def label(axis: Axis, ticks: Sequence[float]) -> None:
    """Put ticks at these values alone; the axis is logarithmic already."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def ratios(axes: Axes, low: float, high: float, ticks: Sequence[float]) -> None:
    """Make the horizontal axis one of ratios, for rows that have no lines of their own.

    Args:
        axes: It; limits of its vertical axis are the caller's.
        low: Least ratio.
        high: Greatest.
        ticks: Ratios to label; those that are not between the limits are left out.
    """
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    label(axes.xaxis, [tick for tick in ticks if low < tick < high])
    axes.grid(axis="y", visible=False)
