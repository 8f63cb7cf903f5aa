"""Bad values: every constructor of the episodes refuses them at once, in one line that says what to do."""

import copy
import math

import numpy as np
import pytest
import torch

from hypernudge import AEES
from hypernudge.episodes import (
    Alignment,
    BanditController,
    BucketedUCB,
    CustomAxis,
    DiscountedUCB,
    EmaLogReward,
    EpisodicScheduler,
    Exp3,
    GradientNoise,
    LearningRate,
    Momentum,
    StandardisedReward,
    ThompsonSampling,
    TrendContext,
    UniformBandit,
    WeightDecay,
)
from hypernudge.episodes.checks import number
from hypernudge.episodes.noise.noise import StreamedNoise
from hypernudge.episodes.pulseopt.noise import KeyedNoise
from tests.episodes.helpers import Problem, sgd, train

NUMBERS = (math.nan, "x", "0.5", True, None, [1.0], 1j, torch.tensor(1.0))
INFINITE = (math.inf, -math.inf)
WHOLE = (1.5, True, math.nan, math.inf, "3", None, [3])
SEEDS = ("x", -1, True, 1.5, math.nan, 1 << 64, [0])
FLAGS = (1, 0.0, "no", [True])
LISTS = (
    (),
    0.5,
    "abc",
    {0.5: 1},
    {0.5, 1.0},
    None,
    iter([0.5]),
    torch.ones(2),
    np.ones((2, 2)),
    [math.nan, 1.0],
    [math.inf],
    ["0.5"],
    [True, 2.0],
    [None],
    [[0.5]],
)


def optimizer():
    return torch.optim.SGD(Problem().model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)


def scheduler(**options):
    return EpisodicScheduler(optimizer(), LearningRate([0.5, 2.0]), **options)


def nothing(*_):
    return None


# What is built, from one argument; the name its messages use, where that differs; the values it refuses.
TABLE = [
    (lambda v: LearningRate(v), "lr_candidates", (*LISTS, [0.0], [-1.0])),
    (lambda v: GradientNoise(v), "noise_candidates", (*LISTS, [-1.0])),
    (lambda v: WeightDecay(v), "weight_decay candidates", (*LISTS, [-1.0])),
    (lambda v: Momentum(v), "momentum candidates", (*LISTS, [0.0])),
    (lambda v: CustomAxis("a", v, nothing, nothing), "candidates of axis 'a'", LISTS),
    (lambda v: CustomAxis(v, [1.0], nothing, nothing), "name", ("", 3, None, ["a"])),
    (lambda v: CustomAxis("a", [1.0], v, nothing), "apply of axis 'a'", (None, 3)),
    (lambda v: CustomAxis("a", [1.0], nothing, v), "undo of axis 'a'", (None, "f")),
    (lambda v: CustomAxis("a", [1.0], nothing, nothing, whole_episode=v), "whole_episode", (*FLAGS, None)),
    (lambda v: scheduler(episode_length=v), "episode_length", (*WHOLE, 0, -3)),
    (lambda v: scheduler(seed=v), "seed", SEEDS),
    (lambda v: scheduler(non_finite=v), "non_finite", ("x", None, 3, "Ignore")),
    (lambda v: scheduler(conditional=v), "conditional", (*FLAGS, None)),
    (lambda v: scheduler(update_norm=v), "update_norm", (*FLAGS, None)),
    (lambda v: scheduler(deferred_reads=v), "deferred_reads", FLAGS),
    (lambda v: scheduler(attach=v), "attach", (*FLAGS, None)),
    (lambda v: scheduler(bandit=v), "bandit", (3, "ucb", DiscountedUCB(2, seed=0))),
    (lambda v: scheduler(reward=v), "reward", (EmaLogReward, "ema", 3)),
    (lambda v: scheduler(context=v), "context", (TrendContext, "trend", 3)),
    (lambda v: scheduler(criterion=v), "criterion", (torch.nn.CrossEntropyLoss, nothing, "mse")),
    (lambda v: scheduler(noise_source=v), "noise_source", (StreamedNoise, 3)),
    (lambda v: EpisodicScheduler(optimizer(), controller=v), "controller", (Alignment, "alignment", 3)),
    (
        lambda v: EpisodicScheduler(optimizer(), v),
        "axes",
        ("lr", LearningRate, [LearningRate([0.5])], 3, None, 0.5, DiscountedUCB(2, seed=0)),
    ),
    (lambda v: EpisodicScheduler(optimizer(), LearningRate([0.5]), "noise"), "axes", (0,)),
    (lambda v: scheduler(**v), "EpisodicScheduler", ({"episode_lenght": 5}, {"lr_candidates": [1]})),
    (
        lambda v: scheduler(non_finite="worst", reward=EmaLogReward(clip_min=v)),
        "the worst reward",
        (-math.inf,),
    ),
    *(
        (lambda v, cls=cls: cls(v), "n_arms", (*WHOLE, 0, -1))
        for cls in (DiscountedUCB, ThompsonSampling, Exp3, UniformBandit)
    ),
    *(
        (lambda v, cls=cls: cls(2, seed=v), "seed", SEEDS)
        for cls in (DiscountedUCB, ThompsonSampling, Exp3, UniformBandit)
    ),
    (lambda v: BucketedUCB(v, buckets=("a",)), "n_arms", (*WHOLE, 0)),
    (lambda v: BucketedUCB(2, buckets=("a",), seed=v), "seed", SEEDS),
    (lambda v: BucketedUCB(2, buckets=v), "buckets", ((), "abc", (1, 2), ("a", "a"))),
    (lambda v: BucketedUCB(2, buckets=("a",), discount=v), "discount", (*NUMBERS, 0.0, 1.5)),
    (lambda v: DiscountedUCB(2, exploration=v), "exploration", (*NUMBERS, *INFINITE, -1.0)),
    (lambda v: DiscountedUCB(2, discount=v), "discount", (*NUMBERS, *INFINITE, 0.0, 1.5)),
    (lambda v: DiscountedUCB(2, warmup_rounds=v), "warmup_rounds", (*WHOLE, -1)),
    (lambda v: ThompsonSampling(2, discount=v), "discount", (*NUMBERS, 0.0, 1.5)),
    (lambda v: ThompsonSampling(2, prior_count=v), "prior_count", (*NUMBERS, *INFINITE, 0.0)),
    (lambda v: ThompsonSampling(2, prior_std=v), "prior_std", (*NUMBERS, *INFINITE, 0.0)),
    (lambda v: Exp3(2, mix=v), "mix", (*NUMBERS, 0.0, 2.0)),
    (lambda v: Exp3(2, rate=v), "rate", (*NUMBERS, *INFINITE, 0.0)),
    (lambda v: Exp3(2, share=v), "share", (*NUMBERS, *INFINITE, -0.1)),
    (lambda v: Exp3(2, low=v), "low", (*NUMBERS, *INFINITE, 1.0)),
    (lambda v: Exp3(2, high=v), "high", (*NUMBERS, *INFINITE)),
    (lambda v: EmaLogReward(epsilon=v), "epsilon", (*NUMBERS, *INFINITE, 0.0)),
    (lambda v: EmaLogReward(instability_weight=v), "instability_weight", (*NUMBERS, *INFINITE, -1.0)),
    (lambda v: EmaLogReward(clip_min=v), "clip_min", (*NUMBERS, 2.0)),
    (lambda v: EmaLogReward(clip_max=v), "clip_m", (*NUMBERS, -2.0)),
    (lambda v: EmaLogReward(smoothing=v), "smoothing", (*NUMBERS, 0.0, 1.1)),
    (lambda v: StandardisedReward(v), "inner", (EmaLogReward, "ema", None)),
    (lambda v: StandardisedReward(EmaLogReward(), memory=v), "memory", (*NUMBERS, math.inf, 1.0)),
    (lambda v: StandardisedReward(EmaLogReward(), clip=v), "clip", (*NUMBERS, *INFINITE, 0.0)),
    (lambda v: TrendContext(window=v), "window", (*WHOLE, 0)),
    (lambda v: TrendContext(epsilon=v), "epsilon", (*NUMBERS, *INFINITE, -1.0)),
    (lambda v: StreamedNoise(v), "seed", (*SEEDS, None)),
    (lambda v: StreamedNoise(0, chunk=v), "chunk", (1.5, True, 0)),
    (lambda v: KeyedNoise(v), "seed", SEEDS),
    *(
        (lambda v, key=key: Alignment(**{key: v}), key, (*NUMBERS, *INFINITE, -1.0))
        for key in ("initial_multiplier", "up", "down", "z_up", "z_down", "low", "high")
    ),
    *(
        (lambda v, key=key: Alignment(**{key: v}), key, ("x", math.nan, True, 0.0, math.inf))
        for key in ("z_recover", "z_above_base")
    ),
    (lambda v: Alignment(z_warmup=v), "z_warmup", (*NUMBERS, *INFINITE)),
    (lambda v: Alignment(z_at_base=v), "z_at_base", (3.0, "ab", (1.0,), (1.0, 0.0), (1.0, math.nan))),
    *(
        (lambda v, key=key: Alignment(**{key: v}), key, (*WHOLE, -1))
        for key in (
            "samples",
            "warmup_samples",
            "base_samples",
            "min_samples",
            "every",
            "look_every",
            "lag",
            "coordinates",
        )
    ),
    (lambda v: Alignment(seed=v), "seed", (*SEEDS, None)),
    *(
        (lambda v, key=key: AEES(optimizer(), **{key: v}), key, (*values,))
        for key, values in {
            "lr_candidates": (*LISTS, [0.0]),
            "noise_candidates": (*LISTS, [-0.1]),
            "episode_length": (*WHOLE, 0),
            "lr_scheduler": (torch.optim.lr_scheduler.StepLR, "cosine", 3),
            "control_mode": ("x", None, 1),
            "structured_control_mode": ("x", None, 1),
            "context_mode": ("x", None, 1),
            "context_trend_window": (*WHOLE, 0),
            "context_trend_epsilon": (*NUMBERS, *INFINITE, -1.0),
            "reward_instability_lambda": (*NUMBERS, *INFINITE, -1.0),
            "reward_epsilon": (*NUMBERS, *INFINITE, 0.0),
            "reward_clip_min": (*NUMBERS, 2.0),
            "ema_alpha": (*NUMBERS, *INFINITE, 0.0),
            "seed": SEEDS,
            "compat": ("x", True, 3),
            "non_finite": ("x", None),
            "update_norm": FLAGS,
            "deferred_reads": FLAGS,
        }.items()
    ),
    (lambda v: AEES(optimizer(), reward_clip_max=v), "reward_clip_m", (*NUMBERS, -2.0)),
    (lambda v: scheduler().observe(v), "loss", ("1.0", None, True, [1.0], torch.ones(2))),
]
CASES = [(build, name, value) for build, name, values in TABLE for value in values]


def test_the_table_is_large():
    assert len(CASES) > 600


@pytest.mark.parametrize("part", range(4))
def test_bad_values_are_refused_in_one_line_with_a_remedy(part):
    for build, name, value in CASES[part::4]:
        where = f"{name}={value!r}"
        try:
            build(value)
        except ValueError as error:
            message = str(error)
        else:
            pytest.fail(f"accepted: {where}")
        assert message.startswith(name), f"{where}: {message}"
        assert "\n" not in message, where
        assert len(message) < 400, where
        assert ";" in message, f"no remedy: {where}: {message}"


@pytest.mark.parametrize(
    "value",
    [None, "adam", torch.optim.SGD, 3, object(), torch.nn.Linear(1, 1), [torch.ones(1)]],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("front", [EpisodicScheduler, AEES])
def test_what_is_no_optimizer_is_refused(front, value):
    with pytest.raises(TypeError, match=r"^optimizer: must be .*; pass the optimizer that updates") as e:
        front(value)
    assert "\n" not in str(e.value)


def test_good_values_of_other_kinds_are_taken():
    assert LearningRate(np.array([0.5, 2.0])).candidates == (0.5, 2.0)
    assert LearningRate(range(1, 3)).candidates == (1.0, 2.0)
    assert LearningRate((np.float32(0.5), np.int64(2))).candidates == (0.5, 2.0)
    own = scheduler(episode_length=np.int64(3), seed=np.int32(7))
    assert (own.seed, own.controller.capacity) == (7, 3)
    assert type(own.seed) is type(own.controller.capacity) is int
    assert EmaLogReward(clip_min=-math.inf, clip_max=math.inf)([1.0, 0.5]).value > 0
    settings = EmaLogReward(epsilon=np.float64(0.5)).fingerprint()
    assert type(settings["epsilon"]) is float  # NumPy's would not load with weights_only
    assert isinstance(BanditController([LearningRate([1.0])], ((),), reward=EmaLogReward()), BanditController)


# ---------------------------------------------------------------- the optimizer's own rate


def test_an_optimizer_that_finds_its_own_rate_is_refused_at_construction():
    parameters = list(Problem().model.parameters())
    own = torch.optim.SGD(parameters, lr=0.1)
    own.param_groups[0]["lr"] = None
    builders = (
        lambda: EpisodicScheduler(own),
        lambda: EpisodicScheduler(own, LearningRate([0.5, 2.0])),
        lambda: AEES(own, lr_candidates=(0.5, 2.0)),
    )
    for build in builders:
        with pytest.raises(ValueError, match=r"SGD: must have a number as 'lr'.*got None; set a rate"):
            build()
    for bad in ("0.1", math.nan, torch.ones(2)):
        own.param_groups[0]["lr"] = bad
        with pytest.raises(ValueError, match="must have a number as 'lr' in parameter group 0"):
            EpisodicScheduler(own)
    own.param_groups[0]["lr"] = None
    AEES(own, noise_candidates=(0.0, 0.1))  # leaves the rate alone
    EpisodicScheduler(own, GradientNoise([0.1]))


@pytest.mark.slow
def test_adafactor_of_transformers():
    transformers = pytest.importorskip("transformers", reason="the extra `trainers` is not installed")
    problem = Problem()
    with pytest.raises(ValueError, match=r"Adafactor: must have a number as 'lr'.*relative_step=False"):
        EpisodicScheduler(transformers.Adafactor(problem.model.parameters(), lr=None))
    own = transformers.Adafactor(
        problem.model.parameters(), lr=1e-3, relative_step=False, scale_parameter=False
    )
    episodes = EpisodicScheduler(own, LearningRate([0.5, 2.0]), episode_length=2, seed=0)
    assert train(problem, own, 4, episodes) == [[1e-3]] * 4
    with pytest.raises(ValueError, match="neither betas nor a momentum"):
        EpisodicScheduler(own, Momentum([0.5, 2.0]))


def test_adafactor_of_torch():
    problem = Problem()
    own = torch.optim.Adafactor(problem.model.parameters(), lr=1e-2)
    episodes = EpisodicScheduler(own, LearningRate([0.5, 2.0]), episode_length=2, seed=0)
    assert train(problem, own, 4, episodes) == [[1e-2]] * 4


@pytest.mark.parametrize("rate", [0, 0.0, 1, torch.tensor(0.0), torch.tensor([0.1])], ids=str)
def test_a_rate_of_zero_or_in_a_tensor_is_steered(rate):
    problem = Problem()
    own = torch.optim.SGD(problem.model.parameters(), lr=0.1)
    own.param_groups[0]["lr"] = rate
    before = copy.deepcopy(rate)
    episodes = EpisodicScheduler(own, LearningRate([0.5, 2.0]), episode_length=2, seed=0)
    for _ in range(3):
        train(problem, own, 1, episodes)
        assert own.param_groups[0]["lr"] is rate
        assert rate == before
    own.param_groups[0]["lr"] = 0.1  # the warm-up is over
    assert train(problem, own, 1, episodes) == [[0.1]]


def test_a_group_added_later_without_a_rate_is_named():
    problem = Problem()
    own = sgd(problem)
    episodes = EpisodicScheduler(own, LearningRate([0.5]), episode_length=2)
    own.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    own.param_groups[1]["lr"] = None
    with pytest.raises(ValueError, match="must have a number as 'lr' in every parameter group, but got None"):
        train(problem, own, 1, episodes)
    assert own.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("axis", "key", "value", "message"),
    [
        (WeightDecay([2.0]), "weight_decay", "0.1", "must have a number as 'weight_decay'"),
        (Momentum([2.0]), "momentum", "0.9", "must have a number as 'momentum'"),
        (Momentum([2.0]), "betas", (None, 0.9), r"must have a number as 'betas\[0\]'"),
    ],
)
def test_other_numbers_of_a_group(axis, key, value, message):
    own = optimizer()
    own.param_groups[0][key] = value
    with pytest.raises(ValueError, match=message):
        EpisodicScheduler(own, axis)


def test_candidates_may_repeat_as_in_pulseopt():
    assert LearningRate([1.0, 1]).candidates == (1.0, 1.0)


@pytest.mark.parametrize("kind", [float, np.float32, np.array])
def test_a_number_may_come_in_an_array_without_dimensions(kind):
    model = torch.nn.Linear(2, 1)
    rates = [kind(0.5), kind(2.0)]
    aees = AEES(torch.optim.SGD(model.parameters(), lr=0.1), lr_candidates=rates, episode_length=1, seed=0)
    for step in range(2):
        aees.step_start(step)
        model(torch.ones(3, 2)).square().mean().backward()
        aees.step_end(kind(1.0))
    assert sorted(aees.get_logs()["selected_lr_values"]) == [0.5, 2.0]


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**5000), np.ones(2), np.ones(1), np.array(True), np.array("1")],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=r"^rate: must "):
        number("rate", value)
