import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hypernudge.flops import count_flops
from hypernudge.tasks import builtin


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_agrees_with_pytorchs_own_counter(name):
    task = getattr(builtin, name)(batch_size=16)

    def work():
        params = {key: value.requires_grad_(True) for key, value in task.init(0).items()}
        hp = {p.name: p.decode(0.5) for p in task.space}
        return torch.autograd.grad(task.loss(params, task.batch(0, 0), hp), list(params.values()))

    _, ours = count_flops(work)
    with FlopCounterMode(display=False) as theirs:
        work()
    assert ours == theirs.get_total_flops() == task.step_flops > 0


def test_the_count_of_a_linear_model_is_known():
    task = builtin.supervised("digits", {"name": "mlp", "hidden": []}, batch_size=10)
    # Forward 2*10*64*10, backward the same for the weights; the input needs no gradient.
    assert task.step_flops == 2 * 2 * 10 * 64 * 10


def test_counting_happens_once_per_name(bowl):
    calls = []
    assert bowl.counted("x", lambda: calls.append(1)) == (None, 0.0)
    assert bowl.counted("x", lambda: calls.append(1)) == (None, 0.0)
    assert len(calls) == 2
