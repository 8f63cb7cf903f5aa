"""Hand-batched layers equal PyTorch's own, member by member, with the gradients that autograd finds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypernudge.tasks.networks.batched import batched_chain
from hypernudge.tasks.networks.functional import as_function
from hypernudge.tasks.supervised.batched import _first_of_largest
from hypernudge.workspace import Workspace

NETWORKS = {
    "affine": (nn.Sequential(nn.Flatten(), nn.Linear(75, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)), 5),
    "stride": (nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()), 7),
    "valid": (nn.Sequential(nn.Conv2d(3, 2, (2, 3)), nn.Conv2d(2, 3, 1, bias=False), nn.Flatten()), 6),
    "wide": (nn.Sequential(nn.Conv2d(3, 2, 5, stride=3, padding=2), nn.Flatten()), 8),
    "gap": (nn.Sequential(nn.Conv2d(3, 2, 1, stride=2), nn.Conv2d(2, 2, 3, padding=1), nn.Flatten()), 6),
    "relu first": (nn.Sequential(nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU(), nn.ReLU(), nn.Flatten()), 5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_values_and_gradients(name):
    network, size = NETWORKS[name]
    network = network.double()
    generator = torch.Generator().manual_seed(0)
    batched, single = batched_chain(network), as_function(network)
    params = {
        key: torch.randn(3, *value.shape, generator=generator, dtype=torch.float64).requires_grad_(True)
        for key, value in network.named_parameters()
    }
    x = torch.randn(3, 5, 3, size, size, generator=generator, dtype=torch.float64)
    untouched = x.clone()
    slow = torch.stack([single({k: v[i] for k, v in params.items()}, x[i]) for i in range(3)])
    weights = torch.randn(slow.shape, generator=generator, dtype=torch.float64)
    expected = dict(zip(params, torch.autograd.grad((slow * weights).sum(), params.values()), strict=True))
    with torch.no_grad():
        fast, tape = batched.forward(params, x.movedim(1, -1))
        assert torch.allclose(fast.movedim(-1, 1), slow, atol=1e-12)
        found = batched.backward(params, tape, weights.movedim(1, -1).contiguous())
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, rtol=1e-9, atol=1e-9)
    assert torch.equal(x, untouched)


def test_inputs_may_be_shared():
    network, size = NETWORKS["stride"]
    network = network.double()
    batched, single = batched_chain(network), as_function(network)
    x = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    params = {key: torch.stack([value, 2 * value]).detach() for key, value in network.named_parameters()}
    out = batched(params, x.movedim(0, -1).unsqueeze(0))
    assert torch.allclose(out[1].mT, single({k: v[1] for k, v in params.items()}, x), atol=1e-12)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(2, 2), nn.Tanh()),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Sequential(nn.Flatten(), nn.ReLU()),
    ],
)
def test_anything_else_is_left_to_the_general_route(network):
    assert batched_chain(network) is None


def test_memory_may_be_used_again():
    """After a larger cohort and a smaller one, and with what an earlier step left behind."""
    network, size = NETWORKS["stride"]
    chain, work = batched_chain(network.double()), Workspace()
    generator = torch.Generator().manual_seed(2)
    for members, n in ((2, 4), (3, 5), (2, 4), (1, 3)):
        shape = (members, 3, size, size, n)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        params = {
            key: torch.randn(members, *value.shape, generator=generator, dtype=torch.float64)
            for key, value in network.named_parameters()
        }
        found, expected = [], []
        for memory, results in ((work, found), (None, expected)):
            out, tape = chain.forward(params, x.clone(), memory)
            results.append(out.clone())
            results += chain.backward(params, tape, torch.ones_like(out), memory).values()
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_largest_class_is_that_of_argmax():
    logits = torch.randint(0, 4, (3, 5, 200), generator=torch.Generator().manual_seed(3)).double()
    assert (logits == logits.amax(1, keepdim=True)).sum(1).max() > 1  # there are ties
    assert torch.equal(_first_of_largest(logits), logits.argmax(1).double())
