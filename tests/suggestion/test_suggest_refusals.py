"""What `suggest` cannot work with is refused."""

import threading
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from hypernudge import suggest
from hypernudge.errors import InvalidArgumentError
from tests.suggestion.small import data, loss, network

BROKEN = nn.Linear(2, 2)


BROKEN.lock = threading.Lock()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 1}, "model: must be a torch.nn.Module, but got 1; pass the network itself"),
        ({"model": nn.ReLU()}, "model: must have a parameter that requires a gradient, but got 0; "),
        ({"model": BROKEN}, "model: must be copied by copy.deepcopy, but got TypeError"),
        ({"loss": 3}, "loss: must be a function of"),
        ({"loss": nn.CrossEntropyLoss}, "loss: must be a function of"),
        ({"loss": lambda m, b: m(b[0])}, r"loss: must be one number, a tensor, but got \(8, 2\); "),
        ({"loss": lambda m, b: 1.0}, "loss: must be a tensor, or the output's `loss`, but got a float; "),
        ({"loss": lambda m, b: torch.ones(())}, "loss: must be differentiable by the model's parameters"),
        ({"loss": None, "data": [torch.ones(2, 4)]}, r"loss: must be one number, a tensor"),
        ({"data": None}, "data: must be a DataLoader or another iterable"),
        ({"data": []}, "data: must yield at least one mini-batch, but got 0; "),
        ({"data": torch.ones(3)}, "data: must be a DataLoader or another iterable"),
        ({"data": (torch.ones(3), torch.ones(3))}, "data: must be a DataLoader.*got 'a tuple of 2 tensors'"),
        ({"data": [[1, 2, 3]], "loss": F.cross_entropy}, "data: must yield"),
        ({"optimizer": None}, "optimizer: must be an optimizer over the model's parameters"),
        ({"optimizer": partial(torch.optim.SGD, maximize=True)}, "optimizer: must minimise the loss"),
        (
            {"loss": lambda out, y: F.cross_entropy(out, y)},
            "loss: must be a function of .* TypeError: cross_",
        ),
        ({"loss": lambda out, y: out.softmax(-1).sum()}, "loss: must be a function of .* AttributeError: "),
        ({"optimizer": 0.1}, "optimizer: must be an optimizer over the model's parameters"),
        ({"optimizer": torch.optim.SGD([torch.ones(1)])}, "optimizer: must be .*'a SGD over others'"),
        ({"optimizer": lambda p: p}, "optimizer: must be an optimizer over"),
        ({"optimizer": lambda p: 1 / 0}, "optimizer: must be .* building it raised ZeroDivisionError"),
        ({"steps": 0}, "steps: must be a whole number >= 1, but got 0; "),
        ({"schedule": "cosin"}, "schedule: .*cosine"),
        ({"accumulate": 0}, "accumulate: must be a whole number >= 1"),
        ({"grad_clip": 0.0}, "grad_clip: must be a finite number above 0"),
        ({"precision": "fp8"}, "precision: must be one of 'float32', 'bf16', 'fp16'"),
        ({"trial_steps": 5}, "trial_steps: must be a whole number >= 20, but got 5; leave it out"),
        ({"seconds": 0}, "seconds: must be a finite number above 0, but got 0; 30 is usual"),
        ({"seed": -1}, "seed: must be a whole number >= 0"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(change, message):
    given = {"model": network(), "loss": loss, "data": data(), "optimizer": torch.optim.SGD, **change}
    if "model" in change and isinstance(change["model"], nn.Module):
        given["loss"] = lambda model, batch: model(batch[0]).sum()
    with warnings.catch_warnings(), pytest.raises(InvalidArgumentError, match=f"^{message}") as error:
        warnings.simplefilter("error")
        suggest(**given)
    assert "\n" not in str(error.value) and "; " in str(error.value)
