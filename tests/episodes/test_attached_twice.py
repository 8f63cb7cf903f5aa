"""Several schedulers on one optimizer: the same axis is replaced, different ones are undone in reverse."""

import copy
import gc
import pickle

import pytest
import torch

from hypernudge import AEES
from hypernudge.episodes import (
    CustomAxis,
    EpisodicScheduler,
    GradientNoise,
    LearningRate,
    Momentum,
    WeightDecay,
)
from hypernudge.episodes.axes.param_group_axis import ParamGroupAxis
from tests.episodes.helpers import Problem, same, sgd, train


class Rate(ParamGroupAxis):
    """A user's own axis on the same key under another name."""

    name = tag = "rate"
    argument = "rates"

    def change(self, group, value, saved):
        saved.append((group, "lr", group["lr"]))
        group["lr"] = group["lr"] * value


def set_rate(optimizer):
    def apply(value):
        old = optimizer.param_groups[0]["lr"]
        optimizer.param_groups[0]["lr"] = value
        return old

    return apply, lambda old: optimizer.param_groups[0].__setitem__("lr", old)


SAME = {
    "default twice": (lambda o: EpisodicScheduler(o), lambda o: EpisodicScheduler(o)),
    "bandits": (
        lambda o: EpisodicScheduler(o, LearningRate([0.5, 2.0])),
        lambda o: EpisodicScheduler(o, LearningRate([0.25, 4.0])),
    ),
    "bandits, then default": (
        lambda o: EpisodicScheduler(o, LearningRate([0.5, 2.0]), GradientNoise([0.1])),
        lambda o: EpisodicScheduler(o),
    ),
    "a user's axis on the same key": (
        lambda o: EpisodicScheduler(o, Rate([0.5, 2.0])),
        lambda o: EpisodicScheduler(o, LearningRate([0.5, 2.0])),
    ),
    "a custom axis of the same name": (
        lambda o: EpisodicScheduler(o, CustomAxis("lr", [0.01, 1.0], *set_rate(o))),
        lambda o: EpisodicScheduler(o, LearningRate([0.5, 2.0])),
    ),
    "noise": (
        lambda o: EpisodicScheduler(o, GradientNoise([0.1])),
        lambda o: EpisodicScheduler(o, GradientNoise([0.0, 0.2])),
    ),
    "the published front, then hooks": (
        lambda o: AEES(o, lr_candidates=(0.5, 2.0), seed=0),
        lambda o: EpisodicScheduler(o, LearningRate([0.5, 2.0])),
    ),
    "hooks, then the published front": (
        lambda o: EpisodicScheduler(o, LearningRate([0.5, 2.0])),
        lambda o: AEES(o, lr_candidates=(0.5, 2.0), seed=0),
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_axis_again_takes_the_place_of_the_earlier_and_says_so(kind):
    first, second = SAME[kind]
    alone, twice = Problem(), Problem()
    finals = []
    for problem, builders in ((alone, (second,)), (twice, (first, second))):
        optimizer = sgd(problem, momentum=0.9)
        torch.manual_seed(0)
        kept = [builders[0](optimizer)]
        if len(builders) == 2:
            with pytest.warns(UserWarning, match="it is detached and this one takes its place") as said:
                kept.append(second(optimizer))
            assert len(said) == 1
        last = kept[-1]
        core = getattr(last, "episodes", last)
        assert core.attached
        assert optimizer.param_groups[0]["lr"] == 0.1
        steps = []
        for step in range(4):
            if core is not last:
                last.step_start(step)
            optimizer.zero_grad()
            loss = problem.loss(step)
            loss.backward()
            if core is last:
                core.observe(loss)
                optimizer.step()
            else:
                last.step_end(loss)
            steps.append(optimizer.param_groups[0]["lr"])
        assert steps == [0.1] * 4
        assert core.step_count == 4
        finals.append(core)
        if len(builders) == 2:
            old = getattr(kept[0], "episodes", kept[0])
            assert not old.attached
            assert old.step_count == 0
            for use in (old.around_step().__enter__, lambda old=old: old.load_state_dict(old.state_dict())):
                with pytest.raises(RuntimeError, match="detached, or replaced by a later one"):
                    use()
    # One step under the later scheduler is one step under it alone.
    if kind == "bandits, then default":
        assert same(alone.parameters(), twice.parameters())


def test_a_cell_run_five_times_leaves_one_scheduler_and_no_trace():
    problem, plain = Problem(), Problem()
    optimizer = sgd(problem)
    rates = []
    optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    for _ in range(5):
        with pytest.warns(UserWarning, match="takes its place") if rates else _nothing():
            episodes = EpisodicScheduler(optimizer, LearningRate([0.5]), episode_length=2)
        assert train(problem, optimizer, 3, episodes) == [[0.1]] * 3
    inside = []
    handle = optimizer.register_step_pre_hook(lambda *_: inside.append(optimizer.param_groups[0]["lr"]))
    train(problem, optimizer, 2, episodes)
    assert inside == [0.05] * 2
    handle.remove()
    episodes.detach()
    bare = sgd(plain)
    plain.model.load_state_dict(problem.model.state_dict())
    train(problem, optimizer, 3)
    train(plain, bare, 3)
    assert same(problem.parameters(), plain.parameters())


class _nothing:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize("axes", [(), (LearningRate([0.5]),)], ids=["alignment", "bandits"])
def test_a_scheduler_that_nobody_holds_is_replaced_too(axes):
    problem = Problem()
    optimizer = sgd(problem)
    inside = []
    EpisodicScheduler(optimizer, *axes, criterion=problem.model)
    gc.collect()
    with pytest.warns(UserWarning, match="changes lr of this SGD: it is detached") as said:
        held = EpisodicScheduler(optimizer, *axes)
    assert said[0].filename == __file__
    assert not problem.model._forward_hooks
    optimizer.register_step_pre_hook(lambda *_: inside.append(optimizer.param_groups[0]["lr"]))
    train(problem, optimizer, 1, held)
    assert inside == [0.1 * held.current.values[0]]  # multiplied once


def test_where_warnings_are_errors_the_earlier_scheduler_stays():
    problem = Problem()
    optimizer = sgd(problem)
    first = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=2)
    with pytest.raises(UserWarning, match="changes lr of this SGD"):
        EpisodicScheduler(optimizer)
    assert first.attached
    assert train(problem, optimizer, 4, first) == [[0.1]] * 4
    assert first.step_count == 4


def test_a_wrong_later_scheduler_does_not_cost_the_earlier_one():
    optimizer = sgd(Problem())
    first = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]))
    with pytest.raises(ValueError, match="episode_length"):
        EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=0)
    assert first.attached


@pytest.mark.parametrize("order", [1, -1])
def test_different_axes_act_together_and_are_undone_in_reverse(order):
    problem = Problem()
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=0.1, weight_decay=0.1)
    before = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    builders = [
        lambda: EpisodicScheduler(optimizer, LearningRate([0.5]), episode_length=2),
        lambda: EpisodicScheduler(optimizer, WeightDecay([3.0]), Momentum([2.0]), episode_length=3),
        # Two custom axes set the same rate under names that do not tell: only the order can put it back.
        lambda: EpisodicScheduler(
            optimizer, CustomAxis("a", [0.3], *set_rate(optimizer), whole_episode=False), episode_length=1
        ),
        lambda: EpisodicScheduler(
            optimizer, CustomAxis("b", [0.7], *set_rate(optimizer), whole_episode=False), episode_length=2
        ),
    ][::order]
    schedulers = [build() for build in builders]
    inside = []
    optimizer.register_step_pre_hook(lambda *_: inside.append(dict(optimizer.param_groups[0])))
    for step in range(6):
        optimizer.zero_grad()
        loss = problem.loss(step)
        loss.backward()
        for scheduler in schedulers:
            scheduler.observe(loss)
        optimizer.step()
        assert {key: value for key, value in optimizer.param_groups[0].items() if key != "params"} == before
    assert {group["lr"] for group in inside} == {0.7 if order == 1 else 0.15}
    assert [group["weight_decay"] for group in inside] == pytest.approx([0.3] * 6)
    assert [scheduler.step_count for scheduler in schedulers] == [6] * 4


def test_a_whole_episode_under_a_step_is_left_at_its_own_value():
    # The episode of `held` ends in the very step in which `rate` is in force.
    for order in (1, -1):
        problem = Problem()
        optimizer = sgd(problem)
        builders = [
            lambda o=optimizer: EpisodicScheduler(
                o, CustomAxis("held", [0.3], *set_rate(o)), episode_length=2
            ),
            lambda o=optimizer: EpisodicScheduler(o, LearningRate([0.5]), episode_length=3),
        ][::order]
        schedulers = [build() for build in builders]
        for step in range(6):
            assert optimizer.param_groups[0]["lr"] == 0.3
            problem.loss(step).backward()
            for scheduler in schedulers:
                scheduler.observe(1.0)
            optimizer.step()
        for scheduler in schedulers:
            scheduler.detach()
        assert optimizer.param_groups[0]["lr"] == 0.1


def test_one_scheduler_that_cannot_judge_does_not_cost_the_others_the_step():
    problem = Problem()
    optimizer = sgd(problem)
    strict = EpisodicScheduler(optimizer, LearningRate([0.5]), episode_length=1, non_finite="ignore")
    other = EpisodicScheduler(optimizer, GradientNoise([0.0, 0.1]), episode_length=1)
    problem.loss(0).backward()
    strict.observe(-5.0)  # no logarithm
    other.observe(1.0)
    with pytest.raises(ValueError, match="loss: must stay positive"):
        optimizer.step()
    assert other.step_count == 1
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_loss_that_is_missing_for_one_leaves_the_other_unapplied():
    problem = Problem()
    optimizer = sgd(problem)
    first = EpisodicScheduler(optimizer, LearningRate([0.5]))
    EpisodicScheduler(optimizer, GradientNoise([0.0, 0.1]))
    problem.loss(0).backward()
    first.observe(1.0)
    with pytest.raises(RuntimeError, match="no loss was observed"):
        optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert first.step_count == 0


def test_two_axes_on_one_key_in_one_scheduler_are_refused():
    with pytest.raises(ValueError, match="'lr' and 'rate' both change 'lr'; drop one"):
        EpisodicScheduler(sgd(Problem()), LearningRate([0.5]), Rate([0.5]))


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o)), copy.copy])
def test_a_copied_or_pickled_optimizer_is_bare_and_may_be_attached_to(travel):
    problem = Problem()
    optimizer = sgd(problem)
    first = EpisodicScheduler(optimizer, LearningRate([0.5]))
    train(problem, optimizer, 2, first)
    other = travel(optimizer)
    second = EpisodicScheduler(other, LearningRate([0.5]))  # no warning: nothing is attached there
    assert first.attached
    assert second.attached
    parameter = other.param_groups[0]["params"][0]
    parameter.grad = torch.ones_like(parameter)
    before = parameter.detach().clone()
    second.observe(1.0)
    other.step()
    assert torch.allclose(parameter, before - 0.05)
    assert (first.step_count, second.step_count) == (2, 1)


def test_a_front_that_nobody_holds_is_forgotten():
    optimizer = sgd(Problem())
    AEES(optimizer, lr_candidates=(0.5, 2.0), seed=0)
    AEES(optimizer, noise_candidates=(0.0, 0.1), seed=0)
    front = AEES(optimizer, lr_candidates=(0.5, 2.0), seed=0)
    AEES(optimizer, noise_candidates=(0.0, 0.1), seed=0)  # its rate is constant: nothing in common
    assert front.episodes.attached
