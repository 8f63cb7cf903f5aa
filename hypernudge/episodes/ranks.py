"""Agreement between the ranks of a distributed run."""

import secrets
from typing import Any

import torch
from torch import distributed as dist


def active_group(group: Any) -> Any | None:
    """Return the process group in which ranks must agree, or None where this process is alone.

    Args:
        group: The user's process group, None for all ranks.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return None
    chosen = group if group is not None else dist.group.WORLD
    return chosen if dist.get_world_size(chosen) > 1 else None


def collective_device(group: Any) -> torch.device:
    """Return the device on which the group's backend communicates."""
    if dist.get_backend(group) == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def shared_seed(seed: int | None, group: Any) -> int:
    """Return `seed`, or one drawn from the operating system and agreed on by all ranks.

    Args:
        seed: The user's seed, or None.
        group: Process group, None for all ranks.
    """
    if seed is not None:
        return seed
    drawn = secrets.randbits(62)
    active = active_group(group)
    if active is None:
        return drawn
    box = torch.tensor([drawn], dtype=torch.int64, device=collective_device(active))
    dist.broadcast(box, group=active, group_src=0)
    return int(box.item())
