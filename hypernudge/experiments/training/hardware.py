"""What a run was measured on, and how fast it was."""

from __future__ import annotations

import platform
from typing import Any

import torch


def hardware(device: torch.device) -> dict[str, Any]:
    """Return GPU names and memory, versions, threads, and how batches reach the device."""
    cuda = torch.cuda.is_available()
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "device": device.type,
        "gpus": [{"name": gpu.name, "memory_bytes": int(gpu.total_memory)} for gpu in gpus],
        "python": platform.python_version(),
        "pytorch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
        # Batches are cut from tensors in memory: there are no loader processes, and nothing to pin.
        "num_workers": 0,
        "pin_memory": False,
    }


def peak_memory(device: torch.device) -> int | None:
    """Return the most memory the device had allocated, bytes; None without an accelerator."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def choose_device(name: str) -> torch.device:
    """Return the device for "auto" (the first GPU, if there is one), "cpu" or "cuda"."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
