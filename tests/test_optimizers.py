import pytest
import torch

from hypernudge.errors import InvalidArgumentError
from hypernudge.optimizers import SGD, AdamW

HP = {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.03}


def trajectory(step, steps=10):
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 2), "b": (3,)}
    params = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }
    for _ in range(steps):
        grads = {
            name: torch.randn(shape, generator=generator, dtype=torch.float64)
            for name, shape in shapes.items()
        }
        params = step(params, grads)
    return params


@pytest.mark.parametrize(
    "rule",
    [
        SGD(),
        SGD(decoupled=True),
        SGD(decay="matrices"),
        AdamW(),
        AdamW(beta2=0.95, eps=1e-3),
        AdamW(decay="matrices"),
    ],
)
def test_in_place_equals_pure(rule):
    states = {}

    def pure(params, grads):
        state = states.get("pure") or rule.init(params)
        params, states["pure"] = rule.update(params, grads, state, HP)
        return params

    def in_place(params, grads):
        state = states.setdefault("in place", rule.init(params))
        rule.update_(params, grads, state, HP)
        return params

    a, b = trajectory(pure), trajectory(in_place)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        (SGD(), lambda params: torch.optim.SGD(params, **HP)),
        (AdamW(), lambda params: torch.optim.AdamW(params, lr=0.05, betas=(0.8, 0.999), weight_decay=0.03)),
    ],
)
def test_it_equals_torch(rule, make):
    state = {}

    def theirs(params, grads):
        if not state:
            state["optimizer"] = make(list(params.values()))
        for name in params:
            params[name].grad = grads[name]
        state["optimizer"].step()
        return params

    def ours(params, grads):
        rule.update_(params, grads, state.setdefault("buffers", rule.init(params)), HP)
        return params

    a, b = trajectory(theirs), trajectory(ours)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-12)


def test_decoupled_decay_leaves_the_momentum_buffer_alone():
    rule = SGD(decoupled=True)
    params, state = {"w": torch.ones(2)}, {"w": torch.zeros(2)}
    rule.update_(params, {"w": torch.zeros(2)}, state, HP)
    assert torch.equal(state["w"], torch.zeros(2))
    assert torch.allclose(params["w"], torch.full((2,), 1 - 0.05 * 0.03))


def test_missing_hyper_parameters_count_as_zero():
    params, state = {"w": torch.ones(2)}, {"w": torch.ones(2)}
    SGD().update_(params, {"w": torch.ones(2)}, state, {"lr": 0.1})
    assert torch.allclose(params["w"], torch.full((2,), 0.9))


def test_directions_are_those_of_a_first_step():
    """Without decay and momentum, a first step is `-lr * direction`."""
    grads = {"w": torch.tensor([0.5, -2.0, 0.0], dtype=torch.float64)}
    for rule in (SGD(), AdamW()):
        params = {"w": torch.zeros(3, dtype=torch.float64)}
        rule.update_(params, grads, rule.init(params), {"lr": 0.1, "momentum": 0.0})
        assert torch.allclose(params["w"], -0.1 * rule.direction(grads)["w"], rtol=1e-12)


def test_adamw_is_differentiable_where_a_weight_never_had_a_gradient():
    rule = AdamW()
    params = {"w": torch.ones(2, dtype=torch.float64)}
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    grads = {"w": (lr * torch.tensor([0.0, 1.0], dtype=torch.float64))}
    moved, _ = rule.update(params, grads, rule.init(params), {"lr": lr})
    (slope,) = torch.autograd.grad(moved["w"].sum(), lr)
    assert torch.isfinite(slope)


@pytest.mark.parametrize("options", [{"beta1": 1.0}, {"beta2": -0.1}, {"eps": 0.0}])
def test_bad_options_are_refused(options):
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        AdamW(**options)
