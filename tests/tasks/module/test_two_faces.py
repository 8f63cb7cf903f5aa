"""The training face makes the steps of the measuring face, and those of an ordinary PyTorch loop."""

import math

import pytest
import torch

from hypernudge import SGD, AdamW
from hypernudge.hypergradient import finite_differences, forward, gather_batch, lookahead, reverse
from hypernudge.random import integer, stream
from hypernudge.task import TrainingState
from tests.tasks.module.small import CONFIG, NETWORKS, SIZE, SPACE, STEPS, task_of
from tests.unroll import unroll

RULES = {
    "sgd": "sgd",
    "adamw": "adamw",
    "sgd, matrices": SGD(decay="matrices"),
    "adamw, matrices": AdamW(decay="matrices"),
}
RATES = {"sgd": 0.02, "adamw": 0.002}


def state_of(task, state):
    """Return what training has changed, by the measuring face's names."""
    return {f"model.{name}": value for name, value in state.training._changing().items()}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_what_is_measured(name, rule):
    config = {**CONFIG, "lr": RATES[rule.split(",")[0]], "weight_decay": 0.05}
    task = task_of(name, optimizer=RULES[rule], precision="float64", steps_per_unit=20)
    trained = task.start(3)
    assert task.advance(trained, config)

    measured = task.at(config)
    twin = TrainingState(measured.init(3), {}, 3)
    twin.optimizer_state = measured.optimizer.init(measured.trained(twin.params))
    assert measured.advance(twin, config)
    found = state_of(task, trained)
    assert found.keys() == twin.params.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, twin.params[key].detach(), rtol=1e-10, atol=1e-10, msg=key)
    for split in ("validation", "test"):
        assert task.evaluate(trained, split) == measured.evaluate(twin, split)


def ordinary_loop(name, rule, config, seed, epochs, warmup=0.0):
    """Train as one would without this library; everything is written out."""
    build, (inputs, labels), loss_of = NETWORKS[name]
    torch.manual_seed(seed)
    model = build(config)
    params = [p for p in model.parameters() if p.requires_grad]
    if rule == "sgd":
        optimizer = torch.optim.SGD(
            params,
            lr=config["lr"],
            momentum=config["momentum"],
            weight_decay=config["weight_decay"],
            fused=True,
        )
    else:
        optimizer = torch.optim.AdamW(
            params,
            lr=config["lr"],
            betas=(config["momentum"], 0.999),
            weight_decay=config["weight_decay"],
            fused=True,
        )
    steps = STEPS * epochs
    rising = round(warmup * steps)

    def factor(step):
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1.0 + math.cos(math.pi * ((step - rising) / (steps - rising))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    step = 0
    for epoch in range(epochs):
        order = torch.from_numpy(stream(seed, "order", epoch).permutation(len(inputs)))
        for rows in order.split(SIZE):
            torch.manual_seed(integer(seed, "forward", step))
            loss = loss_of(model, (inputs[rows], labels[rows]), config)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    model.eval()
    with torch.no_grad():
        hits = (model(inputs).argmax(-1) == labels).float().mean().item()
    return model, hits


@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_an_ordinary_loop_to_the_bit(name, rule):
    config = {**CONFIG, "lr": RATES[rule]}
    model, hits = ordinary_loop(name, rule, config, seed=5, epochs=4, warmup=0.25)
    task = task_of(name, optimizer=rule, units=4, schedule={"name": "cosine", "warmup": 0.25})
    state = task.start(5)
    for _ in range(4):
        assert task.advance(state, config)
    own = dict(state.training.model.state_dict())
    for key, value in model.state_dict().items():
        assert torch.equal(own[key], value), key
    assert task.evaluate(state, "validation") == pytest.approx(hits, abs=1e-7)


def test_what_is_frozen_stays_and_what_is_tied_stays_tied():
    frozen = task_of("frozen")
    state = frozen.start(1)
    before = frozen.at(CONFIG)
    before.init(1)
    frozen.advance(state, CONFIG)
    kept = before._closed.model.conv.weight
    assert torch.equal(state.training.model.conv.weight, kept)
    assert "model.conv.weight" not in before.init(1)

    tied = task_of("lm")
    assert [name for name in tied.at(CONFIG).init(0) if "embedding" in name] == ["model.embedding.weight"]


def test_measuring_changes_nothing_and_does_not_depend_on_what_was_measured_before():
    for name in NETWORKS:
        task = task_of(name).at(CONFIG)
        params = task.trained(task.init(0))
        one, other = task.batch(0, 0), task.batch(0, 1)
        first = task.loss(params, one, CONFIG).item()
        inside = {key: value.clone() for key, value in task._closed.named_buffers()}
        task.loss(params, other, CONFIG)
        assert task.loss(params, one, CONFIG).item() == first, name
        for key, value in task._closed.named_buffers():
            assert torch.equal(value, inside[key]), key


def test_dropout_belongs_to_seed_and_step():
    task = task_of("lm").at(CONFIG)
    params = task.init(0)
    batch = task.batch(0, 0)
    again = dict(task.batch(0, 1), **{key: batch[key] for key in ("0", "1")})
    same = {key: value for key, value in batch.items() if key in ("0", "1")}
    assert torch.equal(again["0"], same["0"])
    assert task.loss(params, batch, CONFIG) != task.loss(params, again, CONFIG)
    joined = gather_batch(task, 0, 0, 12)
    assert {len(part) for part in joined.values()} == {12}
    assert task.loss(params, joined, CONFIG) == task.loss(params, joined, CONFIG)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("objective", [lookahead, unroll])
def test_hyper_gradients_are_those_of_finite_differences(name, objective):
    task = task_of(name, precision="float64").at(CONFIG)
    params = {key: value.detach() for key, value in task.trained(task.init(2)).items()}
    batches = [task.batch(2, step) for step in range(2 if objective is lookahead else 3)]
    rule = objective(task, params, batches)
    exact = reverse(rule, CONFIG, SPACE.continuous, torch.float64)
    twin = finite_differences(rule, CONFIG, SPACE.continuous, torch.float64)
    assert all(exact[p] != 0 for p in exact)
    assert exact == pytest.approx(twin, rel=1e-4, abs=1e-8)


@pytest.mark.slow  # forward mode imports the compiler
@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # by PyTorch's forward mode itself
def test_attention_in_forward_mode():
    task = task_of("vit", precision="float64").at(CONFIG)
    params = {key: value.detach() for key, value in task.trained(task.init(2)).items()}
    rule = lookahead(task, params, [task.batch(2, 0), task.batch(2, 1)])
    exact = reverse(rule, CONFIG, SPACE.continuous, torch.float64)
    assert forward(rule, CONFIG, SPACE.continuous, torch.float64) == pytest.approx(exact, rel=1e-9)
