"""PPO as a task: stable-baselines3's training, the same loss as a pure function, exact gradients."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="extra rl")
pytest.importorskip("gymnasium", reason="extra rl")

import gymnasium
import torch
from torch import nn

from hypernudge import ASHA, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient import finite_differences, forward, reverse
from hypernudge.hypergradient.objectives import lookahead
from hypernudge.optimizers import SGD
from hypernudge.tasks.games.catalogue import GAMES
from hypernudge.tasks.games.environments import Environments, game_of
from hypernudge.tasks.games.network import initial_policy
from hypernudge.tasks.games.surrogate import advantages_of
from hypernudge.tasks.games.task import PPOTask
from hypernudge.tasks.games.values import PUBLISHED
from hypernudge.tasks.spaces import SPACES
from hypernudge.warmstart.measurement.measure import HyperGradientSpec, hyper_gradients
from tests.tasks.games.tools import config, control, equal, pong, trained

SMOOTH = ("lr", "ent_coef", "vf_coef", "clip_range", "gamma", "gae_lambda")


def test_the_published_setting_is_the_middle_of_the_space():
    middle = SPACES["ppo"].middle()
    assert set(middle) == set(PUBLISHED)
    assert all(middle[name] == pytest.approx(value) for name, value in PUBLISHED.items())


def test_it_is_what_stable_baselines_trains():
    """The same seeds drawn at the same places: then the same bits as `PPO.learn`."""
    from stable_baselines3 import PPO

    from hypernudge.random import integer
    from hypernudge.tasks.module.seeded import seeded

    task = control(unit_steps=384)
    hp = config(task)
    games = task._plan.environments.training(4)
    games.seed(integer(7, "games", bits=30))
    with seeded(integer(7, "initialisation")):
        own = {"n_steps": 32, "batch_size": 32, "n_epochs": 3, "device": "cpu"}
        same = {name: hp[name] for name in (*SMOOTH[1:], "max_grad_norm")}
        model = PPO("MlpPolicy", games, learning_rate=hp["lr"], **own, **same)
    with seeded(integer(7, "unit", 1)):
        model.learn(384)
    found = trained(task, hp, 1)[1][0]
    assert all(torch.equal(value, found[name]) for name, value in model.policy.named_parameters())
    assert len(found) > 0


def test_the_stored_rollout_has_the_advantages_that_training_has():
    task = control("acrobot", length=64, environments=2, unit_steps=128)
    from hypernudge.random import integer
    from hypernudge.tasks.games.training import Training
    from hypernudge.tasks.module.seeded import seeded

    hp = config(task, gamma=0.97, gae_lambda=0.85)
    training = Training(task._plan, hp, 5, 1)
    with seeded(integer(5, "unit", 1)):
        training.collect()
    buffer = training.model.rollout_buffer
    rollout = task._rollout(5, 0)
    found = advantages_of(rollout, 0.97, 0.85)
    order = torch.from_numpy(np.argsort(_order(task, 5)))  # games one after the other, again
    expected = torch.from_numpy(buffer.advantages.T.reshape(-1))
    assert torch.allclose(found[order], expected, atol=1e-5)
    assert torch.equal(rollout["log_probs"][order], torch.from_numpy(buffer.log_probs.T.reshape(-1)))


def _order(task, seed):
    from hypernudge.random import stream

    return stream(seed, "rollout order", 0).permutation(task._plan.count * task._plan.length)


def test_the_value_after_a_cut_episode_is_discounted_in_the_loss():
    """CartPole within a time limit of 10 steps: every rollout holds episodes that were cut."""
    from hypernudge.random import integer
    from hypernudge.tasks.games.training import Training
    from hypernudge.tasks.module.seeded import seeded

    gymnasium.register("ShortPole-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=10)
    try:
        task = control("ShortPole-v0")
        training = Training(task._plan, config(task), 5, 1)
        with seeded(integer(5, "unit", 1)):
            training.collect()
        order = torch.from_numpy(np.argsort(_order(task, 5)))
        hp = config(task)
        found = advantages_of(task._rollout(5, 0), hp["gamma"], hp["gae_lambda"])[order]
        expected = torch.from_numpy(training.model.rollout_buffer.advantages.T.reshape(-1))
        assert torch.allclose(found, expected, atol=1e-5)
        assert int(task._rollout(5, 0)["counts"].sum(1).max()) == 10
    finally:
        gymnasium.registry.pop("ShortPole-v0")


def test_the_loss_is_that_of_stable_baselines():
    task = control()
    hp, seed = config(task), 3
    params, batch = task.init(seed), task.batch(seed, 0)
    policy = initial_policy(*task._spaces, seed)
    with torch.no_grad():
        moved = {name: value + 0.05 * torch.randn_like(value) for name, value in params.items()}
        for name, value in policy.named_parameters():
            value.copy_(moved[name])
        values, log_prob, entropy = policy.evaluate_actions(batch["observations"], batch["actions"])
        advantages = advantages_of(batch, hp["gamma"], hp["gae_lambda"])
        returns = advantages + batch["values"][:, 0]
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        ratio = torch.exp(log_prob - batch["log_probs"])
        clipped = torch.clamp(ratio, 1 - hp["clip_range"], 1 + hp["clip_range"])
        loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        loss = loss - hp["ent_coef"] * entropy.mean()
        loss = loss + hp["vf_coef"] * nn.functional.mse_loss(returns, values.flatten())
        assert float(task.loss(moved, batch, hp)) == pytest.approx(float(loss), rel=1e-5)


class Doubled(PPOTask):
    """The same in float64, for differences."""

    def init(self, seed):
        return {name: value.double() for name, value in super().init(seed).items()}

    def batch(self, seed, step):
        found = super().batch(seed, step)
        return {n: v.double() if v.is_floating_point() else v for n, v in found.items()}

    @property
    def _network(self):
        return super()._network.double()


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # by PyTorch's forward mode itself
@pytest.mark.parametrize("game", ["cartpole", "acrobot"])
def test_hyper_gradients_are_exact(game):
    """Reverse, forward and differences agree for every hyper-parameter, discount and lambda included."""
    small = {"environments": 4, "length": 32, "unit_steps": 128, "schedule": "constant"}
    task = Doubled(game, space="ppo_control", **small)
    task.optimizer = SGD()  # of Adam's first direction, nearly a sign, differences say little
    hp = config(task, lr=0.5, clip_range=0.05)
    params = {name: value.detach() for name, value in task.init(3).items()}
    objective = lookahead(task, params, (task.batch(3, 0), task.batch(3, 1)))
    axes = task.space.continuous
    exact = reverse(objective, hp, axes, torch.float64)
    assert exact == pytest.approx(forward(objective, hp, axes, torch.float64), rel=1e-8, abs=1e-12)
    assert exact == pytest.approx(finite_differences(objective, hp, axes, torch.float64), rel=1e-4, abs=1e-7)
    assert all(exact[name] != 0 for name in SMOOTH)
    assert exact["max_grad_norm"] == 0  # neither the loss nor Adam's direction knows of clipping


def test_trials_are_measured_together_as_alone_and_flagged_only_by_differences():
    task = control()
    configs = [config(task, lr=lr) for lr in (1e-3, 3e-3, 1e-2)]
    spec = HyperGradientSpec("lookahead", 64)
    together = hyper_gradients(task, configs, [1, 2, 3], spec)
    alone = [hyper_gradients(task, [c], [s], spec)[0] for c, s in zip(configs, [1, 2, 3], strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.gradient == pytest.approx(other.gradient, rel=1e-3, abs=1e-6)
        assert not one.fallback and one.flops == other.flops > 0
    differences = replace(spec, estimator="finite_differences")
    assert hyper_gradients(task, configs[:1], [1], differences)[0].fallback


def test_pictures_are_measured_together_as_alone_and_leave_the_network_as_it_was():
    pytest.importorskip("ale_py", reason="extra rl")
    task = pong()
    configs, spec = [config(task), config(task, lr=1e-3)], HyperGradientSpec("lookahead", 8)
    before = {name: value.clone() for name, value in task._network.state_dict().items()}
    together = hyper_gradients(task, configs, [1, 2], spec)
    alone = [hyper_gradients(task, [c], [s], spec)[0] for c, s in zip(configs, [1, 2], strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.gradient == pytest.approx(other.gradient, rel=1e-3)
        assert not one.fallback and abs(one.gradient["lr"]) > 0
    after = task._network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("warm_start", ["literal", "random_step", "curvature_band", "placebo", "informed"])
def test_warm_starts_and_schedulers_run_on_it(warm_start):
    task = control(unit_steps=128)
    study = tune(task, ASHA(task.space, max_units=3), seed=0, max_trials=5, workers=2, warm_start=warm_start)
    assert len(study.history.trials) == 5
    assert study.best() is not None


def test_the_initialisation_is_the_one_that_is_measured():
    from hypernudge.tasks.games.training import Training

    for task in (control(), pong()):
        assert equal([task.init(11)], [Training(task._plan, {}, 11, 1).scored_weights()])


def test_it_is_scored_on_whole_games_of_its_own_seeds():
    task = control(episodes=5)
    state, weights = trained(task, config(task), 1)
    validation, test = (task.evaluate(state, split) for split in ("validation", "test"))
    assert validation != test  # other games
    assert task.score(weights[0], "validation") == validation
    assert control(episodes=5).score(weights[0], "validation") == validation
    low, high = task.metric_range
    assert low <= validation <= high


def test_actions_can_be_drawn_as_in_training():
    task, greedy = control(episodes=64, deterministic=False), control(episodes=64)
    state, weights = trained(task, config(task), 1)
    drawn = task.evaluate(state, "validation")
    assert task.score(weights[0], "validation") == drawn  # the same draws again
    assert greedy.score(weights[0], "validation") != drawn
    assert not hasattr(task, "score_error")  # measured of greedy games alone
    assert task.data_source["deterministic"] is False
    assert "deterministic" not in greedy.data_source
    # A policy that hardly prefers any action plays CartPole like one that draws them evenly, some 22 steps.
    even = task.score({name: 1e-3 * value for name, value in task.init(0).items()}, "test")
    assert 15 < even < 32


def test_a_trial_that_is_dropped_is_gone_at_once():
    """Networks and games of hundreds of trials must not wait for the collector of cycles."""
    task = control()
    state, _ = trained(task, config(task), 1)
    models = weakref.ref(state.training.model), weakref.ref(state.training.games)
    gc.disable()
    try:
        state.training = None
        assert [model() for model in models] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("game", [name for name, game in GAMES.items() if game.atari])
def test_the_atari_games_of_the_catalogue_are_there(game):
    pytest.importorskip("ale_py", reason="extra rl")
    observations, actions = Environments(game_of(game)).spaces()
    assert observations.shape == (4, 84, 84) and actions.n >= 3
    assert game_of("ms_pacman").atari and not game_of("CartPole-v1").atari


def test_a_lost_life_ends_an_episode_for_training_alone():
    pytest.importorskip("ale_py", reason="extra rl")
    ends = {}
    for kind in ("training", "scoring"):
        games = getattr(Environments(game_of("breakout"), frames=200), kind)(1)
        games.seed(3)
        games.reset()
        pressed = [np.array([step % 2]) for step in range(60)]  # FIRE, and never a move: balls are lost
        found = [games.step(action) for action in pressed]
        ends[kind] = [step for step, (_, _, end, _) in enumerate(found) if end[0]]
        cut = [infos[0].get("TimeLimit.truncated", False) for _, _, _, infos in found]
        assert sum(cut) == (1 if kind == "scoring" else 0)
        if any(cut):
            assert found[cut.index(True)][3][0]["terminal_observation"].shape == (4, 84, 84)
        games.close()
    assert len(ends["training"]) > len(ends["scoring"])


def test_cost_grows_with_epochs_and_steps():
    task, larger = control(), control(unit_steps=256)
    few, many = config(task, epochs=4), config(task, epochs=8)
    assert task.unit_flops(many) / task.unit_flops(few) == 25 / 13
    assert larger.unit_flops(few) == 2 * task.unit_flops(few)


def test_a_trial_that_diverges_says_so():
    task = control()
    state = task.start(0)
    assert not task.advance(state, config(task, lr=1e30))


@pytest.mark.slow
@pytest.mark.parametrize(("game", "solved", "units"), [("cartpole", 475.0, 30), ("acrobot", -100.0, 30)])
def test_classic_control_is_solved(game, solved, units):
    task = PPOTask(game, space="ppo_control", length=64, unit_steps=2048, episodes=16, schedule="constant")
    state, hp = task.start(0), task.space.middle()
    for _ in range(units):
        task.advance(state, hp)
        if task.evaluate(state, "validation") >= solved:
            break
    assert task.evaluate(state, "validation") >= solved


BAD = {
    "game": ({"game": "cartpol"}, "game: must be a game"),
    "another version": ({"game": "CartPole-v17"}, "did you mean 'CartPole-v1'"),
    "actions": ({"game": "Pendulum-v1"}, "game: must have at most 256 discrete actions"),
    "unit": ({"unit_steps": 100}, "unit_steps: must be a positive multiple of environments"),
    "name": ({"fixed": {"gama": 0.9}}, "fixed.gama: must be a hyper-parameter of PPO"),
    "value": (
        {"fixed": {"clip_range": -1}, "space": {"lr": {"low": 1e-4, "high": 1e-2}}},
        "fixed.clip_range: must lie in",
    ),
    "minibatches": (
        {"space": {"minibatches": {"choices": [3]}}},
        "space.minibatches: must divide the 128 steps",
    ),
    "half an epoch": ({"space": {"epochs": {"low": 1, "high": 4}}}, "space.epochs: must be whole"),
    "twice": ({"fixed": {"lr": 0.1}}, "fixed: must not name what is tuned"),
    "sticky": ({"sticky": 1}, "sticky: must lie in"),
    "episodes": ({"episodes": 0}, "episodes: must be a whole number"),
    "deterministic": ({"deterministic": "no"}, "deterministic: must be true or false, but got 'no'"),
    "schedule": ({"schedule": "linar"}, "did you mean 'linear'"),
}


class NoDisplay(gymnasium.Env):
    """Opens a window where there is none."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        raise RuntimeError("No available video device\nand more")


def test_a_display_that_is_not_there_is_one_line():
    gymnasium.register("NoDisplay-v0", NoDisplay)
    try:
        with pytest.raises(InvalidArgumentError) as error:
            control("NoDisplay-v0")
        assert "raises RuntimeError: No available video device and more" in str(error.value)
        assert "\n" not in str(error.value)
    finally:
        gymnasium.registry.pop("NoDisplay-v0")


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case):
    options, said = BAD[case]
    small = {"game": "cartpole", "space": "ppo_control", "environments": 4, "length": 32, "unit_steps": 128}
    with pytest.raises(InvalidArgumentError) as error:
        PPOTask(**{**small, **options})
    assert said in str(error.value)
    assert "\n" not in str(error.value)
