"""Which weights are taken for trained: the value over the edge, and what nothing may disturb."""

import math
import warnings

import pytest
import torch
from torch import nn

from benchmarks.episodes_effect.tasks import TASKS
from hypernudge.episodes.trained_weights import ABOVE, SHARE, matrix_of, over_edge, trained_share
from tests.episodes.pretrained import network, plant


def share(*parameters):
    return trained_share(torch.optim.SGD(list(parameters), lr=0.1))


def parameter(*shape, times=0.0, seed=0, scale=1.0):
    weights = nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale)
    if times:
        plant(nn.ParameterList([weights]), times)
    return weights


def exact(matrix):
    """The same by a singular value decomposition in double precision."""
    rows = matrix.double()
    there = rows != 0
    for side in (1, 0):
        size = rows.square().mean(side, keepdim=True).sqrt()
        rows = torch.where(size > 0, rows / size, 0)
    rows = torch.where(there, rows - rows[there].mean(), 0)
    rows = rows[(rows != 0).any(1)][:, (rows != 0).any(0)]
    edge = rows.square().mean().sqrt() * (math.sqrt(rows.shape[0]) + math.sqrt(rows.shape[1]))
    return float(torch.linalg.svdvals(rows)[0] / edge)


@pytest.mark.parametrize("times", [0.0, 1.3, 2.0, 5.0])
@pytest.mark.parametrize("shape", [(16, 16), (48, 64), (400, 30), (30, 400), (256, 512)])
def test_power_iteration_finds_the_largest_singular_value(shape, times):
    for seed in range(5):
        matrix = parameter(*shape, times=times, seed=seed).detach()
        found, right = float(over_edge(matrix)), exact(matrix)
        assert found <= right * 1.0001  # a lower bound: what is new is not taken for trained
        assert found > right * (0.99 if right > ABOVE else 0.85)
        assert (found > ABOVE) == (right > ABOVE)


def test_a_matrix_with_a_value_far_above_the_edge_is_trained_and_noise_is_not():
    assert share(parameter(64, 64, times=3.0)) == 1.0
    assert share(parameter(64, 64)) == 0.0
    assert share(parameter(64, 64, times=3.0), parameter(64, 256)) == 0.2 < SHARE
    assert share(parameter(8, 64, times=3.0), parameter(64)) == 0.0  # nothing to see


@pytest.mark.parametrize("shape", [(16, 16), (17, 100), (64, 48)])
@pytest.mark.parametrize(
    "fill",
    [
        nn.init.normal_, nn.init.uniform_, nn.init.xavier_uniform_, nn.init.kaiming_normal_,
        nn.init.trunc_normal_, nn.init.orthogonal_, nn.init.zeros_, nn.init.ones_, nn.init.eye_,
    ],
)  # fmt: skip
def test_no_usual_way_to_begin_is_taken_for_trained(fill, shape):
    for seed in range(30):
        torch.manual_seed(seed)
        weights = nn.Parameter(torch.empty(shape))
        fill(weights)
        assert float(over_edge(weights.detach())) < 1.12


def test_parts_of_other_scales_and_parts_that_are_zero_do_not_look_trained():
    noise = parameter(96, 48).detach()
    for parts in ((1, 10, 100), (1, 0, 0), (0, 1, 1)):
        scales = torch.tensor(parts).repeat_interleave(32)[:, None]
        assert float(over_edge(noise * scales)) < 1.12
        assert float(over_edge((noise * scales).T)) < 1.12
        assert share(plant(nn.ParameterList([nn.Parameter(noise * scales)]))[0]) == 1.0


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_the_networks_of_the_studies_are_new_at_every_seed(name):
    task = TASKS[name]
    data = task.data(0)  # the other three need files: benchmarks.episodes_effect.weights looks at all five
    for seed in range(60):
        assert share(*map(nn.Parameter, task.init(data, seed, torch.float32).values())) == 0.0


def test_a_network_that_has_learned_is_trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    assert trained_share(optimizer) == 0.0
    task = TASKS["digits_mlp"].data(0)
    for _ in range(150):
        rows = torch.randint(len(task.train.y), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(task.train.x[rows].flatten(1)), task.train.y[rows]).backward()
        optimizer.step()
    assert trained_share(optimizer) == 1.0


def test_only_what_is_trained_counts():
    model = plant(network())
    model[2].requires_grad_(False)
    head = parameter(16, 32)
    assert share(*model.parameters(), head) == 0.0  # a new head on a frozen network
    low_rank = [parameter(8, 768), nn.Parameter(torch.zeros(768, 8)), parameter(16, 768)]
    assert share(*low_rank, nn.Parameter(torch.zeros(768, 16))) == 0.0  # adapters of low rank are new


def test_nothing_is_changed():
    model = plant(network())
    before, state = [p.detach().clone() for p in model.parameters()], torch.random.get_rng_state()
    found = share(*model.parameters())
    assert found == share(*model.parameters()) == 1.0
    assert torch.equal(torch.random.get_rng_state(), state) and torch.is_grad_enabled()
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [3e-5, 1.0, 300.0])
def test_precision_and_scale_do_not_matter(kind, scale):
    assert share(nn.Parameter(parameter(64, 96, scale=scale).detach().to(kind))) == 0.0
    assert share(nn.Parameter(parameter(64, 96, times=3.0, scale=scale).detach().to(kind))) == 1.0


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_step_under_autocast_does_not_matter(kind):
    weights = parameter(2048, 96), parameter(96, 2048, times=3.0)
    found = [float(over_edge(matrix_of(one))) for one in weights]
    with torch.autocast("cpu", kind):  # in float16 products of such matrices are beyond the largest number
        assert [float(over_edge(matrix_of(one))) for one in weights] == found
    assert found[0] < ABOVE < found[1]


def test_what_is_damaged_or_elsewhere_is_not_taken_for_trained():
    good = parameter(64, 64, times=3.0)
    for value in (math.nan, math.inf):
        bad = parameter(64, 64, times=3.0)
        bad.data[3, 4] = value
        assert share(bad) == 0.0
        assert share(good, bad) == 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such tensors are a prototype
        ragged = torch.nested.nested_tensor([torch.eye(20), torch.zeros(30, 20)])
    elsewhere = [
        nn.Parameter(torch.empty(64, 64, device="meta")),
        nn.Parameter(torch.eye(64).to_sparse()),
        nn.Parameter(ragged),
        nn.Parameter(torch.zeros(64, 64, dtype=torch.complex64)),
        nn.Parameter(torch.empty(0, 64)),
        nn.Parameter(torch.tensor(1.0)),
        nn.Parameter(torch.zeros(64, 64, dtype=torch.int8), requires_grad=False),
    ]
    assert [matrix_of(one) for one in elsewhere] == [None] * len(elsewhere)
    assert share(good, *elsewhere) == 1.0


def test_large_matrices_are_looked_at_in_part_and_kernels_are_flattened():
    assert matrix_of(parameter(5000, 20)).shape == (1667, 20)
    assert matrix_of(parameter(32, 16, 3, 3)).shape == (32, 144)
    assert share(parameter(5000, 32, times=3.0), parameter(32, 16, 3, 3, times=3.0)) == 1.0
    assert share(parameter(5000, 32), parameter(32, 16, 3, 3)) == 0.0
    channels_last = parameter(32, 16, 3, 3, times=3.0).detach().to(memory_format=torch.channels_last)
    assert share(nn.Parameter(channels_last)) == 1.0
