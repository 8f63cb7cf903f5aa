"""Interrupted and resumed training equals uninterrupted training, bit for bit."""

import copy
import functools
import io
import random

import pytest
import torch

from hypernudge import AEES
from hypernudge.episodes import (
    TREND_BUCKETS,
    Alignment,
    BucketedUCB,
    DiscountedUCB,
    EmaLogReward,
    EpisodicScheduler,
    Exp3,
    GradientNoise,
    LearningRate,
    StandardisedReward,
    ThompsonSampling,
    TrendContext,
    UniformBandit,
)
from hypernudge.episodes.kinds import FORMER
from hypernudge.episodes.noise.noise import StreamedNoise
from hypernudge.episodes.pulseopt.noise import KeyedNoise
from tests.episodes.helpers import Problem, same, train

MODES = {
    "adaptive": {},
    "random": {"control_mode": "random"},
    "conditional": {"structured_control_mode": "conditional"},
    "trend": {"context_mode": "trend", "context_trend_window": 2},
    "conditional-trend": {"structured_control_mode": "conditional", "context_mode": "trend"},
    "new-defaults": {"compat": None, "context_mode": "trend"},
}
STEPS = 45


class Stack:
    """Everything a training script would save."""

    def __init__(self, options):
        self.problem = Problem()
        self.optimizer = torch.optim.AdamW(self.problem.model.parameters(), lr=0.02)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 30)
        self.aees = AEES(
            self.optimizer,
            lr_candidates=(0.5, 1.0, 2.0),
            noise_candidates=(0.0, 0.01, 0.1),
            episode_length=4,
            lr_scheduler=self.scheduler,
            seed=7,
            update_norm=True,
            **options,
        )

    def parts(self):
        return {
            "model": self.problem.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "aees": self.aees,
        }

    def run(self, start, stop):
        for step in range(start, stop):
            self.aees.step_start(step)
            self.optimizer.zero_grad()
            loss = self.problem.loss(step)
            loss.backward()
            self.aees.step_end(loss)

    def save(self, path):
        torch.save({name: part.state_dict() for name, part in self.parts().items()}, path)

    def load(self, path):
        saved = torch.load(path, weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])


@pytest.mark.parametrize("mode", MODES)
def test_resume_is_bit_exact_at_random_cuts(mode, tmp_path):
    whole = Stack(MODES[mode])
    whole.run(0, STEPS)
    cuts = random.Random(mode).sample(range(1, STEPS), 20)
    assert any(cut % 4 for cut in cuts)
    first, at = Stack(MODES[mode]), 0
    for cut in sorted(cuts):
        first.run(at, cut)
        first.save(tmp_path / "cut.pt")
        at = cut
        second = Stack(MODES[mode])
        second.load(tmp_path / "cut.pt")
        second.run(cut, STEPS)
        assert same(whole.problem.parameters(), second.problem.parameters()), cut
        assert whole.aees.get_logs() == second.aees.get_logs(), cut


@pytest.mark.parametrize("deferred", [False, True])
def test_hook_based_resume_also_between_micro_batches(deferred, tmp_path):
    def build():
        problem = Problem()
        optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.1, momentum=0.9)
        episodes = EpisodicScheduler(
            optimizer,
            LearningRate([0.5, 2.0]),
            GradientNoise([0.0, 0.1]),
            bandit=ThompsonSampling,
            context=TrendContext(),
            conditional=True,
            episode_length=3,
            seed=5,
            deferred_reads=deferred,
        )
        return problem, optimizer, episodes

    def run(stack, start, stop):
        problem, optimizer, episodes = stack
        for micro in range(start, stop):
            loss = problem.loss(micro) / 2
            loss.backward()
            episodes.observe(loss)
            if micro % 2:
                optimizer.step()
                optimizer.zero_grad()

    whole = build()
    run(whole, 0, 60)
    for cut in (1, 2, 7, 12, 25, 41):
        first = build()
        run(first, 0, cut)
        path = tmp_path / "cut.pt"
        gradients = [p.grad for p in first[0].model.parameters()]
        torch.save([first[0].model.state_dict(), first[1].state_dict(), first[2].state_dict()], path)
        second = build()
        saved = torch.load(path, weights_only=True)
        for part, state in zip((second[0].model, *second[1:]), saved, strict=True):
            part.load_state_dict(state)
        for parameter, gradient in zip(second[0].model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        run(second, cut, 60)
        assert same(whole[0].parameters(), second[0].parameters())
        assert whole[2].records == second[2].records


def test_the_optimizer_s_own_checkpoint_holds_the_base_rate():
    stack = Stack({})
    stack.run(0, 6)
    assert stack.optimizer.state_dict()["param_groups"][0]["lr"] == stack.scheduler.get_last_lr()[0]


def test_a_checkpoint_of_other_settings_is_refused_by_name_and_changes_nothing():
    optimizer = torch.optim.SGD(Problem().model.parameters(), lr=0.1)
    saved = AEES(optimizer, lr_candidates=(0.5, 2.0), seed=0).state_dict()
    other = AEES(optimizer, lr_candidates=(0.5, 3.0), episode_length=7, seed=0)
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"controller\.axes: saved .*controller\.episode_length"):
        other.load_state_dict(saved)
    assert other.state_dict() == before
    with pytest.raises(ValueError, match="must come from state_dict"):
        other.load_state_dict({})
    other.episodes.detach()
    aligned = EpisodicScheduler(optimizer, controller=Alignment())
    with pytest.raises(ValueError, match="saved under other settings"):
        aligned.load_state_dict(saved)


def test_logs_can_be_left_out():
    stack = Stack({})
    stack.run(0, 9)
    assert len(stack.aees.episodes.state_dict()["records"]) == 2
    assert stack.aees.episodes.state_dict(logs=False)["records"] == []


def trained(**options):
    """Return a scheduler in the middle of an episode, with noise drawn and a context."""
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.1)
    options = {
        "bandit": functools.partial(BucketedUCB, buckets=TREND_BUCKETS),
        "context": TrendContext(),
        "episode_length": 3,
        "seed": 5,
        "update_norm": True,
        **options,
    }
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), GradientNoise([0.0, 0.1]), **options)
    train(problem, optimizer, 8, episodes)
    return episodes


def aligned():
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.1)
    episodes = EpisodicScheduler(optimizer)
    train(problem, optimizer, 8, episodes)
    return episodes


def with_class_names(state):
    """Return a state as it was written before bandits and noise sources had kinds."""
    names = {kind: name for name, kind in FORMER.items()}
    controller = dict(state["settings"]["controller"])
    controller["bandits"] = [[names[kind] for kind in slot] for slot in controller["bandits"]]
    settings = {"controller": controller, "noise": names[state["settings"]["noise"]]}
    return {**state, "settings": settings}


@pytest.mark.parametrize("bandit", ["contexts", DiscountedUCB, ThompsonSampling, Exp3, UniformBandit])
def test_checkpoints_that_name_classes_still_load(bandit):
    def build():
        return trained() if bandit == "contexts" else trained(bandit=bandit, context=None)

    now = build().state_dict()
    former = with_class_names(now)
    cls = BucketedUCB if bandit == "contexts" else bandit
    assert former["settings"]["controller"]["bandits"] == [[cls.__name__], [cls.__name__]]
    assert former["settings"]["noise"] == "StreamedNoise"
    target = build()
    target.finalize()
    target.load_state_dict(former)
    assert written(target.state_dict()) == written(now)


def test_a_checkpoint_of_pulseopt_s_front_that_names_classes_still_loads():
    whole, second = Stack({}), Stack({})
    whole.run(0, 9)
    second.aees.load_state_dict(with_class_names(whole.aees.state_dict()))
    assert second.aees.get_logs() == whole.aees.get_logs()


def test_a_user_s_own_bandit_goes_by_its_class_and_another_is_refused():
    class Mine(DiscountedUCB):
        pass

    saved = trained(bandit=Mine, context=None).state_dict()
    assert saved["settings"]["controller"]["bandits"] == [["Mine"], ["Mine"]]
    trained(bandit=Mine, context=None).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"controller\.bandits: saved .*Mine.*here .*discounted_ucb"):
        trained(bandit=DiscountedUCB, context=None).load_state_dict(saved)


BUILDERS = {
    "contexts": trained,
    "thompson": lambda: trained(bandit=ThompsonSampling, context=None),
    "deferred": lambda: trained(deferred_reads=True),
    "alignment": aligned,
}


def places(state, path=()):
    """Yield the path of every dict entry in a nested state."""
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    for key, value in items:
        if isinstance(state, dict):
            yield (*path, key)
        if len(path) < 4:
            yield from places(value, (*path, key))


def at(state, path):
    for key in path:
        state = state[key]
    return state


def written(state):
    """Return a state as bytes, so that tensors and NaN compare too."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_damaged_state_is_refused_in_one_line_and_changes_nothing(kind):
    good = BUILDERS[kind]().state_dict()
    target = BUILDERS[kind]()
    target.finalize()  # somewhere else than what is loaded
    before = written(target.state_dict())
    # Settings are compared as a whole; a name, a bucket and a stream are any string, so "x" may be one.
    paths = [path for path in places(good) if path[0] != "settings"]
    assert len(paths) > 30
    damages = {
        "missing": lambda part, key: part.pop(key),
        "unknown": lambda part, key: part.__setitem__("surplus", 1),
        "a string": lambda part, key: part.__setitem__(key, "x"),
        "a list of strings": lambda part, key: part.__setitem__(key, ["x"]),
    }
    for path in paths:
        for name, damage in damages.items():
            if name in ("missing", "unknown") and path[-2:-1] == ("streams",):
                continue  # a stream is made when it is first needed: there may be any
            if name == "a string" and path[-1] in ("name", "bucket"):
                continue
            bad = copy.deepcopy(good)
            damage(at(bad, path[:-1]), path[-1])
            with pytest.raises(ValueError, match="state") as raised:
                target.load_state_dict(bad)
            assert "\n" not in str(raised.value), (path, name)
            assert written(target.state_dict()) == before, (path, name)
    target.load_state_dict(good)
    assert written(target.state_dict()) == written(good)


@pytest.mark.parametrize("bad", [None, 3, "state", [], {"format": True}, {"format": 2}], ids=str)
def test_what_is_no_state_is_refused(bad):
    with pytest.raises(ValueError, match="must come from state_dict") as raised:
        trained().load_state_dict(bad)
    assert "\n" not in str(raised.value)


def test_a_key_that_lacks_or_is_unknown_is_named():
    good = trained().state_dict()
    for key in good.keys() - {"format"}:
        with pytest.raises(ValueError, match=rf"state: lacks \['{key}'\]; load what"):
            trained().load_state_dict({name: part for name, part in good.items() if name != key})
    with pytest.raises(ValueError, match=r"state: has unknown \['extra'\]; load what"):
        trained().load_state_dict({**good, "extra": 1})


@pytest.mark.parametrize(
    "part",
    [
        DiscountedUCB(3, seed=0),
        ThompsonSampling(3, seed=0),
        BucketedUCB(3, buckets=("a",), seed=0),
        StandardisedReward(EmaLogReward()),
        EmaLogReward(),
        Alignment(),
        StreamedNoise(0),
        KeyedNoise(0),
    ],
    ids=lambda part: type(part).__name__,
)
def test_every_part_refuses_a_damaged_state_and_keeps_its_own(part):
    good = part.state_dict()
    for bad in (None, {"surplus": 1}, *({k: v for k, v in good.items() if k != key} for key in good)):
        with pytest.raises(ValueError, match=r"^state of "):
            part.load_state_dict(bad)
        assert written(part.state_dict()) == written(good)
