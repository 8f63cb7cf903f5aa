"""One suggestion for all processes of a training."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed

T = TypeVar("T")


def agreed(found: T) -> T:
    """Return what the first process has found, in every process; what is given where there is one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return found
    shared = [found]
    torch.distributed.broadcast_object_list(shared, src=0)
    return shared[0]
