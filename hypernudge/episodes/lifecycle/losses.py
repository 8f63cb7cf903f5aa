"""The losses of the open episode, kept where they were computed until somebody must know them."""

import math
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from hypernudge.episodes import checks
from hypernudge.episodes.ranks import collective_device
from hypernudge.errors import InvalidArgumentError


def check_scalar(loss: Any) -> None:
    """Refuse what is no loss of a step.

    Raises:
        ValueError: It is neither a number nor a tensor of one element.
    """
    if not isinstance(loss, Tensor):
        checks.number("loss", loss, not_a_number=True)
    elif loss.numel() != 1:
        raise InvalidArgumentError(
            f"loss: must be a scalar, but has shape {tuple(loss.shape)}; reduce it first"
        )


class LossBuffer:
    """One loss per optimizer step of an episode.

    A loss on the CPU is read at once. A loss on an accelerator is copied into a buffer beside it (copied,
    because CUDA graphs overwrite their outputs) and the buffer is read once, when the episode closes. Several
    losses before one optimizer step (gradient accumulation) count as their mean. With several ranks the
    episode's losses are averaged over them by one collective.

    Args:
        capacity: Steps per episode.
        deferred: True keeps every tensor loss on its device, False reads every loss at once, None
            decides by device.
    """

    def __init__(self, capacity: int, *, deferred: bool | None = None) -> None:
        self.capacity = capacity
        self._deferred = deferred
        self._read: list[float] = []  # losses of closed steps, while on the host
        self._sum = 0.0
        self._count = 0
        self._device_sums: Tensor | None = None
        self._counts: list[int] = []
        self.reads = 0

    def __len__(self) -> int:
        """Return the number of steps stored."""
        return len(self._counts)

    @property
    def pending(self) -> int:
        """Losses observed since the last step."""
        return self._count

    def observe(self, loss: Tensor | float) -> float | None:
        """Note a loss of the step in progress.

        Returns:
            The loss if it was read at once, else None.
        """
        if self._device_sums is not None or (isinstance(loss, Tensor) and self._stays_on_device(loss)):
            self._observe_on_device(torch.as_tensor(loss))
            self._count += 1
            return None
        value = float(loss.item()) if isinstance(loss, Tensor) else float(loss)
        # Starting from the first value keeps a single observation exact, signed zero included.
        self._sum = value if self._count == 0 else self._sum + value
        self._count += 1
        return value

    def close_step(self) -> None:
        """End a step: its loss is the mean of what was observed, NaN if nothing was."""
        if self._device_sums is None:
            self._read.append(self._sum / self._count if self._count else math.nan)
        elif self._count == 0:
            self._device_sums[len(self._counts)] = math.nan
        self._counts.append(self._count)
        self._sum, self._count = 0.0, 0

    def void_step(self) -> None:
        """Forget what was observed for the step in progress."""
        self._sum, self._count = 0.0, 0

    def values(self) -> list[float]:
        """Return the losses of the closed steps; costs one device read if they are on a device."""
        if self._device_sums is None:
            return list(self._read)
        self.reads += 1
        sums = self._device_sums[: len(self._counts)].tolist()
        return [total / count if count else math.nan for total, count in zip(sums, self._counts, strict=True)]

    def with_pending(self) -> list[float] | None:
        """Return `values` and the loss of the step in progress, or None if that takes a device read."""
        if self._device_sums is not None or not self._count:
            return None
        return [*self._read, self._sum / self._count]

    def reduced(self, group: Any, selection_id: int) -> list[float]:
        """Return the losses averaged over the ranks of `group`: one collective, one device read.

        Args:
            group: Process group.
            selection_id: Small integer of this rank's selection; it travels along to be compared.

        Raises:
            RuntimeError: The ranks had selected different arms.
        """
        counts = [max(count, 1) for count in self._counts]
        tail = [selection_id, selection_id**2]
        if self._device_sums is None:
            payload = torch.tensor([*self._read, *tail], dtype=torch.float64, device=collective_device(group))
        else:
            sums = self._device_sums[: len(counts)]
            divisor = torch.tensor(counts, dtype=sums.dtype).to(sums.device, non_blocking=True)
            ids = torch.tensor(tail, dtype=sums.dtype).to(sums.device, non_blocking=True)
            payload = torch.cat([sums / divisor, ids])
        dist.all_reduce(payload, group=group)
        self.reads += 1
        ranks = dist.get_world_size(group)
        *totals, ids_sum, squares = payload.tolist()
        # sum (i_r - i)^2 = 0 if and only if every rank's id is i.
        if squares - 2 * selection_id * ids_sum + ranks * selection_id**2 != 0:
            raise RuntimeError(
                "Ranks selected different arms; give every rank the same seed and the same candidates, and "
                "create the scheduler after torch.distributed.init_process_group()"
            )
        return [total / ranks for total in totals]

    def clear(self) -> None:
        """Forget the closed steps, keep what was observed for the step in progress."""
        if self._device_sums is not None and self._count:
            self._device_sums[0].copy_(self._device_sums[len(self._counts)].clone())
        self._read, self._counts = [], []

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer in plain types; reads the device."""
        if self._device_sums is None:
            sums, pending = list(self._read), self._sum
        else:
            *sums, pending = self._device_sums[: len(self._counts) + 1].tolist()
        return {
            "sums": sums,
            "counts": list(self._counts),
            "pending": pending,
            "pending_count": self._count,
            "device": None if self._device_sums is None else str(self._device_sums.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.state(state, ("sums", "counts", "pending", "pending_count", "device"), "state of the losses")
        counts = [checks.at_least("counts", count, 0) for count in state["counts"]]
        values = checks.state_list("sums", [*state["sums"], state["pending"]], len(counts) + 1)
        pending = checks.at_least("pending_count", state["pending_count"], 0)
        device_sums = None
        if state["device"] is not None:
            device_sums = self._allocate(torch.device(state["device"]))
            device_sums[: len(values)].copy_(torch.tensor(values, dtype=device_sums.dtype))
            values = [0.0]
        *self._read, self._sum = values
        self._device_sums, self._counts, self._count = device_sums, counts, pending

    def _stays_on_device(self, loss: Tensor) -> bool:
        # Where the first loss ever seen lies decides; a buffer never changes sides within an episode.
        if self._counts or self._count:
            return False
        return loss.device.type != "cpu" if self._deferred is None else self._deferred

    def _allocate(self, device: torch.device) -> Tensor:
        dtype = torch.float32 if device.type == "mps" else torch.float64
        return torch.zeros(self.capacity + 1, dtype=dtype, device=device)

    def _observe_on_device(self, loss: Tensor) -> None:
        if self._device_sums is None:
            self._device_sums = self._allocate(loss.device)
        slot = self._device_sums[len(self._counts)]
        value = loss.detach().reshape(())
        if self._count == 0:
            slot.copy_(value)
        else:
            slot.add_(value)
