"""Supervised classification on a data set by name, with a network by name: the built-in gradient task.

All five hyper-parameters act: learning rate, momentum and weight decay in the optimizer, augmentation
magnitude and label smoothing in the loss. A hyper-parameter that the space lacks is 0 (`lr` must be there).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from hypernudge.batching import CPU, shared_values
from hypernudge.engine.cohort import train_single
from hypernudge.errors import require, require_whole
from hypernudge.optimizers import SGD, Optimizer, Params, setting
from hypernudge.random import stream, torch_stream
from hypernudge.space import SearchSpace, Value
from hypernudge.task import Batch, BatchedTask, GradientTask, Split, TrainingState
from hypernudge.tasks.data.datasets import Dataset
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.networks.functional import as_function
from hypernudge.tasks.supervised.augment import jitter, translate, translation_taps
from hypernudge.tasks.supervised.batched import batched_supervised
from hypernudge.tasks.supervised.by_hand import LinearChain, linear_chain
from hypernudge.workspace import Workspace

_KEPT_EPOCHS = 4
_COUNTED: dict[Any, dict[str, float]] = {}  # FLOPs by what was counted, of every architecture
MAX_STEPS = 1_000_000  # of a unit, the least that can be trained and scored


def nll(log_p: Tensor, y: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of labels `(n,)` under `log_p` `(n, classes)`.

    Not `F.nll_loss`: `torch.vmap` has no rule for that one and replaces it by a decomposition, whose first
    use imports SymPy, a second of time and 40 MB in every process.
    """
    return -log_p.gather(-1, y.unsqueeze(-1)).sum() / len(y)


# What the form batched by hand computes in the place of these methods.
BATCHED_BY_HAND = ("loss", "loss_and_buffers", "batch", "draws", "logits", "score")


class SupervisedTask(GradientTask):
    """Trains a network on a data set; the score is accuracy.

    Args:
        dataset: The data, split.
        model: Description of the network, see `build_network`.
        space: The search space; must hold a continuous `lr`.
        batch_size: Samples per step; an incomplete last batch of an epoch is dropped.
        steps_per_unit: Steps in one unit of training; one epoch if absent.
        optimizer: Update rule, SGD with momentum and weight decay by default.
        name: Name in records.
        dtype: Floating-point type of data and parameters.

    Raises:
        InvalidArgumentError: If the space lacks `lr`, or `batch_size` exceeds the training set.
    """

    metric = "accuracy"
    reads: ClassVar[tuple[str, ...]] = ("augmentation", "label_smoothing")  # besides what the optimizer does
    metric_range = (0.0, 1.0)

    def __init__(
        self,
        dataset: Dataset,
        model: Mapping[str, Any],
        space: SearchSpace,
        *,
        batch_size: int = 32,
        steps_per_unit: int | None = None,
        optimizer: Optimizer | None = None,
        name: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        n = len(dataset.y["train"])
        require_whole("batch_size", batch_size, 1, n, f"the training part has {n} samples")
        if steps_per_unit is not None:
            require_whole("steps_per_unit", steps_per_unit, 1, MAX_STEPS, "leave it out for an epoch")
        require("lr" in space, "space", "must hold 'lr'", space.names, "add it")
        self.name = name or f"{dataset.name}_{model['name']}"
        self.family = dataset.name
        self.space, self.batch_size, self.steps_per_epoch = space, batch_size, n // batch_size
        self.steps_per_unit = steps_per_unit or self.steps_per_epoch
        self.optimizer = optimizer or SGD()
        self.dataset, self.dtype = dataset, dtype
        self._x = {split: torch.as_tensor(x, dtype=dtype) for split, x in dataset.x.items()}
        self._y = {split: torch.as_tensor(y) for split, y in dataset.y.items()}
        self._model = dict(model)
        self.network = build_network(model, dataset.shape, dataset.classes).to(dtype)
        self.network.requires_grad_(False)
        self._apply = as_function(self.network)
        self._orders: dict[tuple[int, int], Tensor] = {}
        self._epochs: OrderedDict[tuple[int, int], tuple[Tensor, Tensor]] = OrderedDict()
        self._batched: dict[tuple[torch.device, frozenset[str]], BatchedTask | None] = {}
        self.described: dict[str, Any] = {}  # by whoever read the data

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scores besides the attributes of every task."""
        data = [part[split] for part in (self.dataset.x, self.dataset.y) for split in sorted(part)]
        return {"model": self._model, "dtype": str(self.dtype), "data": data, **self.described}

    @cached_property
    def _flops(self) -> dict[str, float]:
        """What was counted of any task in this process that computes the same: each cell makes a new one."""
        if not self.costs_by_sample or type(self.optimizer).__module__ != SGD.__module__:
            return {}
        data = self.dataset.kind, self.dataset.shape, self.dataset.classes
        key = type(self), repr(sorted(self._model.items())), data, self.batch_size, repr(self.optimizer)
        return _COUNTED.setdefault((*key, self.dtype, self.space.names), {})

    def init(self, seed: int) -> Params:
        """Return freshly initialised parameters, PyTorch's default initialisation from a private stream."""
        generator = torch_stream(seed, "init")
        return {name: value.to(self.dtype) for name, value in _initialise(self.network, generator).items()}

    def batch(self, seed: int, step: int) -> Batch:
        """Return samples, labels and augmentation noise of `step`."""
        epoch, position = divmod(step, self.steps_per_epoch)
        rows = slice(position * self.batch_size, (position + 1) * self.batch_size)
        order, noise = (value[rows] for value in self._epoch(seed, epoch))
        x = self._x["train"][order]
        if self.dataset.kind == "images":
            x = translation_taps(x, noise)
        return {"x": x, "y": self._y["train"][order], "noise": noise}

    def plain_batch(self, seed: int, step: int) -> Batch:
        """Return samples and labels of `step`, and neither the neighbours of pixels nor noise."""
        own = tuple(getattr(type(self), name) for name in ("batch", "loss", "draws"))
        if own != (SupervisedTask.batch, SupervisedTask.loss, SupervisedTask.draws):
            return self.batch(seed, step)
        epoch, position = divmod(step, self.steps_per_epoch)
        if (seed, epoch) not in self._orders:
            self._orders = {(seed, epoch): self._order(seed, epoch)}
        rows = slice(position * self.batch_size, (position + 1) * self.batch_size)
        order = self._orders[seed, epoch][rows]
        x = self._x["train"][order]
        taps = x.unsqueeze(1) if self.dataset.kind == "images" else x
        return {"x": taps, "y": self._y["train"][order], "noise": x.new_empty(0)}

    @property
    def costs_by_sample(self) -> bool:
        """True: networks have linear and convolution layers only; unknown for another loss."""
        own = type(self)
        return (own.loss, own.logits) == (SupervisedTask.loss, SupervisedTask.logits)

    def _epoch(self, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Return `draws`, remembered for the epochs that were asked for last."""
        found = self._epochs.get((seed, epoch))
        if found is None:
            found = self.draws(seed, epoch)
            self._epochs[seed, epoch] = found
            if len(self._epochs) > _KEPT_EPOCHS:
                self._epochs.popitem(last=False)
        return found

    def draws(self, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Return an epoch's sample order `(n,)` and augmentation noise, `(n, 2)` or as the features."""
        n = self.steps_per_epoch * self.batch_size
        order = self._order(seed, epoch)
        generator = torch_stream(seed, "augmentation", epoch)
        if self.dataset.kind == "images":
            return order, (2.0 * torch.rand((n, 2), generator=generator) - 1.0).to(self.dtype)
        return order, torch.randn((n, *self.dataset.shape), generator=generator).to(self.dtype)

    def _order(self, seed: int, epoch: int) -> Tensor:
        n = self.steps_per_epoch * self.batch_size
        return torch.from_numpy(stream(seed, "order", epoch).permutation(len(self._y["train"]))[:n])

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the label-smoothed cross-entropy on the augmented batch (Szegedy et al. 2016)."""
        log_p = F.log_softmax(self.logits(params, self._augmented(batch, hp)), dim=-1)
        smoothing = setting(hp, "label_smoothing")
        hit = nll(log_p, batch["y"])
        loss: Tensor = (1.0 - smoothing) * hit - smoothing * log_p.mean()
        return loss

    def _augmented(self, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        augment = translate if self.dataset.kind == "images" else jitter
        return augment(batch["x"], batch["noise"], setting(hp, "augmentation"))

    def by_hand(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> tuple[Tensor, Params] | None:
        """Return `loss`, a scalar, and its gradient without a graph, to the bit: of linear chains."""
        own = self._by_hand
        smoothing = setting(hp, "label_smoothing")
        plain = getattr(self.loss, "__func__", None) is SupervisedTask.loss  # nobody computes another
        if own is None or not plain or type(smoothing) is not float:
            return None
        return own.loss_and_gradient(params, self._augmented(batch, hp), batch["y"], smoothing)

    @cached_property
    def _by_hand(self) -> LinearChain | None:
        return linear_chain(self.network) if type(self).logits is SupervisedTask.logits else None

    def inputs(self, split: str) -> Tensor:
        """Return the samples of a split, `(n, *shape)`."""
        return self._x[split]

    def labels(self, split: str) -> Tensor:
        """Return the labels of a split, `(n,)`."""
        return self._y[split]

    def batched(self, device: torch.device, shared: Mapping[str, Value]) -> BatchedTask | None:
        """Return the form batched by hand, for plain chains of linear and convolution layers.

        None where a subclass computes anything of it otherwise.
        """
        key = (device, frozenset(shared))
        if key not in self._batched:
            own = all(getattr(type(self), name) is getattr(SupervisedTask, name) for name in BATCHED_BY_HAND)
            self._batched[key] = batched_supervised(self, device, shared) if own else None
        return self._batched[key]

    def advance(self, state: TrainingState, hp: Mapping[str, Value]) -> bool:
        """Train a cohort of one where that is batched by hand: every engine then has the same arithmetic.

        `GradientTask.advance` is the reference implementation.
        """
        batched = self.batched(CPU, shared_values(hp))
        return super().advance(state, hp) if batched is None else train_single(self, batched, state, hp)

    def evaluate(self, state: TrainingState, split: Split) -> float:
        """Score a cohort of one where that is batched by hand, as `advance` trains it."""
        batched = self.batched(CPU, {})
        if batched is None:
            return super().evaluate(state, split)
        with torch.no_grad():
            params = {name: value.unsqueeze(0) for name, value in state.params.items()}
            return batched.scores(params, split, Workspace())[0]

    def logits(self, params: Params, x: Tensor) -> Tensor:
        """Return the network's outputs, `(n, classes)`."""
        return self._apply(params, x)

    def score(self, params: Params, split: Split) -> float:
        """Return the accuracy on a split; NaN if an output is not finite."""
        logits = self.logits(params, self._x[split])
        if not bool(torch.isfinite(logits).all()):
            return float("nan")
        return (logits.argmax(-1) == self._y[split]).double().mean().item()


def _initialise(network: nn.Module, generator: torch.Generator) -> Params:
    """Return parameters drawn as PyTorch draws them for linear and convolution layers, from `generator`.

    Kaiming-uniform with a = sqrt(5) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weights and biases alike.
    """
    params: Params = {}
    for prefix, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        known = isinstance(module, nn.Linear | nn.Conv2d)
        require(known, "model", "layers with parameters must be Linear or Conv2d", type(module).__name__, "-")
        bound = own["weight"][0].numel() ** -0.5
        for name, value in own.items():
            draw = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            params[f"{prefix}.{name}"] = (2.0 * draw - 1.0) * bound
    return params
