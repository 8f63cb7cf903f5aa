import pytest
import torch

from hypernudge.optimizers import SGD

HP = {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.03}


def trajectory(step, steps=10):
    generator = torch.Generator().manual_seed(0)
    params = {name: torch.randn(3, 2, generator=generator, dtype=torch.float64) for name in "ab"}
    for _ in range(steps):
        grads = {name: torch.randn(3, 2, generator=generator, dtype=torch.float64) for name in "ab"}
        params = step(params, grads)
    return params


@pytest.mark.parametrize("decoupled", [False, True])
def test_in_place_equals_pure(decoupled):
    rule = SGD(decoupled)
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


def test_coupled_form_equals_torch():
    state = {}

    def theirs(params, grads):
        if not state:
            state["optimizer"] = torch.optim.SGD(list(params.values()), **HP)
        for name in params:
            params[name].grad = grads[name]
        state["optimizer"].step()
        return params

    rule = SGD()

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
