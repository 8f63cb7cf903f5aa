"""States of trials as data: written to a file and read into a new state, they train on to the same bits."""

import io

import numpy as np
import pytest
import torch

from hypernudge.engine.workers.states import UnsaidStateError, content_of, restored
from hypernudge.errors import InvalidArgumentError
from tests.conftest import Bowl
from tests.engine.real import Everything, Unsayable

HP = {"lr": 0.02, "shift": 0.3}


def through_a_file(task, state, seed):
    content = content_of(task, state, task.start(seed))
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return restored(task, torch.load(file, weights_only=True), task.start(seed)), file.getbuffer().nbytes


@pytest.mark.parametrize("units", [0, 1, 3])
def test_a_state_of_many_parts_goes_on_to_the_same_bits(units):
    task = Everything()
    straight, state = task.start(5), task.start(5)
    for _ in range(units):
        task.advance(straight, HP)
        task.advance(state, HP)
    state, _ = through_a_file(task, state, 5)
    assert state.data[0] is task.x  # what belongs to the task is not in the file
    for _ in range(3):
        task.advance(straight, HP)
        task.advance(state, HP)
    assert state.log == straight.log and len(state.log) == 3 * (units + 3)
    for (name, one), other in zip(
        straight.net.state_dict().items(), state.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    assert (
        torch.equal(state.leaf, straight.leaf) and state.leaf is state.optimizer.param_groups[0]["params"][-1]
    )
    assert np.array_equal(state.seen, straight.seen) and state.seen.dtype == np.int32
    assert torch.equal(state.best, straight.best)
    assert (state.sizes, state.nested) == (straight.sizes, straight.nested)
    assert type(state.nested["t", 1]) is np.float32
    assert state.rule(1) == 2
    assert state.net.training == straight.net.training


def test_a_gradient_task_goes_on_to_the_same_bits():
    task, hp = Bowl(), Bowl().space.middle()
    straight, state = task.start(3), task.start(3)
    for _ in range(2):
        task.advance(straight, hp)
        task.advance(state, hp)
    state, _ = through_a_file(task, state, 3)
    for _ in range(2):
        task.advance(straight, hp)
        task.advance(state, hp)
    assert torch.equal(state.params["w"], straight.params["w"]) and state.step == straight.step


def test_the_data_are_not_in_the_file():
    task = Everything()
    task.x, task.y = torch.randn(20_000, 5), torch.randn(20_000, 1)
    _, size = through_a_file(task, task.start(1), 1)
    assert size < 60_000


def test_a_view_is_written_without_what_lies_behind_it():
    class Viewed(Everything):
        def start(self, seed):
            return {"row": torch.arange(100_000.0)[3:5] + 0}

        def grow(self, state):
            state["row"] = torch.arange(100_000.0)[3:5]

    task = Viewed()
    state = task.start(0)
    task.grow(state)
    state, size = through_a_file(task, state, 0)
    assert state["row"].tolist() == [3.0, 4.0] and size < 10_000


class OwnWay(Unsayable):
    """Says its states itself."""

    def state_dict(self, state):
        return {"left": list(state["draws"]), "unit": state["unit"], "raw": b"\x00\xff" * 3}

    def load_state_dict(self, state, content):
        assert content["raw"] == b"\x00\xff" * 3
        state.update(draws=iter(content["left"]), unit=content["unit"])


def test_a_task_may_say_its_states_itself(tmp_path):
    task = OwnWay(tmp_path)
    state = task.start(4)
    next(state["draws"])
    state, _ = through_a_file(task, state, 4)
    assert next(state["draws"]) == 1


def _cycle(state):
    state["self"] = state


def _same_list(state):
    state["a"] = [1.0]
    state["b"] = [state["a"]]


def _views(state):
    state["whole"] = np.arange(4.0)
    state["part"] = state["whole"][1:]


def _view_of_a_tensor(state):
    state["whole"] = torch.arange(4.0)
    state["part"] = state["whole"][1:]


def test_what_is_one_stays_one_where_it_can():
    """A tensor that is held twice, and an object that a new state holds twice."""

    class Part:
        def __init__(self):
            self.count = 0

    class Twice(Bowl):
        def start(self, seed):
            part = Part()
            return {"part": part, "again": [part], "dict": {}}

    task = Twice()
    state = task.start(0)
    state["part"].count = 3
    state["one"] = torch.zeros(2)
    state["other"] = state["one"]
    state, _ = through_a_file(task, state, 0)
    assert state["part"] is state["again"][0] and state["part"].count == 3
    state["one"] += 1
    assert state["other"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda state: state.update(draws=iter("ab")), r"state\['draws'\], a str_ascii_iterator, "),
        (
            lambda state: state.update(a={"b": [object()]}),
            r"state\['a'\]\['b'\]\[0\], a object, has no count",
        ),
        (lambda state: state.update(f=lambda: 1), r"state\['f'\], a function, is code"),
        (lambda state: state.update({(object(),): 1}), "a tuple, is a key"),
        (lambda state: state.update(t=(torch.ones(2, requires_grad=True) * 2)), "detach it"),
        (lambda state: state.update(o=np.array([None])), "has the type object"),
        (_cycle, "holds itself"),
        (_same_list, r"state\['b'\]\[0\], a list, shares its memory with state\['a'\]"),
        (_views, r"state\['part'\] shares its memory with state\['whole'\]"),
        (_view_of_a_tensor, r"state\['part'\] shares its memory with state\['whole'\]"),
    ],
)
def test_what_no_file_can_hold_is_said(spoil, said):
    task = Bowl()
    task.start = lambda seed: {"value": 1.0}
    state = task.start(0)
    spoil(state)
    with pytest.raises(UnsaidStateError, match=said) as raised:
        content_of(task, state, task.start(0))
    assert isinstance(raised.value, InvalidArgumentError)
    assert "\n" not in str(raised.value) and "state_dict(state)" in str(raised.value)
