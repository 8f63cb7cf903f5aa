"""Training loops of every kind: groups, schedulers, closures, scaling, compilation."""

import math

import pytest
import torch
from torch import nn

from hypernudge.episodes import (
    EpisodicScheduler,
    GradientNoise,
    LearningRate,
    Momentum,
)
from tests.episodes.helpers import Problem, same, sgd, train


def test_groups_frozen_and_unused_parameters():
    problem = Problem()
    problem.model[0].weight.requires_grad_(False)
    unused = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD(
        [
            {"params": problem.model[0].parameters(), "lr": 0.5},
            {"params": problem.model[2].parameters()},
            {"params": [unused], "lr": 7.0},
        ],
        lr=0.1,
    )
    frozen = problem.model[0].weight.clone()
    episodes = EpisodicScheduler(
        optimizer, LearningRate([0.5, 2.0]), GradientNoise([0.01]), episode_length=2, update_norm=True
    )
    rates = train(problem, optimizer, 6, episodes)
    assert rates == [[0.5, 0.1, 7.0]] * 6
    assert torch.equal(frozen, problem.model[0].weight)
    assert torch.equal(unused, torch.ones(3))
    assert all(record.update_norm > 0 for record in episodes.records)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 3.0})
    assert train(problem, optimizer, 2, episodes) == [[0.5, 0.1, 7.0, 3.0]] * 2


SCHEDULERS = {
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 3),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
    "restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "one_cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=25),
    "cyclic": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4),
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 1 / (e + 1)),
    "multiplicative": lambda o: torch.optim.lr_scheduler.MultiplicativeLR(o, lambda e: 0.9),
    "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, total_iters=5),
    "polynomial": lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 15),
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o),
    "multi": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 9]),
    "chained": lambda o: torch.optim.lr_scheduler.ChainedScheduler(
        [torch.optim.lr_scheduler.LinearLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "sequential": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [torch.optim.lr_scheduler.ConstantLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)],
        milestones=[5],
    ),
    "plateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "swa": lambda o: torch.optim.swa_utils.SWALR(o, swa_lr=0.02, anneal_epochs=4),
}


def test_every_scheduler_of_torch_is_among_them():
    base = torch.optim.lr_scheduler.LRScheduler
    known = {
        kind
        for kind in vars(torch.optim.lr_scheduler).values()
        if isinstance(kind, type) and issubclass(kind, base) and not kind.__name__.startswith("_")
    }
    built = {type(build(sgd(Problem(), momentum=0.9))) for build in SCHEDULERS.values()}
    assert known - {base} <= built


@pytest.mark.parametrize("order", ["scheduler first", "episodes first"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_see_base_rates_only(name, order):
    seen = []
    for attach in (False, True):
        problem = Problem()
        optimizer = sgd(problem, 0.1, momentum=0.9)
        axes = (LearningRate([0.25, 4.0]), Momentum([0.5, 2.0]))
        episodes = None
        if attach and order == "episodes first":
            episodes = EpisodicScheduler(optimizer, *axes, episode_length=2)
        scheduler = SCHEDULERS[name](optimizer)
        if attach and order == "scheduler first":
            episodes = EpisodicScheduler(optimizer, *axes, episode_length=2)
        trace = []
        for step in range(20):
            train(problem, optimizer, 1, episodes)
            arguments = (float(step % 5),) if name == "plateau" else ()
            scheduler.step(*arguments)
            trace.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        seen.append(trace)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("fused", [False, True])
def test_tensor_rates_stay_the_same_tensor(fused):
    plain, steered = Problem(), Problem()
    twin = torch.optim.Adam(plain.model.parameters(), lr=torch.tensor(0.02), fused=fused)
    train(plain, twin, 8)
    rate = torch.tensor(0.01)
    optimizer = torch.optim.Adam(steered.model.parameters(), lr=rate, fused=fused)
    episodes = EpisodicScheduler(optimizer, LearningRate([2.0]), episode_length=4)
    train(steered, optimizer, 8, episodes)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == torch.tensor(0.01).item()
    assert same(plain.parameters(), steered.parameters())


def test_one_rate_tensor_shared_by_groups_is_multiplied_once():
    problem = Problem()
    rate = torch.tensor(0.1)
    groups = [{"params": problem.model[0].parameters()}, {"params": problem.model[2].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=rate, foreach=True)
    for group in optimizer.param_groups:
        group["lr"] = rate
    EpisodicScheduler(optimizer, LearningRate([2.0]), criterion=None)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(rate.item()))
    loss = problem.loss(0)
    loss.backward()
    with pytest.raises(RuntimeError, match="no loss was observed"):
        optimizer.step()
    assert rate.item() == torch.tensor(0.1).item()
    hooks = EpisodicScheduler(sgd(problem), LearningRate([2.0]))
    hooks.detach()
    token = LearningRate([2.0]).apply(optimizer, 2.0)
    assert rate.item() == pytest.approx(0.2)
    LearningRate([2.0]).undo(optimizer, token)
    assert rate.item() == torch.tensor(0.1).item()


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_closures_lbfgs(line_search):
    problem = Problem()
    optimizer = torch.optim.LBFGS(problem.model.parameters(), lr=0.5, max_iter=4, line_search_fn=line_search)
    episodes = EpisodicScheduler(
        optimizer, LearningRate([0.5, 1.0]), GradientNoise([0.0, 1e-4]), episode_length=2, seed=0
    )
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = problem.loss(0)
        loss.backward()
        calls.append(loss.item())
        return loss

    firsts = []
    for _ in range(6):
        calls.clear()
        optimizer.step(closure)
        firsts.append(calls[0])
        assert optimizer.param_groups[0]["lr"] == 0.5
    observed = [loss for record in episodes.records for loss in (record.loss_start, record.loss_end)]
    assert observed == firsts
    assert firsts[-1] < firsts[0]


def test_noise_in_a_closure_comes_after_the_backward_pass():
    finals = []
    for use_closure in (False, True):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(optimizer, GradientNoise([0.5]), episode_length=2, seed=4)
        for step in range(4):

            def closure(step=step, optimizer=optimizer, problem=problem):
                optimizer.zero_grad()
                loss = problem.loss(step)
                loss.backward()
                return loss

            if use_closure:
                optimizer.step(closure=closure)
            else:
                episodes.observe(closure())
                optimizer.step()
        finals.append((problem.parameters(), episodes.records))
    assert same(finals[0][0], finals[1][0])
    assert finals[0][1] == finals[1][1]


def test_sparse_embedding():
    embedding = nn.Embedding(20, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(list(embedding.parameters()), lr=0.01)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), GradientNoise([0.1]), episode_length=2)
    before = embedding.weight.detach().clone()
    for _ in range(4):
        optimizer.zero_grad()
        loss = embedding(torch.tensor([1, 1, 5])).pow(2).sum()
        loss.backward()
        episodes.observe(loss)
        optimizer.step()
    moved = (embedding.weight.detach() - before).abs().sum(1).nonzero().flatten().tolist()
    assert moved == [1, 5]


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_equals_unscaled(fused):
    finals = []
    for scaled in (False, True):
        problem = Problem()
        optimizer = torch.optim.AdamW(problem.model.parameters(), lr=0.01, fused=fused)
        episodes = EpisodicScheduler(
            optimizer, LearningRate([0.5, 2.0]), GradientNoise([0.0, 0.05]), episode_length=3, seed=2
        )
        # powers of two: scaling and unscaling are exact
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10_000, enabled=scaled)
        for step in range(15):
            optimizer.zero_grad()
            loss = problem.loss(step)
            scaler.scale(loss).backward()
            episodes.observe(loss)
            scaler.step(optimizer)
            scaler.update()
        finals.append((problem.parameters(), episodes.records))
    assert finals[0][1] == finals[1][1]
    assert same(finals[0][0], finals[1][0])


def test_steps_skipped_by_the_scaler_are_not_counted():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(6):
        optimizer.zero_grad()
        loss = problem.loss(step)
        scaler.scale(loss).backward()
        if step == 2:
            problem.model[0].weight.grad.fill_(math.inf)
        episodes.observe(loss)
        scaler.step(optimizer)
        scaler.update()
    assert episodes.step_count == 5


@pytest.mark.parametrize("tensor_rate", [False, True])
def test_compiled_step(tensor_rate):
    finals = []
    for compiled in (False, True):
        torch._dynamo.reset()
        problem = Problem()
        rate = torch.tensor(0.01) if tensor_rate else 0.01
        optimizer = torch.optim.Adam(problem.model.parameters(), lr=rate, foreach=not tensor_rate)
        episodes = EpisodicScheduler(
            optimizer, LearningRate([0.5, 2.0]), GradientNoise([0.0, 0.01]), episode_length=2, seed=1
        )

        def step(optimizer=optimizer):
            optimizer.step()

        take = torch.compile(step, backend="eager") if compiled else step
        for index in range(8):
            optimizer.zero_grad()
            loss = problem.loss(index)
            loss.backward()
            episodes.observe(loss)
            take()
        assert episodes.step_count == 8
        finals.append((problem.parameters(), [r.selection for r in episodes.records]))
    assert finals[0][1] == finals[1][1]
    for left, right in zip(finals[0][0], finals[1][0], strict=True):
        torch.testing.assert_close(left, right)


def test_around_step_serves_replays_and_hookless_steps():
    plain, steered = Problem(), Problem()
    optimizers = [sgd(plain), sgd(steered)]
    hooked = EpisodicScheduler(optimizers[0], LearningRate([0.5, 2.0]), episode_length=2, seed=0)
    manual = EpisodicScheduler(
        optimizers[1], LearningRate([0.5, 2.0]), episode_length=2, seed=0, attach=False
    )
    train(plain, optimizers[0], 8, hooked)
    for step in range(8):
        optimizers[1].zero_grad()
        loss = steered.loss(step)
        loss.backward()
        manual.observe(loss)
        with manual.around_step():
            optimizers[1].step()
    assert same(plain.parameters(), steered.parameters())
    assert hooked.records == manual.records


def test_a_loss_may_be_observed_in_the_body_of_around_step():
    results = []
    for inside in (False, True):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(
            optimizer, LearningRate([0.5, 2.0]), episode_length=2, seed=0, attach=False
        )
        for step in range(6):
            optimizer.zero_grad()
            loss = problem.loss(step)
            loss.backward()
            if not inside:
                episodes.observe(loss)
            with episodes.around_step():
                optimizer.step()
                if inside:
                    episodes.observe(loss)
        results.append((problem.parameters(), episodes.records))
        with pytest.raises(RuntimeError, match="no loss was observed"), episodes.around_step():
            pass
        assert episodes.step_count == 6
        assert optimizer.param_groups[0]["lr"] == 0.1
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device, there is none")
def test_replays_of_a_captured_step_run_at_the_chosen_rate():
    def build():
        problem = Problem()
        problem.model.cuda()
        inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)).cuda()
        rate = torch.tensor(0.01, device="cuda")
        optimizer = torch.optim.Adam(problem.model.parameters(), lr=rate, capturable=True)
        episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=2, seed=0)

        def iterate():
            optimizer.zero_grad(set_to_none=False)
            loss = problem.model(inputs).pow(2).mean()
            loss.backward()
            return loss

        return problem, optimizer, episodes, iterate

    problem, optimizer, episodes, iterate = build()
    for _ in range(11):
        episodes.observe(iterate())
        optimizer.step()
    expected, records = problem.parameters(), episodes.records

    problem, optimizer, episodes, iterate = build()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # the allocations of the first steps must not be captured
            episodes.observe(iterate())
            optimizer.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = iterate()
        optimizer.step()  # hooks stand aside: nothing of the present rate is frozen in
    for _ in range(8):
        with episodes.around_step():
            graph.replay()
            episodes.observe(loss)
    assert [record.selection for record in episodes.records] == [record.selection for record in records]
    for left, right in zip(problem.parameters(), expected, strict=True):
        torch.testing.assert_close(left, right)
