"""Measuring the agreement of an update with the gradient that follows it, without waiting for a device."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.controllers.coordinate_sample import CoordinateSample, PendingRead
from hypernudge.episodes.ranks import active_group

Row = list[float]


class AgreementProbe:
    """Scalar products of updates and the gradients after them, on a sample of the coordinates.

    A probe begins before a step, with a copy of the parameters, and ends before the next one, where the
    gradients are those of the following batch and the parameters tell what the update was. It yields a row
    `<g,u>, <g,g>, <u,u>`, and `<theta,theta>` where sizes are wanted. On a CPU products are read at once;
    else they stay on the device, and a look sends what is new to the host, to be read steps later.

    Args:
        coordinates: About so many are probed, see `CoordinateSample`.
        seed: Chooses which.
        sizes: Whether rows have the squared norm of the parameters.
        process_group: Ranks whose products are added up; None for all of them.
    """

    def __init__(self, coordinates: int, seed: int, *, sizes: bool, process_group: Any) -> None:
        self._sample = CoordinateSample(coordinates, seed)
        self._sizes = sizes
        self._group = process_group
        self.clear()

    def clear(self) -> None:
        """Forget the probe in progress and every row that was not read."""
        self._before: Tensor | None = None
        self._stepped = False  # whether a step was taken since `_before` was copied
        self._products: list[Tensor | Row] = []  # since the last look
        self._reads: list[PendingRead] = []

    @property
    def waits(self) -> bool:
        """Whether an update waits to be judged."""
        return self._stepped

    def before_step(self, optimizer: Optimizer, *, judge: bool, begin: bool) -> bool:
        """End a probe if `judge` and one waits, begin one if `begin`; return whether a row came of it."""
        before = self._before if self._stepped and judge else None
        self._before, self._stepped = None, False
        if before is None and not begin:
            return False
        self._sample.look_up(optimizer)
        now = self._sample.parameters()
        judged = before is not None and self._judge(before, now)
        if begin:
            self._before = now
        return judged

    def after_step(self) -> None:
        """Note that the step was taken."""
        self._stepped = self._before is not None

    def look(self, tick: int) -> None:
        """Send what is new to the host; `tick` is the step in progress."""
        rows, self._products = self._products, []
        last = rows[-1]
        if not isinstance(last, Tensor):
            self._reads.append(PendingRead(rows, tick))
            return
        # Rows that came from a checkpoint are lists.
        products = torch.stack([torch.as_tensor(row, dtype=last.dtype, device=last.device) for row in rows])
        group = active_group(self._group)
        if group is not None:
            # A sum over ranks is exact for shards and a mere factor for replicas.
            torch.distributed.all_reduce(products, group=group)
        self._reads.append(PendingRead(products, tick))

    def arrived(self, tick: int) -> list[Row] | None:
        """Return the rows of the oldest look, if it began before `tick`."""
        if not self._reads or self._reads[0].started >= tick:
            return None
        return self._reads.pop(0).fetch()

    def fingerprint(self) -> list[Any]:
        """Return the settings in plain types."""
        return self._sample.fingerprint()

    def state_dict(self) -> dict[str, Any]:
        """Return the probe in progress and the rows that were not read, in plain types and tensors."""
        return {
            "before": None if self._before is None else self._before.clone(),
            "stepped": self._stepped,
            "products": [row.tolist() if isinstance(row, Tensor) else list(row) for row in self._products],
            "reads": [[read.fetch(), read.started] for read in self._reads],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.state(state, ("before", "stepped", "products", "reads"), "state of AgreementProbe")
        stepped = checks.flag("stepped", state["stepped"])
        before = None if state["before"] is None else state["before"].clone()
        width = 4 if self._sizes else 3
        products = [checks.state_list("products", row, width) for row in state["products"]]
        reads = [
            PendingRead([checks.state_list("reads", row, width) for row in rows], started)
            for rows, started in state["reads"]
        ]
        self._before, self._stepped = before, bool(stepped)
        self._products, self._reads = [*products], reads

    def _judge(self, before: Tensor, now: Tensor) -> bool:
        gradient = self._sample.gradients()
        if not gradient.numel() == before.numel() == now.numel():
            return False  # a parameter group was added between the two steps
        update = now - before
        pairs = [gradient.dot(update), gradient.dot(gradient), update.dot(update)]
        if self._sizes:
            pairs.append(now.dot(now))
        if gradient.device.type == "cpu" and active_group(self._group) is None:
            self._products.append([pair.item() for pair in pairs])
        else:
            kind = torch.float32 if update.device.type == "mps" else torch.float64
            self._products.append(torch.stack(pairs).to(kind))
        return True
