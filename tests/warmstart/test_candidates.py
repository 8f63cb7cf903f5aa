"""What `informed` may start: arrays that agree with one configuration at a time, and the two editions."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hypernudge import AdamW, Categorical, Config, Informed, Integer, Real, SearchSpace
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.planning.config import load_yaml
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.tasks.curves.tabulated import TableSpace
from hypernudge.tasks.spaces import SPACES
from hypernudge.trial import History
from hypernudge.warmstart.measurement import candidates, rates
from hypernudge.warmstart.measurement.features import features, hats, scored
from hypernudge.warmstart.measurement.posterior import NOISE, RANK_DEVIATION, RANK_MEAN, Tried
from hypernudge.warmstart.measurement.ranks import scores_within_milestones
from tests.laws.test_informed import FIRST, first_results, with_results

GROUPS = Path(__file__).parents[2] / "config" / "warm_start"
CONDITIONAL = SearchSpace(
    [
        Categorical("optimizer", ("sgd", "heavy", None)),
        Real("lr", 1e-4, 1.0, log=True),
        Real("momentum", 0.0, 0.99, only_if=("optimizer", ("heavy", None))),
        Integer("width", 1, 9, log=True),
        Categorical("weight_decay", (None, 0, 1e-4, 1e-2), only_if=("width", (3, 4, 5, 6, 7, 8, 9))),
        Real("label_smoothing", 0.0, 0.3, only_if=("momentum", (2.0,))),
        Categorical("augmentation", ("none", "flip")),
        Categorical("layers", ([8, 8], [4], np.ones(2))),
    ]
)
TABLE = TableSpace(["lr", "momentum"], np.random.default_rng(0).uniform(0.01, 0.9, (30, 2)))
SEARCHED = {"conditional": CONDITIONAL, "table": TABLE, **{name: SPACES[name] for name in ("mid", "mixed")}}


@dataclass
class Own:
    """A rule that takes one configuration at a time."""

    def effective_rate(self, hp):
        return math.sqrt(hp["lr"]) * (2.0 if hp.get("momentum") else 1.0)


@pytest.mark.parametrize("name", SEARCHED)
def test_many_points_decode_as_one_does(name):
    space = SEARCHED[name]
    units = space.sample_units(np.random.default_rng(1), 200)
    rng = np.random.default_rng(1)
    configs = [space.sample(rng) for _ in range(200)]
    columns = space.columns(units)
    assert list(columns) == list(space.names)
    for parameter in space:
        values, active = columns[parameter.name]
        assert active.tolist() == [parameter.name in config for config in configs]
        for config, value in zip(configs, values, strict=True):
            if parameter.name not in config:
                continue
            if isinstance(parameter, Categorical):
                assert value is config[parameter.name]
            else:
                assert value == pytest.approx(config[parameter.name], rel=1e-14)
    assert list(space.columns(units, ["lr"])) == ["lr"]


@pytest.mark.parametrize("optimizer", [None, AdamW(), Own()])
@pytest.mark.parametrize("name", SEARCHED)
def test_candidates_as_arrays_are_those_drawn_one_by_one(bowl, name, optimizer):
    """The slow twin: each drawn, and looked at, by itself, from the same stream."""
    space = bowl.space = SEARCHED[name]
    bowl.optimizer = optimizer
    scale, names = 0.3, scored(space)
    for number in range(6):
        sampled = space.sample(Streams(number)("config", 0))
        found = candidates.drawn(bowl, sampled, scale, 24, np.random.default_rng(number))
        rng = np.random.default_rng(number)
        drawn = [sampled]
        for _ in range(23):
            draw = space.sample(rng)
            drawn.append(
                sampled.replace(**{n: draw[n] for n in names if n in sampled and n in draw})
                if names
                else sampled
            )
        one_by_one = drawn[:7] + [
            rates.at_rate(bowl, draw, scale + float(rng.uniform(*candidates.REDRAW))) for draw in drawn[7:]
        ]
        assert len(found) == 24 and [found.config(index) for index in range(24)] == one_by_one
        expected = features(bowl, one_by_one, scale, 1e3)
        assert np.allclose(found.features(scale, 1e3), expected, rtol=1e-12, atol=1e-12)


def test_hats_are_those_of_numpy_to_the_bit():
    rng = np.random.default_rng(0)
    knots = (-3.0, -2.0, -1.5, -1.0, -0.1, 0.2, 2.0)
    values = np.concatenate([rng.uniform(-4, 3, 500), knots, [np.nan, -np.inf, np.inf]])
    expected = np.nan_to_num(np.stack([np.interp(values, knots, row) for row in np.eye(7)], axis=1), nan=0.0)
    assert np.array_equal(hats(values, knots), expected)


@pytest.mark.parametrize("prior", ["shipped", "none"])
def test_the_first_edition_chooses_trial_for_trial_what_it_chose(bowl, prior):
    """Its rule, written down once more and one configuration at a time."""
    policy = replace(FIRST, prior=prior, probe=False, guards=False)
    history = with_results(bowl, lambda config: -abs(math.log10(config["lr"]) + 1), policy=policy)
    replayed, streams = History(27), Streams(0)
    c, steps, weights = rates_centre(bowl), 27.0 * bowl.steps_per_unit, policy._prior(bowl)
    for event in history.events:
        if hasattr(event, "nudge"):
            chosen = chosen_one_by_one(bowl, event.sampled, replayed, streams, (c, steps), weights, prior)
            assert event.nudge.config == chosen
        replayed.append(event)
    assert sum(trial.nudge.changed for trial in history.trials) > 50
    assert not any(set(trial.nudge.measurements) for trial in history.trials)


def rates_centre(task):
    nudge = Informed(probe=False)(task, task.space.middle(), History(27), Streams(0))
    return rates.log_rate(task, task.space.middle()) - nudge.z


def chosen_one_by_one(task, sampled, history, streams, at, prior, name):
    rng = streams("informed", len(history.trials))
    drawn = [sampled, *(task.space.sample(rng) for _ in range(23))]
    drawn[7:] = [rates.at_rate(task, draw, at[0] + float(rng.uniform(-1.0, 0.7))) for draw in drawn[7:]]
    results = first_results(history)
    results = results[: len(results) - len(results) % 3]
    mean, covariance = prior.mean, prior.covariance
    if len(results) >= 6:
        phi = features(task, [history.trials[trial].config for trial, _, _ in results], *at)
        expected = phi @ mean
        spread = np.clip(expected.std() / 0.6, 0.5, 1.0) if name != "none" else 1.0
        y = scores_within_milestones(results) * spread + expected.mean()
        precision = np.linalg.inv(covariance)
        covariance = np.linalg.inv(precision + phi.T @ phi / NOISE)
        mean = covariance @ (precision @ mean + phi.T @ y / NOISE)
    weights = mean + np.linalg.cholesky(covariance) @ rng.standard_normal(len(mean))
    return drawn[int(np.argmax(features(task, drawn, *at) @ weights))]


def test_the_first_edition_has_a_name_in_yaml():
    options = load_yaml(GROUPS / "informed_first.yaml")
    assert options.pop("label") == "informed_first" and build("warm_start", options) == FIRST


def test_a_plan_names_an_edition_or_an_option_of_its_own(tmp_path):
    axes = {"task": ["digits_mlp"], "warm_start": {"none": "none", "informed": "informed"}}
    axes["warm_start"] |= {"first": "informed_first", "bold": {"name": "informed", "spread": 0.0}}
    common = {"budget": {"units": 9}, "target": 0.9, "seeds": {"first": 0, "count": 6}}
    plan = resolve_plan(
        {"common": common, "grid": {"axes": axes}, "evidence": {"baseline": "none"}}, GROUPS.parent
    )
    found = {v.run_id.split("-")[1]: v.spec["warm_start"] for v in plan.variations}
    built = {
        name: build("warm_start", {key: value for key, value in spec.items() if key != "label"})
        for name, spec in found.items()
    }
    assert (
        built["informed"] == Informed() and built["first"] == FIRST and built["bold"] == Informed(spread=0.0)
    )


def test_first_trials_follow_the_mean_and_later_ones_explore(bowl):
    def chosen(number, **options):
        history = with_results(bowl, lambda config: -config["weight_decay"])
        policy = Informed(prior="tables", probe=False, greedy_trials=number, **options)
        return policy(bowl, bowl.space.middle(), history, Streams(0)).config

    assert chosen(61) == chosen(61, spread=1.0) == chosen(0, spread=0.0)
    assert chosen(61) != chosen(60, spread=1.0) == chosen(0, spread=1.0)
    assert chosen(61) != chosen(61, candidates=24)


def test_more_candidates_rank_higher_and_the_nudge_says_how_they_were_believed(bowl):
    found = {}
    for count in (2, 24, 256):
        policy = Informed(candidates=count, greedy_trials=99)
        history = with_results(bowl, lambda config: config["momentum"], policy=policy)
        nudges = [trial.nudge for trial in history.trials]
        found[count] = np.mean([nudge.measurements[RANK_MEAN] for nudge in nudges])
        assert all(0 < nudge.measurements[RANK_DEVIATION] < 2 for nudge in nudges)
    assert found[2] < found[24] < found[256]
    last = history.trials[-1]
    before = History.replay([e for e in history.events if getattr(e, "trial", -1) != 59][:-1], 27)
    belief = policy.belief(bowl, before, [last.config, last.sampled])
    assert belief.mean[0] == pytest.approx(last.nudge.measurements[RANK_MEAN])
    assert belief.deviation[0] == pytest.approx(last.nudge.measurements[RANK_DEVIATION])
    assert belief.mean.shape == belief.deviation.shape == (2,) and belief.mean[0] >= belief.mean[1]
    assert Informed().belief(bowl, History(27), [last.config]).mean.shape == (1,)  # before there is a probe
    assert Informed(prior="xgboost").belief(bowl_of_trees(bowl), History(27), [Config({"eta": 0.1})]) is None


def bowl_of_trees(bowl):
    bowl.space = SPACES["xgboost"]
    return bowl


def test_what_was_tried_is_kept_event_by_event_as_it_is_found_anew(bowl):
    scores = iter(np.random.default_rng(0).permutation([*range(50), *[math.nan] * 10]))
    history = with_results(bowl, lambda config: float(next(scores)))
    seen = History(27)
    for event in history.events:
        seen.append(event)
        assert Tried.of(bowl, seen).results == first_results(seen)
    for scale, steps in ((0.0, 100.0), (0.5, 100.0), (0.5, 7.0)):
        anew = features(bowl, [trial.config for trial in history.trials], scale, steps)
        assert np.allclose(Tried.of(bowl, seen).features(list(range(60)), scale, steps), anew)


BAD = {
    "candidates": (1, 2.5, True, 10**9),
    "greedy_trials": (-1, 1.5, "4"),
    "spread": (-0.1, math.nan, math.inf, "wide"),
    "min_results": (0, None),
    "refresh": (0, 0.5),
    "guards": (1, "no"),
    "note_belief": (None,),
}


@pytest.mark.parametrize(
    ("option", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_an_option_that_breaks_its_rule_is_refused_by_name(option, value):
    with pytest.raises(InvalidArgumentError, match=rf"^{option}: must .*{re.escape(repr(value))[:8]}"):
        build("warm_start", {"name": "informed", option: value})
