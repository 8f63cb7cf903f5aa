"""Reverse = forward = finite differences, in float64, on every hyper-parameter; costs; curvature."""

import pytest
import torch

from hypernudge.hypergradient import (
    direct,
    finite_differences,
    forward,
    gather_batch,
    gradient_difference,
    hessian_vector,
    lookahead,
    loss_difference,
    reverse,
)
from hypernudge.optimizers import SGD, AdamW
from hypernudge.random import stream
from hypernudge.tasks import builtin
from tests.unroll import unroll

# Forward mode makes PyTorch compile its own decompositions once, with a deprecated function of its own.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

TASKS = {
    "digits_mlp": builtin.digits_mlp,
    "digits_cnn": builtin.digits_cnn,
    "breast_cancer_mlp": builtin.breast_cancer_mlp,
}


@pytest.fixture(scope="module", params=[*TASKS, "bowl"])
def setting(request):
    from tests.conftest import Bowl

    name = request.param
    task = Bowl() if name == "bowl" else TASKS[name](dtype="float64", batch_size=32)
    config = task.space.sample(stream(3, "hypergradient")).replace(lr=0.02, momentum=0.6, weight_decay=0.01)
    batches = [gather_batch(task, 5, 2 * index, 48) for index in range(4)]
    return task, config, task.init(5), batches


FORMS = {
    "direct": lambda task, params, batches: direct(task, params, batches[0]),
    "lookahead": lambda task, params, batches: lookahead(task, params, batches[:2]),
    "unroll": unroll,
}


@pytest.mark.parametrize("form", FORMS)
def test_reverse_forward_and_finite_differences_agree(setting, form):
    task, config, params, batches = setting
    objective = FORMS[form](task, params, batches)
    arguments = (objective, config, task.space.continuous, torch.float64)
    exact = reverse(*arguments)
    assert set(exact) == {"lr", "weight_decay", "momentum", "augmentation", "label_smoothing"}
    assert forward(*arguments) == pytest.approx(exact, rel=1e-9, abs=1e-13)
    assert finite_differences(*arguments) == pytest.approx(exact, rel=1e-4, abs=1e-7)


def test_without_look_ahead_the_learning_rate_has_no_gradient(setting):
    task, config, params, batches = setting
    grads = reverse(direct(task, params, batches[0]), config, task.space.continuous, torch.float64)
    assert grads["lr"] == 0.0 and grads["momentum"] == 0.0
    assert all(grads[name] != 0.0 for name in ("weight_decay", "augmentation", "label_smoothing"))
    ahead = reverse(lookahead(task, params, batches[:2]), config, task.space.continuous, torch.float64)
    assert all(value != 0.0 for value in ahead.values())


def test_decoupled_decay_is_differentiated_too(bowl):
    bowl.optimizer = SGD(decoupled=True)
    config = bowl.space.decode([0.5] * 5)
    objective = unroll(bowl, bowl.init(1), [gather_batch(bowl, 1, index, 8) for index in range(4)])
    arguments = (objective, config, bowl.space.continuous, torch.float64)
    assert finite_differences(*arguments) == pytest.approx(reverse(*arguments), rel=1e-5, abs=1e-8)


def test_curvature_agrees_with_its_slow_twin(setting):
    task, config, params, batches = setting
    exact, twin = (
        measure(task, params, batches[0], config) for measure in (hessian_vector, gradient_difference)
    )
    assert twin.gd == pytest.approx(exact.gd, rel=1e-12)
    assert twin.dHd == pytest.approx(exact.dHd, rel=1e-5, abs=1e-9)
    assert exact.lr_star > 0


@pytest.mark.parametrize("rule", [SGD(), AdamW()])
def test_curvature_from_one_more_loss_is_that_of_a_small_step(bowl, rule):
    """On a quadratic the loss after a step of any length gives the curvature exactly."""
    bowl.optimizer = rule
    batch, params = gather_batch(bowl, 0, 0, 64), bowl.init(0)
    hp = {"augmentation": 0.0, "label_smoothing": 0.0}
    exact = hessian_vector(bowl, params, batch, hp)
    twin = gradient_difference(bowl, params, batch, hp)
    cheap, direction = loss_difference(bowl, params, batch, hp)
    assert cheap.dHd == pytest.approx(exact.dHd, rel=1e-8) and twin.dHd == pytest.approx(exact.dHd, rel=1e-6)
    assert cheap.dd == pytest.approx(float(sum((d**2).sum() for d in direction.values())))
    half = loss_difference(bowl, params, batch, hp, decrease=0.001)[0]
    assert half.lr_star == pytest.approx(exact.lr_star, rel=1e-6)


def test_on_a_quadratic_a_step_of_lr_star_is_the_best_on_the_line(bowl):
    batch = gather_batch(bowl, 0, 0, 64)
    params = bowl.init(0)
    hp = {"augmentation": 0.0, "label_smoothing": 0.0}
    tracked = {"w": params["w"].clone().requires_grad_(True)}
    (g,) = torch.autograd.grad(bowl.loss(tracked, batch, hp), list(tracked.values()))
    star = hessian_vector(bowl, params, batch, hp).lr_star
    losses = [float(bowl.loss({"w": params["w"] - c * star * g}, batch, hp)) for c in (0.9, 1.0, 1.1)]
    assert losses[1] < min(losses[0], losses[2])


def test_a_batch_of_another_size_is_made_of_the_first_samples_of_training(bowl):
    joined = gather_batch(bowl, 7, 3, 20)["x"]
    expected = torch.cat([bowl.batch(7, step)["x"] for step in (3, 4, 5)])[:20]
    assert torch.equal(joined, expected)
