import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypernudge.errors import InvalidArgumentError
from hypernudge.space import Categorical, Config, Integer, Real, SearchSpace, parameter_from_spec

unit = st.floats(0.0, 1.0)


@given(unit, st.sampled_from([Real("a", 1e-5, 10.0, log=True), Real("a", -3.0, 7.5)]))
def test_encode_inverts_decode_for_real(u, parameter):
    value = parameter.decode(u)
    assert parameter.contains(value)
    assert parameter.encode(value) == pytest.approx(u, abs=1e-12)
    assert parameter.decode(parameter.encode(value)) == pytest.approx(value, rel=1e-12, abs=1e-12)


@given(
    unit,
    st.sampled_from([Integer("n", 1, 9), Integer("n", 1, 512, log=True), Categorical("c", ("x", 2, True))]),
)
def test_decode_inverts_encode_exactly_for_discrete(u, parameter):
    value = parameter.decode(u)
    assert parameter.contains(value)
    assert parameter.decode(parameter.encode(value)) == value


def test_every_integer_has_an_equal_share():
    values = [Integer("n", 1, 4).decode(u) for u in np.linspace(0, 1, 4001)]
    assert [round(values.count(n) / 1000) for n in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_decode_is_differentiable():
    u = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    parameter = Real("lr", 1e-4, 1.0, log=True)
    value = parameter.decode(u)
    value.backward()
    assert float(u.grad) == pytest.approx(parameter.slope(value.item()) * parameter.width, rel=1e-12)


def test_conditional_parameters_are_absent_when_inactive():
    space = SearchSpace(
        [Categorical("optimizer", ("sgd", "adam")), Real("momentum", 0, 1, only_if=("optimizer", ("sgd",)))]
    )
    assert "momentum" in space.decode([0.2, 0.5])
    adam = space.decode([0.8, 0.9])
    assert dict(adam) == {"optimizer": "adam"}
    assert space.encode(adam).tolist() == [0.75, 0.5]
    space.check(adam)
    with pytest.raises(InvalidArgumentError, match="exactly"):
        space.check({"optimizer": "adam", "momentum": 0.5})


def test_config_is_immutable_and_hashable():
    config = Config({"lr": 0.1, "n": 3})
    moved = config.replace(lr=0.2)
    assert (config["lr"], moved["lr"], moved["n"]) == (0.1, 0.2, 3)
    assert len({config, Config({"n": 3, "lr": 0.1})}) == 1
    assert config == {"lr": 0.1, "n": 3}
    with pytest.raises(InvalidArgumentError, match="momentum"):
        config.replace(momentum=1.0)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"low": 1.0, "high": 0.1}, ("low must be below high", "(1.0, 0.1)", "swap")),
        ({"low": 0.0, "high": 1.0, "log": True}, ("above 0", "raise low")),
        ({"low": 0.0, "high": math.inf}, ("finite",)),
        ({"low": 0.0}, ("needs low and high",)),
        ({"low": 0, "high": 1, "scale": "log"}, ("scale", "remove")),
        ({"choices": ["a", "a"]}, ("differ",)),
    ],
)
def test_wrong_descriptions_name_key_rule_value_and_remedy(spec, words):
    with pytest.raises(InvalidArgumentError) as caught:
        parameter_from_spec("lr", spec)
    message = str(caught.value)
    assert "lr" in message and "\n" not in message
    assert all(word in message for word in words)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int64, float, int])
def test_bounds_of_numpy_are_numbers_of_python(kind):
    real = Real("a", kind(1), kind(4))
    assert {type(real.low), type(real.high)} <= {int, float}
    for unit_value in (0.0, 0.3, 1.0):
        assert real.contains(real.decode(unit_value))
    whole = Integer("a", kind(1), kind(4))
    values = [whole.decode(u) for u in (0.0, 0.3, 1.0)]
    assert [type(value) for value in values] == [int, int, int]
    assert values == [1, 2, 4]
    assert whole.contains(np.int32(3))
    assert real.contains(np.float32(2.5))
    assert not real.contains("2")


def test_a_whole_number_needs_whole_bounds():
    with pytest.raises(InvalidArgumentError, match=r"a: low and high must be whole numbers, but got 1\.5"):
        Integer("a", 1.5, 4)


def test_a_space_may_come_from_an_iterator():
    assert SearchSpace(Real(name, 0.0, 1.0) for name in "ab").names == ("a", "b")


def test_one_value_is_decoded_as_by_the_formula_of_arrays_and_tensors():
    rng = np.random.default_rng(0)
    for parameter in (
        Real("lr", 1e-4, 1.0, log=True),
        Real("m", 0.0, 0.99),
        Real("k", 1, 3),
        Real("d", -3.0, 7.0),
    ):
        for unit in [0.0, 1.0, *rng.random(200)]:
            low, width = parameter.warp(parameter.low), parameter.width
            formula = parameter.clip(parameter.unwarp(low + float(unit) * width))
            found = parameter.decode(float(unit))
            assert found == formula == parameter.decode(np.float64(unit)) and type(found) is float
