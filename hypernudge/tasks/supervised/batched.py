"""Supervised training of many members at once, by hand: what `SupervisedTask` does for one trial.

The augmented mini-batch is a weighted sum of rows of a table: a sample and its neighbours on the pixel grid.
The table is made once per task, the rows and weights of a whole unit at once, and each step is then one
`embedding_bag`, which gathers and blends without an intermediate copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor

from hypernudge.optimizers import Params
from hypernudge.space import Value
from hypernudge.task import Batch, Split
from hypernudge.tasks.networks.batched import batched_chain
from hypernudge.workspace import Workspace

if TYPE_CHECKING:
    from hypernudge.tasks.supervised.supervised import SupervisedTask

TABLE_BYTES = 256 * 2**20
CHUNK_BYTES = 16 * 2**20  # random draws that are held at a time
BLEND_BYTES = 2**20  # indices and weights that are made at a time; with more, most are no longer in the cache
# Draws of epochs that a unit, or a part of one, ended in. Wide tables have 1.5 MB for each member: where they
# do not fit, every epoch is drawn several times, which once was four fifths of a study's time.
BEGUN_BYTES = 512 * 2**20
SCORE_BYTES = 16 * 2**20  # widest activation of an evaluation that is held at a time
Drawn = tuple[Tensor, Tensor]  # sample order and augmentation noise of an epoch


def batched_supervised(
    task: SupervisedTask, device: torch.device, shared: Mapping[str, Value]
) -> BatchedSupervisedTask | None:
    """Return the task batched by hand; None if the network or the size of the data rules it out."""
    known = not {"augmentation", "label_smoothing"} & set(shared)
    neighbours = 9 if task.dataset.kind == "images" else 1
    size = neighbours * task.inputs("train").nbytes
    if not known or size > TABLE_BYTES or batched_chain(task.network) is None:
        return None
    return BatchedSupervisedTask(task, device)


class BatchedSupervisedTask:
    """A supervised task batched by hand; made by `batched_supervised`."""

    def __init__(self, task: SupervisedTask, device: torch.device) -> None:
        network = batched_chain(task.network)
        assert network is not None  # `batched_supervised` made sure
        self.task, self.device, self.network = task, device, network
        self.images = task.dataset.kind == "images"
        x = task.inputs("train")
        self.table = (_neighbourhood(x) if self.images else x.flatten(1)).to(device)
        self.labels = task.labels("train").to(device)
        self._begun: dict[int, tuple[int, Drawn]] = {}
        self.held_out: dict[Split, tuple[Tensor, Tensor]] = {
            split: (task.inputs(split).movedim(0, -1).contiguous().to(device), task.labels(split).to(device))
            for split in ("validation", "test")
        }

    def batches(
        self,
        seeds: Sequence[int],
        steps: Sequence[int],
        count: int,
        hp: Mapping[str, Tensor],
        work: Workspace,
    ) -> Iterator[Batch]:
        """Yield augmented inputs `x`, `(members, batch, features)`, and labels `y`, `(members, batch)`."""
        task = self.task
        width = 24 if self.images else 8 + task.dtype.itemsize * self.table.shape[1]
        magnitude = hp.get("augmentation", torch.zeros(len(seeds), dtype=task.dtype, device=self.device))
        for begin, n in _spans(count, CHUNK_BYTES // (width * len(seeds) * task.batch_size)):
            rows, noise = self._draws(seeds, [step + begin for step in steps], n)
            labels = self.labels[rows]
            if self.images:
                inputs = self._moved(rows, noise, magnitude, work)
            else:
                inputs = self._jittered(rows, noise, magnitude)
            for x, y in zip(inputs, labels, strict=True):
                yield {"x": x, "y": y}

    def _jittered(self, rows: Tensor, noise: Tensor, magnitude: Tensor) -> Iterator[Tensor]:
        for of_step, jitter in zip(rows, noise, strict=True):
            x = self.table.index_select(0, of_step.flatten()).view_as(jitter)
            yield torch.addcmul(x, magnitude.view(-1, 1, 1), jitter)

    def _moved(self, rows: Tensor, noise: Tensor, magnitude: Tensor, work: Workspace) -> Iterator[Tensor]:
        members, size = rows.shape[1:]
        bags = torch.arange(0, 4 * members * size, 4, device=self.device)
        for begin, n in _spans(len(rows), BLEND_BYTES // (48 * members * size)):
            here = slice(begin, begin + n)
            for index, weight in zip(*_blend(rows[here], noise[here], magnitude, work), strict=True):
                x = F.embedding_bag(
                    index.view(-1), self.table, bags, mode="sum", per_sample_weights=weight.view(-1)
                )
                yield x.view(members, size, -1)

    def _draws(self, seeds: Sequence[int], steps: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
        """Return rows `(count, members, batch)` and noise `(count, members, batch, ...)`."""
        size, per_epoch = self.task.batch_size, self.task.steps_per_epoch
        out: Drawn | None = None
        for member, (seed, step) in enumerate(zip(seeds, steps, strict=True)):
            done = 0
            while done < count:
                epoch, offset = divmod(step + done, per_epoch)
                drawn = self._epoch(seed, epoch)
                n = min(count - done, per_epoch - offset)
                if out is None:
                    shapes = [(count, len(seeds), size, *part.shape[1:]) for part in drawn]
                    out = drawn[0].new_empty(shapes[0]), drawn[1].new_empty(shapes[1])
                here = slice(offset * size, (offset + n) * size)
                for part, whole in zip(drawn, out, strict=True):
                    whole[done : done + n, member] = part[here].view(n, size, *part.shape[1:])
                if offset + n < per_epoch:
                    self._keep(seed, epoch, drawn)
                done += n
        assert out is not None  # there is a member
        return out[0].to(self.device), out[1].flatten(3).to(self.device)

    def _epoch(self, seed: int, epoch: int) -> Drawn:
        """Return the draws of an epoch; those of one that an earlier unit began are at hand."""
        known, drawn = self._begun.get(seed, (None, None))
        return drawn if known == epoch and drawn is not None else self.task.draws(seed, epoch)

    def _keep(self, seed: int, epoch: int, drawn: Drawn) -> None:
        if len(self._begun) * sum(value.nbytes for value in drawn) > BEGUN_BYTES:
            self._begun.clear()
        self._begun[seed] = (epoch, drawn)

    def gradients(
        self, params: Params, buffers: Params, batch: Batch, hp: Mapping[str, Tensor], work: Workspace
    ) -> tuple[Tensor, Params, Params]:
        """Return the label-smoothed cross-entropies and their gradients; there are no buffers."""
        del buffers
        members, n, _ = batch["x"].shape
        x = batch["x"].mT.view(members, *self.task.dataset.shape, n)
        logits, tape = self.network.forward(params, x, work)
        log_p = torch.log_softmax(logits, dim=1, out=work.empty("log_p", logits.shape, logits))
        y = batch["y"].unsqueeze(1)
        losses = -log_p.gather(1, y).mean((1, 2))
        smoothing = hp.get("label_smoothing")
        if smoothing is None:
            smoothing = torch.zeros_like(losses)
        losses = (1.0 - smoothing) * losses - smoothing * log_p.mean((1, 2))
        # With p the softmax and C classes: dL/dlogits = (p - s / C - (1 - s) [c = y]) / n.
        slope, column = log_p.exp_(), smoothing.view(-1, 1, 1)
        slope.sub_(column / slope.shape[1])
        slope.scatter_add_(1, y, (column - 1.0).expand_as(y)).mul_(1.0 / n)
        return losses, self.network.backward(params, tape, slope, work), {}

    def scores(self, params: Params, split: Split, work: Workspace) -> list[float]:
        """Return the accuracies; NaN for a member with an output that is not finite.

        Where memory is short it is the members that are split, never the samples: the bits of a product may
        depend on its size, and a member's score must not depend on its company.
        """
        x, y = self.held_out[split]
        members = next(iter(params.values())).shape[0]
        step = max(1, SCORE_BYTES // (self._width * x.shape[-1] * x.element_size()))
        result: list[float] = []
        for begin in range(0, members, step):
            part = {name: value[begin : begin + step] for name, value in params.items()}
            logits, _ = self.network.forward(part, x.unsqueeze(0), work)
            finite = torch.isfinite(logits.abs().amax((1, 2)))
            hits = _first_of_largest(logits).eq_(y).sum(1).double()
            result += torch.where(finite, hits / len(y), torch.nan).tolist()
        return result

    def member_bytes(self, params: Params) -> int:
        """Parameters with gradients and momentum, and the activations of a step, forward and backward."""
        numbers = 4 * sum(value.numel() for value in params.values())
        return self.task.dtype.itemsize * (numbers + self._width * self.task.batch_size)

    @cached_property
    def _width(self) -> int:
        """Numbers per sample that a forward pass keeps for the backward pass, and the widest gradient."""
        params = {name: value.unsqueeze(0).to(self.device) for name, value in self.task.init(0).items()}
        x = self.held_out["validation"][0][..., :1].unsqueeze(0)
        _, tape = self.network.forward(params, x)
        kept = [value.numel() for item in tape for value in _tensors(item)]
        return sum(kept) + max(kept, default=0) + x.numel()


def _first_of_largest(logits: Tensor) -> Tensor:
    """Return `logits.argmax(1)` of finite `(members, classes, n)` as floats; many times as fast on a CPU."""
    classes = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device).view(-1, 1)
    return torch.where(logits == logits.amax(1, keepdim=True), classes, torch.inf).amin(1)


def _tensors(item: object) -> list[Tensor]:
    parts = item if isinstance(item, tuple) else (item,)
    return [part for part in parts if isinstance(part, Tensor)]


def _spans(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield beginning and length of the parts of `range(count)`, each of `size` or less, but at least 1."""
    size = max(1, size)
    return ((begin, min(size, count - begin)) for begin in range(0, count, size))


def _neighbourhood(images: Tensor) -> Tensor:
    """Return every image moved by -1, 0 and 1 pixels in both directions: `(9 * n, features)`.

    Row `9 * i + 3 * a + b` holds `image[i]` as `translation_taps` moves it, `a` and `b` counting from -1.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1))
    moved = [padded[:, :, a : a + height, b : b + width] for a in range(3) for b in range(3)]
    return torch.stack(moved, dim=1).flatten(0, 1).flatten(1).contiguous()


def _blend(rows: Tensor, noise: Tensor, magnitude: Tensor, work: Workspace) -> tuple[Tensor, Tensor]:
    """Return table rows and weights, `(count, members, batch, 4)`, of bilinear translation.

    Args:
        rows: Samples, `(count, members, batch)`.
        noise: Directions in [-1, 1], `(count, members, batch, 2)`.
        magnitude: Pixels, `(members,)`.
        work: Where the results lie.
    """
    index = work.empty("index", (*rows.shape, 4), rows)
    weight = work.empty("weight", (*rows.shape, 4), noise)
    down, right = (noise > 0).to(rows.dtype).mul_(2).sub_(1).unbind(-1)
    torch.add(4, rows, alpha=9, out=index[..., 0])
    torch.add(index[..., 0], down, alpha=3, out=index[..., 1])
    torch.add(index[..., 0], right, out=index[..., 2])
    torch.add(index[..., 1], right, out=index[..., 3])
    share = magnitude.view(-1, 1, 1) * noise.abs()
    (vertical, horizontal), (above, left) = share.unbind(-1), (1.0 - share).unbind(-1)
    torch.mul(above, left, out=weight[..., 0])
    torch.mul(vertical, left, out=weight[..., 1])
    torch.mul(above, horizontal, out=weight[..., 2])
    torch.mul(vertical, horizontal, out=weight[..., 3])
    return index, weight
