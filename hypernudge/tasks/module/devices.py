"""The device that a name means here."""

from __future__ import annotations

import torch

from hypernudge.errors import require, require_choice

NAMES = ("auto", "cpu", "cuda", "mps")


def device_of(name: str) -> torch.device:
    """Return a device; `"auto"` is the fastest that is there.

    Raises:
        InvalidArgumentError: For another name, or a device that is not there.
    """
    require_choice("device", name, NAMES)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, found in there.items() if found)
    require(there[name], "device", "must be there", name, "write 'auto'")
    return torch.device(name)
