"""What `informed` is made of: features, prior, guards, learning; and its rivals."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata

from hypernudge import ASHA, Categorical, Integer, RandomSearch, Real, SearchSpace, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.optimizers import SGD, AdamW
from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement import ranks, rates
from hypernudge.warmstart.measurement.features import KNOTS, NAMES, SIZE, features, hats
from hypernudge.warmstart.measurement.probe import (
    MAX_SHIFT,
    MEDIAN_SCALE,
    PROBE,
    SHRINKAGE,
    Probe,
    shrunk_scale,
)
from hypernudge.warmstart.measurement.ranks import (
    normal_scores,
    scores_within_milestones,
    share_of_noise,
)
from hypernudge.warmstart.policies.informed import FIRST_EDITION, USUAL_UNITS, Informed
from hypernudge.warmstart.policies.learning_rate_tpe import LearningRateTPE, log_density

FIRST = Informed(**FIRST_EDITION)


def first_results(history):
    """What `Tried` keeps: `(trial, milestone, score)` of every trial's first result, in order of arrival."""
    first = {t.number: min(t.milestones) for t in history.trials if t.milestones}
    found = [
        (arrival, trial, milestone, -negated)
        for milestone in sorted(set(first.values()))
        for negated, arrival, trial in history.ranked(milestone)
        if first[trial] == milestone
    ]
    return [(trial, milestone, score) for _, trial, milestone, score in sorted(found)]


def with_results(task, scores, milestone=1, policy=None, seed=0):
    """A history of trials whose first result is `scores(config)`."""
    history, streams = History(27), Streams(seed)
    for number in range(60):
        sampled = task.space.sample(streams("config", number))
        nudge = Nudge(sampled, "none") if policy is None else policy(task, sampled, history, streams)
        history.append(Started(number, sampled, nudge, 0.0))
        job = Job(number, nudge.config, 0, milestone)
        history.append(job)
        score = scores(nudge.config)
        units = (UnitResult(milestone, float(number), score, score),)
        history.append(Report(job, "ok" if math.isfinite(score) else "diverged", 0.0, 1.0, units, 1.0))
    return history


def test_hats_sum_to_one_and_stand_on_their_knots():
    for knots in KNOTS.values():
        assert np.allclose(hats(np.array(knots), knots), np.eye(len(knots)))
        inside = hats(np.linspace(-9, 9, 50), knots)
        assert np.allclose(inside.sum(1), 1.0) and (inside >= 0).all()


def test_features_see_rates_from_the_probe_and_decay_over_the_training(bowl):
    config = bowl.space.decode([0.5] * 5)
    row = features(bowl, [config], scale=rates.log_rate(bowl, config) - 0.5, steps=100.0)[0]
    assert row.shape == (SIZE,) and row[NAMES.index("rate 0.5")] == pytest.approx(1.0)
    shrinkage = rates.log_rate(bowl, config) + math.log10(config["weight_decay"] * 100)
    expected = hats(np.array([shrinkage]), KNOTS["decay"])[0]
    begin = NAMES.index("decay -4")
    assert np.allclose(row[begin : begin + len(expected)], expected)
    bare = features(bowl, [Config({"lr": 0.1})], 0.0, 100.0)[0]
    assert bare.sum() == pytest.approx(2.0)  # the intercept and the rate


def test_normal_scores_are_those_of_scipys_ranks():
    rng = np.random.default_rng(0)
    for n in range(1, 40):
        values = rng.integers(0, 12, n).astype(float)
        values[values == 11] = -np.inf
        expected = ndtri((rankdata(values) - 0.5) / n)
        assert np.array_equal(normal_scores(values), expected)


def test_normal_scores_rank_within_milestones_and_share_ties():
    results = [(0, 1, 0.1), (1, 1, 0.5), (2, 1, 0.5), (3, 3, 9.0), (4, 3, -math.inf)]
    scores = scores_within_milestones(results)
    assert scores[1] == scores[2] > scores[0]
    assert scores[3] == -scores[4] == pytest.approx(0.6744897501960817)


def test_ranks_that_are_looked_up_are_the_computed_ones():
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 7, 30, ranks.FEW, ranks.FEW + 1):
        for values in (rng.integers(0, n, n) / 7.0, rng.standard_normal(n)):
            values[rng.random(n) < 0.2] = -np.inf
            results = [(trial, 3, float(value)) for trial, value in enumerate(values)]
            assert np.array_equal(scores_within_milestones(results), normal_scores(values))
            both = [*results, *((n + trial, 9, -score) for trial, _, score in results)]
            expected = np.concatenate([normal_scores(values), normal_scores(-values)])
            assert np.array_equal(scores_within_milestones(both), expected)
    odd = np.array([0.5, np.nan, 0.1, 0.5])
    found = scores_within_milestones([(trial, 1, float(value)) for trial, value in enumerate(odd)])
    assert np.array_equal(found, normal_scores(odd))


def test_first_results_arrive_in_order(bowl):
    history = with_results(bowl, lambda config: config["momentum"])
    found = first_results(history)
    assert [trial for trial, _, _ in found] == list(range(60))
    assert {milestone for _, milestone, _ in found} == {1}


def statistics(name, family, weights, rng, optimizer="SGD"):
    phi = rng.random((300, SIZE))
    y = phi @ weights + 0.1 * rng.standard_normal(300)
    return priors.TaskStatistics(name, family, optimizer, 300, 0.0, phi.T @ phi, phi.T @ y)


def test_the_prior_finds_what_tasks_share_and_forgets_a_family(tmp_path):
    rng = np.random.default_rng(0)
    knots = np.array([0.0, *(float(name.split()[-1]) for name in NAMES[1:])])
    truth, other = 0.4 * knots, -0.4 * knots  # what studies share is taken to be smooth
    rows = [statistics(f"a{i}", "a", truth, rng) for i in range(3)] + [statistics("b", "b", other, rng)]
    file = priors.PriorFile(tuple(rows), {"by": "a test"})
    alone = file.prior(exclude_families=["b"])
    assert np.abs(alone.mean - truth).max() < 0.2 and alone.tasks == ("a0", "a1", "a2")
    assert np.linalg.eigvalsh(alone.covariance).min() > 0
    with pytest.raises(InvalidArgumentError, match="family"):
        file.prior(exclude_families=["a", "b"])
    file.dump(tmp_path / "prior.json")
    again = priors.load(str(tmp_path / "prior.json"))
    assert np.allclose(again.prior().mean, file.prior().mean, atol=1e-3)
    assert json.loads((tmp_path / "prior.json").read_text())["provenance"] == {"by": "a test"}


def test_the_shipped_prior_says_where_it_is_from_and_prefers_useful_rates(bowl):
    file = priors.load(priors.SHIPPED)
    assert file.provenance["studies"] and len({task.family for task in file.tasks}) >= 8
    prior = file.prior()
    value = dict(zip(NAMES, prior.mean, strict=True))
    assert value["rate -0.4"] > value["rate -2"] and value["rate -0.4"] > value["rate 2"]


def test_the_prior_of_language_models_is_for_adamw_and_that_of_tables_for_the_rest():
    file, tables = priors.load(priors.LANGUAGE), priors.load(priors.TABLES)
    ours = {task.task for task in file.tasks if task.optimizer == "AdamW"}
    assert ours == {"lm_characters", "lm_pieces"}
    assert set(file.prior(optimizer="AdamW").tasks) == ours
    assert (file.prior().mean == tables.prior().mean).all()
    known = {"cifar10", "wikitext2"}  # of the study that it was confirmed in
    assert not known & {task.family for task in file.tasks}
    with pytest.raises(InvalidArgumentError, match="'shipped', 'language', 'near', 'none'"):
        Informed(prior="languages")


def test_its_own_family_never_informs_a_task(bowl):
    bowl.family = priors.load(priors.SHIPPED).tasks[0].family
    assert bowl.family not in {
        task.family
        for task in priors.load(priors.SHIPPED).tasks
        if task.task in Informed()._prior(bowl).tasks
    }
    assert Informed(include_own_family=True)._prior(bowl).tasks != Informed()._prior(bowl).tasks


def space_around(task, low, high):
    """The task's space with learning rates between two powers of ten, and hardly any momentum."""
    own = {p.name: p for p in task.space}
    own["lr"] = Real("lr", 10**low, 10**high, log=True)
    own["momentum"] = Real("momentum", 0.0, 0.1)
    return SearchSpace(list(own.values()))


def test_a_guard_is_the_identity_bit_for_bit(bowl):
    history = History(27)
    c = Informed()(bowl, bowl.space.decode([0.5] * 5), history, Streams(0)).measurements[PROBE]
    bowl.space = good = space_around(bowl, c - 0.9, c + 0.4)
    plain = tune(bowl, ASHA(good, max_trials=12, max_units=9), seed=1)
    guarded = Informed(guards=True)
    informed = tune(bowl, ASHA(good, max_trials=12, max_units=9), seed=1, warm_start=guarded)
    assert [t.config for t in informed.history.trials] == [t.sampled for t in plain.history.trials]
    assert all("guard" in t.nudge.reason and not t.nudge.changed for t in informed.history.trials)


def test_a_probe_below_the_usual_scale_is_raised_and_others_are_believed():
    usual = MEDIAN_SCALE["SGD"]
    assert shrunk_scale(usual + 0.4, "SGD") == usual + 0.4 and shrunk_scale(usual, "SGD") == usual
    assert shrunk_scale(usual - 0.4, "SGD") == pytest.approx(usual - 0.4 * (1 - SHRINKAGE))
    assert shrunk_scale(usual - 9.0, "SGD") == pytest.approx(usual - 9.0 + MAX_SHIFT)
    x = np.linspace(-6.0, 2.0, 200)
    assert (np.diff([shrunk_scale(value, "SGD") for value in x]) > 0).all()
    assert shrunk_scale(-3.0, "AdamW") == -3.0 and math.isnan(shrunk_scale(math.nan, "SGD"))


def test_without_a_probe_it_takes_the_usual_scale_of_the_optimizer(bowl):
    sampled = bowl.space.decode([0.5] * 5)
    for optimizer in (SGD(), AdamW()):
        bowl.optimizer = optimizer
        nudge = Informed(probe=False)(bowl, sampled, History(9), Streams(0))
        usual = MEDIAN_SCALE[type(optimizer).__name__]
        assert nudge.z == pytest.approx(rates.log_rate(bowl, sampled) - usual)
        assert nudge.flops == 0.0


def test_a_probe_takes_no_more_samples_than_training_does(bowl):
    sampled = bowl.space.sample(Streams(0)("config", 0))

    def probed(size):
        return Probe(batch_size=size)(bowl, "probe", sampled, History(), Streams(0))

    own = bowl.batch_size
    assert Probe().samples(bowl) == min(Probe().batch_size, own)
    assert probed(4 * own) == probed(own) and probed(own).flops > 0
    assert probed(own - 1).value != probed(own).value and probed(own - 1).flops < probed(own).flops


def test_a_probe_waits_for_the_first_trial_that_nobody_chose(bowl):
    sampled = bowl.space.sample(Streams(0)("config", 0))
    history = History()
    for number in range(5):
        history.append(Started(number, sampled, Nudge(sampled, "none", reason="chosen"), 0.0))
    nudge = Informed()(bowl, sampled, history, Streams(0))
    assert math.isfinite(nudge.measurements[PROBE]) and not nudge.flagged


def test_a_probe_fails_three_times_at_most(bowl):
    class Bottomless(type(bowl)):
        def loss(self, params, batch, hp):
            return math.nan * super().loss(params, batch, hp)

    trials = tune(Bottomless(), RandomSearch(bowl.space, max_trials=6), warm_start=Informed(), seed=0)
    nudges = [trial.nudge for trial in trials.history.trials]
    assert [nudge.flops > 0 for nudge in nudges] == [True] * 3 + [False] * 3
    assert all(nudge.flagged and not nudge.changed for nudge in nudges)


def test_where_nobody_knows_the_horizon_it_is_a_hundred_units_or_the_longest_so_far(bowl):
    def chosen(horizon=None, known=None, milestone=1):
        history = with_results(bowl, lambda config: -config["weight_decay"], milestone)
        history.max_units = known
        policy, sampled = replace(FIRST, max_units=horizon), bowl.space.decode([0.5] * 5)
        return policy(bowl, sampled, history, Streams(0)).config

    assert chosen() == chosen(horizon=USUAL_UNITS) == chosen(known=USUAL_UNITS) != chosen(horizon=1)
    assert chosen(horizon=1, known=27) == chosen(horizon=1) == chosen(known=1)
    longer = 40 * USUAL_UNITS
    assert chosen(milestone=longer) == chosen(milestone=longer, horizon=longer)
    assert chosen(milestone=longer) != chosen(milestone=longer, horizon=USUAL_UNITS)


def test_rates_are_seen_from_the_believed_scale(bowl):
    class Steep(type(bowl)):
        def loss(self, params, batch, hp):
            return 1e3 * super().loss(params, batch, hp)

    nudges = [Informed()(t, t.space.decode([0.5] * 5), History(27), Streams(0)) for t in (bowl, Steep())]
    gentle, steep = (n.measurements[PROBE] for n in nudges)
    assert steep == pytest.approx(gentle - 3.0, abs=0.2) and steep < MEDIAN_SCALE["SGD"] - 2 * MAX_SHIFT
    x = rates.log_rate(bowl, bowl.space.decode([0.5] * 5))
    assert nudges[1].z == pytest.approx(x - (steep + MAX_SHIFT))


def test_a_narrow_space_keeps_its_first_trials(bowl):
    c = Informed()(bowl, bowl.space.decode([0.5] * 5), History(27), Streams(0)).measurements[PROBE]
    bowl.space = space_around(bowl, c + 0.6, c + 2.0)
    study = tune(bowl, ASHA(bowl.space, max_trials=12, max_units=3), seed=1, warm_start=Informed(guards=True))
    left = [trial.nudge.reason.startswith("guard") for trial in study.history.trials]
    assert left == [True] * 8 + [False] * 4


def test_it_learns_what_the_prior_did_not_know(bowl):
    """Scores that depend on momentum alone: later choices must have more of it than the space's draws."""
    policy = Informed(prior="none")
    history = with_results(bowl, lambda config: config["momentum"], policy=policy)
    chosen = [trial.config["momentum"] for trial in history.trials]
    assert np.mean(chosen[30:]) > 0.7 > 0.6 > np.mean([t.sampled["momentum"] for t in history.trials])
    assert "data of" in history.trials[2].nudge.reason and "prior" in history.trials[1].nudge.reason
    first = with_results(bowl, lambda config: config["momentum"], policy=replace(FIRST, prior="none"))
    assert "data of 6" in first.trials[8].nudge.reason and "prior" in first.trials[5].nudge.reason


def test_results_count_by_what_the_stated_noise_leaves_of_them(bowl):
    """Scores that are mostly noise, by the task's own word, move beliefs less; without a word as before."""

    def believed(error):
        bowl.score_error = error
        history = with_results(bowl, lambda config: config["momentum"])
        found = Informed(prior="none")._posterior(bowl, history, 0.0, 27.0)
        assert found.results == 60
        return found.mean

    plain = with_results(bowl, lambda config: config["momentum"])
    unstated = Informed(prior="none")._posterior(bowl, plain, 0.0, 27.0).mean
    assert np.array_equal(believed(0.0), unstated)
    sizes = [float(np.linalg.norm(believed(error))) for error in (0.0, 0.1, 0.3, 10.0)]
    assert sizes == sorted(sizes, reverse=True) and sizes[3] < 0.7 * sizes[0]
    scores = np.array([1.0, 2.0, 3.0, math.nan])
    assert share_of_noise(scores, 0.5) == pytest.approx(0.25 / np.var(scores[:3]))
    assert share_of_noise(np.ones(3), 0.5) == share_of_noise(scores, 9.0) == 1.0
    with pytest.raises(InvalidArgumentError, match=r"task.score_error: must be a finite number >= 0"):
        bowl.score_error = -1.0
        tune(bowl, ASHA(bowl.space, max_trials=2, max_units=3), seed=1)


def test_what_no_prior_knows_stays_as_it_was_sampled(bowl):
    own = [
        Integer("width", 1, 512, log=True),
        Categorical("act", ("relu", "tanh", "gelu")),
        Real("noise", 0, 1),
    ]
    bowl.space = SearchSpace([*bowl.space, *own])
    history = with_results(bowl, lambda config: config["width"], policy=Informed())
    assert sum(trial.nudge.changed for trial in history.trials) > 50
    assert all(t.config[p.name] == t.sampled[p.name] for t in history.trials for p in own)
    assert len({trial.config["momentum"] for trial in history.trials}) > 50


def test_density_goes_where_good_trials_are_and_leaves_every_fourth_alone(bowl):
    def score(config):
        return -abs(math.log10(config["lr"] / (1 - config["momentum"])) - 0.5)

    history = with_results(bowl, score, policy=LearningRateTPE())
    moved = [t for t in history.trials if t.nudge.changed]
    late = [abs(score(t.config)) for t in moved if t.number > 30]
    assert moved and moved[0].number >= 10 and np.median(late) < 0.5
    assert all(t.config == t.sampled for t in history.trials if t.number % 4 == 3)
    assert all(set(t.config) == set(t.sampled) for t in history.trials)


def test_a_log_density_integrates_to_one_and_is_finite_far_away():
    points = np.array([0.0, 0.1, 1.0])
    grid = np.linspace(-5, 6, 4000)
    assert np.trapezoid(np.exp(log_density(grid, points)), grid) == pytest.approx(1.0, abs=1e-6)
    assert np.isfinite(log_density(np.array([1e3]), points)).all()


def test_a_black_box_task_is_served_without_a_probe():
    class BlackBox:
        name, space = "box", SearchSpace([Real("lr", 1e-4, 1.0, log=True)])

    nudge = Informed(prior="none")(BlackBox(), Config({"lr": 1e-4}), History(9), Streams(0))
    assert nudge.flops == 0.0 and not nudge.flagged
