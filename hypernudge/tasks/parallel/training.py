"""The training face on one of several devices: a share of each mini-batch, averaged gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hypernudge.task import Batch
from hypernudge.tasks.module.training import Training

if TYPE_CHECKING:
    from hypernudge.tasks.parallel.devices import Devices


class ParallelTraining(Training):
    """A trial whose mini-batches are shared out over the devices of a Fabric.

    The loss must be a mean over the samples of a mini-batch. Statistics of BatchNorm are those of the whole
    mini-batch on GPUs, and of the first process's share on CPUs, where PyTorch cannot synchronise them.

    Args:
        fabric: This process's.
        others: Processes to tell what is done; None in those that are told.
        *arguments: Of `Training`.
    """

    def __init__(self, fabric: Any, others: Devices | None, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._fabric, self._others = fabric, others
        self._called, self._stepping = fabric.setup(self._called, self.optimizer, move_to_device=False)

    def advance(self) -> bool:
        """Train for one unit, on all devices; return False if a loss was not finite."""
        if self._others is None:
            return super().advance()
        self._others.tell({"do": "advance"})
        try:
            return super().advance()
        except BaseException:
            self._others.stop()  # they may be at another step by now
            raise

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of the same trial, on all devices.

        Raises:
            ValueError: If the model or the optimizer is another one; nothing is changed then.
        """
        super().load(state)
        if self._others is not None:
            self._others.tell({"do": "load"})
            self._fabric.broadcast(dict(state))

    def load_from_first(self) -> None:
        """Go on from the state of the first process, which is about to send it."""
        super().load(self._fabric.broadcast({}))

    def _build(self) -> nn.Module:
        model = super()._build()
        if self.loop.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return model

    def _share(self, parts: Batch) -> tuple[Batch, float]:
        count, rank = self._fabric.world_size, self._fabric.global_rank
        whole = len(next(iter(parts.values())))
        own = len(range(rank, whole, count))
        if own == 0:  # it must take part in the average, with a weight of nothing
            return {name: value[:1] for name, value in parts.items()}, 0.0
        return {name: value[rank::count] for name, value in parts.items()}, own * count / whole

    def _address(self, step: int) -> int:
        return super()._address(step) + int(self._fabric.global_rank)

    def _backward(self, loss: Tensor) -> None:
        self._fabric.backward(loss)

    def _optimizer_step(self) -> None:
        self._stepping.step()

    def _total(self, total: Tensor) -> Tensor:
        mean: Tensor = self._fabric.all_reduce(total, reduce_op="mean")
        return mean
