"""The hook-based scheduler in ordinary and awkward training loops."""

import math

import pytest
import torch
from torch import nn

from hypernudge.episodes import (
    CustomAxis,
    DiscountedUCB,
    EmaLogReward,
    EpisodicScheduler,
    Exp3,
    GradientNoise,
    LearningRate,
    Momentum,
    ThompsonSampling,
    TrendContext,
    WeightDecay,
)
from tests.episodes.helpers import Problem, same


def train(problem, optimizer, steps, episodes=None, before_step=None):
    rates = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = problem.loss(step)
        loss.backward()
        if episodes is not None:
            episodes.observe(loss)
        if before_step is not None:
            before_step(step)
        optimizer.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    return rates


def sgd(problem, lr=0.1, **options):
    return torch.optim.SGD(problem.model.parameters(), lr=lr, **options)


def test_neutral_arm_is_the_bare_optimizer_bit_for_bit():
    finals = []
    for attach in (False, True):
        problem = Problem()
        optimizer = torch.optim.AdamW(problem.model.parameters(), lr=0.01)
        episodes = None
        if attach:
            episodes = EpisodicScheduler(
                optimizer, LearningRate([1.0]), GradientNoise([0.0]), Momentum([1.0]), WeightDecay([1.0])
            )
        train(problem, optimizer, 20, episodes)
        finals.append(problem.parameters())
    assert same(*finals)


def test_multiplied_steps_are_steps_at_the_multiplied_rate():
    plain, steered = Problem(), Problem()
    train(plain, sgd(plain, 0.05, momentum=0.9), 12)
    optimizer = sgd(steered, 0.1, momentum=0.9)
    rates = train(steered, optimizer, 12, EpisodicScheduler(optimizer, LearningRate([0.5])))
    assert same(plain.parameters(), steered.parameters())
    assert rates == [[0.1]] * 12


def test_episodes_and_records():
    problem = Problem()
    optimizer = sgd(problem)
    with EpisodicScheduler(
        optimizer, LearningRate([0.5, 1.0, 2.0]), episode_length=5, reward=EmaLogReward(), seed=0
    ) as episodes:
        train(problem, optimizer, 18, episodes)
    spans = [(record.start_step, record.end_step) for record in episodes.records]
    assert spans == [(0, 4), (5, 9), (10, 14), (15, 17)]
    assert sorted(record.selection.arms[0] for record in episodes.records[:3]) == [0, 1, 2]
    first = episodes.records[0]
    assert first.loss_start == Problem().loss(0).item()
    assert first.reward.base == math.log(first.reward.ema_start + 1e-8) - math.log(
        first.reward.ema_end + 1e-8
    )
    before = len(episodes.records)
    train(problem, optimizer, 6)  # detached: an ordinary optimizer again
    assert len(episodes.records) == before


def test_criterion_hook_sees_training_losses_only():
    problem = Problem()
    criterion = nn.CrossEntropyLoss()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), criterion=criterion, episode_length=3)
    inputs, targets = torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)
    for _ in range(3):
        with torch.no_grad():
            criterion(problem.model(inputs) * 100, targets)  # an evaluation
        loss = criterion(problem.model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert episodes.records[0].loss_end == loss.item()
    episodes.detach()
    assert not criterion._forward_hooks


class Output(dict):
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("wrap", [lambda loss: {"loss": loss}, lambda loss: Output(loss=loss)])
def test_watching_a_model_that_returns_its_loss(wrap):
    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return wrap((self.weight * x).pow(2).sum())

    model = WithLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    episodes = EpisodicScheduler(optimizer, LearningRate([1.0, 2.0]), criterion=model, episode_length=2)
    for _ in range(2):
        model(torch.ones(3))["loss"].backward()
        optimizer.step()
    assert episodes.records[0].loss_start == 3.0


def test_accumulation_counts_real_steps_and_averages_micro_batches():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=2)
    seen = []
    for micro in range(16):
        loss = problem.loss(micro) / 4
        loss.backward()
        episodes.observe(loss)
        seen.append(loss.item())
        if micro % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    assert episodes.step_count == 4
    assert len(episodes.records) == 2
    assert episodes.records[0].loss_start == sum(seen[:4]) / 4
    assert episodes.records[1].loss_end == sum(seen[12:]) / 4


@pytest.mark.parametrize("bandit", [DiscountedUCB, ThompsonSampling, Exp3])
@pytest.mark.parametrize("conditional", [False, True])
def test_every_axis_and_bandit_together(bandit, conditional):
    problem = Problem()
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=0.01, weight_decay=0.1)
    dropout = nn.Dropout(0.1)

    def set_dropout(value):
        old, dropout.p = dropout.p, value
        return old

    seen = []
    episodes = EpisodicScheduler(
        optimizer,
        LearningRate([0.5, 2.0]),
        GradientNoise([0.0, 0.01]),
        WeightDecay([0.0, 1.0, 3.0]),
        Momentum([0.5, 1.0, 2.0]),
        CustomAxis("dropout", [0.0, 0.3], set_dropout, lambda old: setattr(dropout, "p", old)),
        bandit=bandit,
        conditional=conditional,
        context=TrendContext(),
        episode_length=3,
        seed=1,
    )

    def look(_optimizer, _args, _kwargs):
        group = optimizer.param_groups[0]
        seen.append((group["lr"], group["weight_decay"], group["betas"][0], dropout.p))

    optimizer.register_step_pre_hook(look)  # registered later, so it runs inside ours
    chosen = []
    for step in range(30):
        assert dropout.p == episodes.current.values[4]  # in force before the forward pass
        loss = problem.loss(step)
        optimizer.zero_grad()
        loss.backward()
        episodes.observe(loss)
        chosen.append(episodes.current.values)
        optimizer.step()
        group = optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"], group["betas"]) == (0.01, 0.1, (0.9, 0.999))
    for (rate, _, decay, horizon, p), inside in zip(chosen, seen, strict=True):
        beta = 1 - (1 - 0.9) / horizon
        assert inside == pytest.approx((0.01 * rate, 0.1 * decay, beta, p))
    assert len(set(chosen)) > 3
    episodes.detach()
    assert dropout.p == 0.1


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
}


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


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_step_that_raises_leaves_the_base_rate_and_counts_for_nothing(order):
    class Explosive(torch.optim.SGD):
        armed = False

        def step(self, closure=None):
            if self.armed:
                raise FloatingPointError("boom")
            return super().step(closure)

    problem = Problem()
    optimizer = Explosive(problem.model.parameters(), lr=0.1)
    if order == "before":
        torch.optim.lr_scheduler.StepLR(optimizer, 100)
    episodes = EpisodicScheduler(optimizer, LearningRate([4.0]), episode_length=3)
    if order == "after":
        torch.optim.lr_scheduler.StepLR(optimizer, 100)
    train(problem, optimizer, 2, episodes)
    optimizer.armed = True
    with pytest.raises(FloatingPointError, match="boom"):
        train(problem, optimizer, 1, episodes)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert episodes.step_count == 2
    optimizer.armed = False
    train(problem, optimizer, 1, episodes)
    assert episodes.step_count == 3
    assert len(episodes.records) == 1


def nan_at(episodes, problem, optimizer, bad, steps=6):
    for step in range(steps):
        loss = problem.loss(step)
        optimizer.zero_grad()
        loss.backward()
        episodes.observe(loss * math.nan if step in bad else loss)
        optimizer.step()


@pytest.mark.parametrize("deferred", [False, True])
class TestNonFinite:
    def build(self, policy, deferred):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(
            optimizer,
            LearningRate([0.5, 2.0]),
            episode_length=3,
            non_finite=policy,
            reward=EmaLogReward(),
            deferred_reads=deferred,
        )
        return episodes, problem, optimizer

    def test_ignored_steps_leave_the_reward_of_the_others(self, deferred):
        episodes, problem, optimizer = self.build("ignore", deferred)
        nan_at(episodes, problem, optimizer, {1})
        record = episodes.records[0]
        assert record.reward == EmaLogReward()([record.loss_start, record.loss_end])
        assert len(episodes.records) == 2

    def test_an_episode_of_nothing_else_teaches_nothing(self, deferred):
        episodes, problem, optimizer = self.build("ignore", deferred)
        before = episodes.controller.state_dict()["bandits"][0][0]["pulls"]
        nan_at(episodes, problem, optimizer, {0, 1, 2}, steps=3)
        assert episodes.records[0].reward is None
        assert episodes.controller.state_dict()["bandits"][0][0]["pulls"] == before

    def test_worst_reward(self, deferred):
        episodes, problem, optimizer = self.build("worst", deferred)
        nan_at(episodes, problem, optimizer, {1})
        assert episodes.records[0].reward.value == -1.0
        assert episodes.records[1].reward.value > -1.0

    def test_raising_leaves_nothing_half_applied(self, deferred):
        episodes, problem, optimizer = self.build("raise", deferred)
        with pytest.raises(ValueError, match="finite"):
            nan_at(episodes, problem, optimizer, {1})
        assert optimizer.param_groups[0]["lr"] == 0.1
        nan_at(episodes, problem, optimizer, set(), steps=6)
        assert episodes.records[-1].reward is not None


def test_deferred_reads_change_nothing_and_are_one_per_episode():
    results = []
    for deferred in (False, True):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(
            optimizer, LearningRate([0.5, 1.0, 2.0]), episode_length=5, seed=3, deferred_reads=deferred
        )
        train(problem, optimizer, 33, episodes)
        episodes.finalize()
        results.append((problem.parameters(), episodes.records))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_device_reads_are_counted_by_the_dispatcher():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                Reads.count += 1
            return function(*args, **(kwargs or {}))

    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(
        optimizer, LearningRate([0.5, 2.0]), GradientNoise([0.0, 0.1]), episode_length=5, deferred_reads=True
    )
    with Reads():
        train(problem, optimizer, 40, episodes)
    # .tolist() of the buffer bypasses the dispatcher, so it is counted where it is made
    assert Reads.count == 0
    assert episodes.device_reads == len(episodes.records) == 8


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


def test_seedless_schedulers_differ_and_remember_their_seed():
    seeds = {EpisodicScheduler(sgd(Problem()), LearningRate([1.0])).seed for _ in range(4)}
    assert len(seeds) == 4


def test_wrappers_are_unwrapped_and_strangers_refused():
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    optimizer = sgd(Problem())
    assert EpisodicScheduler(Wrapper(Wrapper(optimizer)), LearningRate([1.0])).optimizer is optimizer
    with pytest.raises(TypeError, match=r"optimizer must be a torch\.optim\.Optimizer"):
        EpisodicScheduler(object(), LearningRate([1.0]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda o: EpisodicScheduler(o), "axes must not be empty"),
        (lambda o: EpisodicScheduler(o, LearningRate([])), "lr_candidates must not be empty"),
        (lambda o: EpisodicScheduler(o, LearningRate([0.0])), "lr_candidates must all be above 0"),
        (lambda o: EpisodicScheduler(o, GradientNoise([-1.0])), "noise_candidates must all be 0 or above"),
        (lambda o: EpisodicScheduler(o, WeightDecay([1.0])), "weight_decay above 0"),
        (lambda o: EpisodicScheduler(o, Momentum([1.0])), "neither betas nor a momentum"),
        (lambda o: EpisodicScheduler(o, LearningRate([1.0]), LearningRate([1.0])), "different names"),
        (lambda o: EpisodicScheduler(o, LearningRate([1.0]), episode_length=0), "episode_length must be"),
        (lambda o: EpisodicScheduler(o, LearningRate([1.0]), non_finite="x"), "non_finite must be one of"),
        (lambda o: CustomAxis("", [1.0], print, print), "name must not be empty"),
        (lambda o: CustomAxis("a", [], print, print), "must not be empty"),
        (lambda o: CustomAxis("a", [math.inf], print, print), "must be finite"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(sgd(Problem()))


def test_losses_must_be_scalar_and_present():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]))
    with pytest.raises(ValueError, match=r"loss must be a scalar, but has shape \(3,\)"):
        episodes.observe(torch.ones(3))
    problem.loss(0).backward()
    before = problem.parameters()
    with pytest.raises(RuntimeError, match="no loss was observed before"):
        optimizer.step()
    assert same(before, problem.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_the_rate_axis_runs_no_tensor_operation_and_so_takes_no_memory():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(str(function))
            return function(*args, **(kwargs or {}))

    seen = []
    for attach in (False, True):
        problem = Problem()
        optimizer = sgd(problem, momentum=0.9)
        episodes = None
        if attach:
            episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=3)
        with Operations() as operations:
            train(problem, optimizer, 9, episodes)
        seen.append([name for name in operations.names if "_local_scalar_dense" not in name])
    assert seen[0]
    assert seen[0] == seen[1]
