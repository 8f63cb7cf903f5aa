"""A training of known length beside a schedule of the user's, and beside bandits on other axes."""

import warnings

import pytest
import torch

from hypernudge.episodes import Alignment, EpisodicScheduler, GradientNoise
from hypernudge.episodes.controllers.annealed_alignment import PLAIN_PEAK
from tests.episodes.helpers import Problem, same
from tests.episodes.known_length import STEPS, multipliers, sgd, train


def cosine(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)


def linear(optimizer):
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)


def one_cycle(optimizer):
    rates = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, STEPS, cycle_momentum=False)


def warmup(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / 90) * (1.0 if step < 180 else 0.1)
    )


@pytest.mark.parametrize("schedule", [cosine, linear, one_cycle, warmup])
def test_a_schedule_of_the_user_s_acts_on_top_and_is_not_countered(schedule):
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS)
    seen = train(problem, optimizer, episodes, STEPS, schedule(optimizer))
    start = next(r for r in episodes.records if r.selection.bucket == "anneal").start_step
    bases = [sum(base) for base, _ in seen]
    top = max(bases)
    assert start <= 0.5 * STEPS + 1 and bases[start - 1] > 0.45 * top  # neither before its warm-up ended ...
    ratio = {round(rates[k] / base[k], 9) for base, rates in seen[start:] for k in (0, 1) if base[k]}
    assert ratio == {
        round(PLAIN_PEAK * episodes.controller.alignment.multiplier, 9)
    }  # ... nor against its fall
    assert episodes.metrics()["episodes/annealing"] == 1.0


def test_a_schedule_of_the_user_s_is_annealed_where_that_is_asked_for():
    problem = Problem()
    optimizer = sgd(problem)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS, anneal="linear")
    factors = multipliers(train(problem, optimizer, episodes, STEPS, constant))
    assert factors[-1] < 0.03 * max(factors)
    tensor = Problem()
    rates = torch.optim.SGD(tensor.model.parameters(), lr=torch.tensor(0.1))
    episodes = EpisodicScheduler(rates, total_steps=60, anneal="cosine", seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        factors = []
        for step in range(60):
            rates.zero_grad()
            tensor.loss(step).backward()
            rates.step()
            factors.append(episodes.last_lr[0] / 0.1)
            assert rates.param_groups[0]["lr"].item() == pytest.approx(0.1)
    assert factors[-1] < 0.01 * max(factors) and factors[0] == pytest.approx(0.5)


def test_bandits_on_other_axes_are_given_their_own_episodes():
    def run(joint):
        problem = Problem()
        optimizer = sgd(problem)
        bandits = {"episode_length": 7, "seed": 5}
        noise = GradientNoise([0.0, 0.05])
        if joint:
            both = EpisodicScheduler(optimizer, noise, total_steps=STEPS, **bandits)
            episodes = [both]
        else:
            episodes = [
                EpisodicScheduler(optimizer, total_steps=STEPS),
                EpisodicScheduler(optimizer, noise, **bandits),
            ]
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = problem.loss(step, size=32)
            loss.backward()
            episodes[-1].observe(loss)
            optimizer.step()
        return problem.parameters(), episodes

    parameters, (both,) = run(True)
    others, (rate, noise) = run(False)
    assert same(parameters, others)
    rewards = [r.reward.value for r in both.records if r.reward is not None]
    assert rewards == [r.reward.value for r in noise.records] and len(rewards) == STEPS // 7
    steps = {s: r.selection.values for r in both.records for s in range(r.start_step, r.end_step + 1)}
    for record in noise.records:
        for step in range(record.start_step, record.end_step + 1):
            assert steps[step][1] == record.selection.values[0]
    search = [r for r in rate.records if r.selection.bucket == "search"]
    assert len(search) > 3
    for record in search:
        assert steps[record.start_step][0] == steps[record.end_step][0] == record.selection.values[0]
    both.finalize()
    ends = [record.end_step for record in both.records]
    assert [r.start_step for r in both.records] == [0, *(end + 1 for end in ends[:-1])]
    assert ends[-1] == STEPS - 1


def test_alignment_without_an_end_goes_with_bandits_too():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(
        optimizer, GradientNoise([0.0, 0.05]), controller=Alignment(), episode_length=7, seed=5
    )
    train(problem, optimizer, episodes, 80)
    assert {axis.name for axis in episodes.controller.axes} == {"lr", "noise"}
    assert len({r.selection.values[0] for r in episodes.records}) > 2
    episodes.abandon()
    train(problem, optimizer, episodes, 20, start=80)
    assert episodes.step_count == 100 and episodes.total_steps is None and episodes.phase is None
