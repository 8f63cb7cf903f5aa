"""Wall times of work on a device, and where they were taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import torch

from hypernudge.harness.cells.provenance import hardware, provenance


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds of one call, work on the device included."""
    synchronise(device)
    begun = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - begun


def interleaved(
    works: Mapping[str, Callable[[], Any]],
    device: torch.device,
    limit: float,
    rounds: int = 15,
    warm: int = 2,
) -> dict[str, list[float]]:
    """Return the seconds of every call after the first `warm`, by name.

    Calls take turns, in an order that rotates, so that drift of the machine hits all alike. No round begins
    after `limit` seconds, but one is always made.
    """
    until = time.perf_counter() + limit
    for work in works.values():
        for _ in range(warm):
            work()
    names = list(works)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            seconds[name].append(timed(works[name], device))
        if time.perf_counter() > until:
            break
    return seconds


def summary(seconds: list[float], units: float = 1.0) -> dict[str, float]:
    """Return median and extremes in milliseconds for each of `units`, and the number of measurements."""
    each = [1e3 * value / units for value in seconds]
    shown = {"median_ms": statistics.median(each), "least_ms": min(each), "most_ms": max(each)}
    return {**{name: round(value, 4) for name, value in shown.items()}, "rounds": len(each)}


def taken(device: torch.device) -> dict[str, Any]:
    """Return where, with what and when something was measured."""
    found: dict[str, Any] = {"device": str(device), "hardware": hardware()}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found["gpu"] = {
            "name": about.name,
            "memory_gib": round(about.total_memory / 2**30, 1),
            "capability": f"{about.major}.{about.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    found |= {"threads": torch.get_num_threads(), "date": datetime.now(UTC).isoformat(timespec="minutes")}
    return {**found, **provenance()}
