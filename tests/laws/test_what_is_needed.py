"""What a study cannot work with is refused before it trains anything; what fails is said, with its cause."""

import copy
import logging
import math

import numpy as np
import pytest
import torch

from hypernudge import ASHA, AdamW, Informed, ModuleLoss, tune
from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.serial import SerialEngine
from hypernudge.errors import InvalidArgumentError
from hypernudge.optimizers import SGD, rule_from
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, build
from hypernudge.schedulers.random import RandomSearch
from hypernudge.space import Categorical, Integer, Real, SearchSpace
from hypernudge.trial import History, Nudge, Started
from hypernudge.warmstart.measurement.probe import ATTEMPTS
from hypernudge.warmstart.requirements import check_warm_start, warm_start_of

NEED_RATE = {"curvature_band", "newton", "probe_band", "placebo", "fixed_band", "density", "informed"}
NEED_GRADIENT = {"curvature_band", "newton", "probe_band"}
MEASURE_ANYTHING = {"literal", "multi_step", "random_step", "placebo"}
"""Take finite differences where nothing can be differentiated; all that they need is something continuous."""
WIDTH = Integer("width", 4, 16)


class BlackBox:
    name, metric, metric_range = "black box", "accuracy", (0.0, 1.0)

    def __init__(self, space):
        self.space = space

    def start(self, seed):
        raise AssertionError("nothing may be trained")

    advance = evaluate = unit_flops = start


def search(space):
    return RandomSearch(space, max_units=1, max_trials=2)


@pytest.mark.parametrize("name", REGISTRY["warm_start"])
def test_a_policy_says_itself_what_it_needs(bowl, name):
    policy = build("warm_start", {"name": name})
    for lr in (Integer("lr", 1, 3), Categorical("lr", (0.1, 0.2)), Real("learning_rate", 1e-3, 1.0)):
        space = SearchSpace([lr, WIDTH])
        lacking = "'lr'" if name in NEED_RATE else "continuous hyper-parameter"
        if name == "none" or (name not in NEED_RATE and isinstance(lr, Real)):
            check_warm_start(policy, space, bowl)
            continue
        with pytest.raises(InvalidArgumentError, match=rf"^space: .*{lacking}"):
            check_warm_start(policy, space, bowl)
        if name in MEASURE_ANYTHING and isinstance(lr, Real):
            check_warm_start(policy, space, BlackBox(space))
            continue
        with pytest.raises(
            InvalidArgumentError, match=r"^warm_start: " if name in NEED_GRADIENT else "^space: "
        ):
            tune(BlackBox(space), search(space), seed=0, warm_start=policy)
    check_warm_start(policy, bowl.space, bowl)
    if name in NEED_GRADIENT:
        with pytest.raises(InvalidArgumentError, match="needs a GradientTask, but got 'BlackBox'"):
            tune(BlackBox(bowl.space), search(bowl.space), seed=0, warm_start=policy)
    elif name in MEASURE_ANYTHING:
        check_warm_start(policy, bowl.space, BlackBox(bowl.space))


def test_a_prior_of_which_nothing_is_left_is_refused_before_the_first_trial(bowl):
    from hypernudge.warmstart.measurement.prior import load

    families = tuple({task.family for task in load("shipped").tasks})
    bowl.family = families[0]
    with pytest.raises(InvalidArgumentError, match=r"^prior: needs a family"):
        tune(bowl, search(bowl.space), seed=0, warm_start=Informed(exclude_families=families[1:]))


def test_a_policy_of_ones_own_need_not_say_anything(bowl):
    check_warm_start(lambda task, sampled, history, streams: Nudge(sampled, "mine"), bowl.space, bowl)


@pytest.mark.parametrize("name", sorted(set(REGISTRY["warm_start"]) - {"multi_step"}))
def test_a_name_is_resolved_as_yaml_does(bowl, name):
    built = build("warm_start", {"name": name})
    for value in (name, {"name": name}):
        assert type(warm_start_of(value)) is type(built)
    assert warm_start_of(built) is built
    with pytest.raises(
        InvalidArgumentError, match=rf"^warm_start: must be an instance.*{type(built).__name__}\("
    ):
        warm_start_of(type(built))


def test_a_study_by_names_is_the_study_by_instances(bowl):
    named = tune(
        bowl,
        {"name": "asha", "max_units": 3, "max_trials": 5},
        seed=1,
        warm_start={"name": "informed", "prior": "none"},
        engine="serial",
    )
    built = tune(bowl, ASHA(bowl.space, max_units=3, max_trials=5), seed=1, warm_start=Informed(prior="none"))
    assert named.history.as_table() == built.history.as_table()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warm_start": "informd"}, "^warm_start: .*did you mean 'informed'"),
        ({"warm_start": {"name": "informed", "prio": 1}}, "^warm_start.prio: "),
        ({"warm_start": {"prior": "none"}}, "^warm_start: a mapping must hold a 'name'"),
        ({"warm_start": 3}, "^warm_start: must be callable"),
        ({"warm_start": lambda config: config}, "^warm_start: must take 4 arguments"),
        ({"scheduler": ASHA}, r"^scheduler: must be an instance, but got the class ASHA; write ASHA\("),
        ({"scheduler": "asah"}, "^scheduler: .*did you mean 'asha'"),
        ({"scheduler": None}, "^scheduler: must have"),
        ({"engine": SerialEngine}, "^engine: must be an instance"),
        ({"engine": "serail"}, "^engine: .*did you mean 'serial'"),
        ({"engine": 4}, "^engine: must have"),
        ({"task": BlackBox}, "^task: must be an instance, but got the class BlackBox"),
        ({"task": "digits_mpl"}, "^task: .*did you mean 'digits_mlp'"),
        ({"task": "supervised"}, r"^task: 'supervised' needs the options \['dataset', 'model'\]"),
        ({"task": torch.nn.Linear(2, 2)}, "^task: must have"),
        ({"seed": "x"}, "^seed: must be a whole number"),
        ({"seed": True}, "^seed: must be a whole number"),
        ({"seed": 1.5}, "^seed: must be a whole number"),
        ({"budget": math.nan}, "^budget: must be positive"),
    ],
)
def test_an_argument_that_is_nothing_of_its_kind_is_refused_in_one_line(bowl, change, message):
    bowl.init = lambda seed: pytest.fail("nothing may be trained")
    arguments = {"task": bowl, "scheduler": search(bowl.space), "seed": 0, **change}
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        tune(arguments.pop("task"), arguments.pop("scheduler"), **arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("engine", [SerialEngine, PopulationEngine])
def test_an_engine_of_a_class_is_refused(engine):
    with pytest.raises(InvalidArgumentError, match=r"^task: must be an instance, but got the class BlackBox"):
        engine(BlackBox, lambda trial: trial)


@pytest.mark.parametrize(
    "optimizer", [torch.optim.AdamW, AdamW, torch.optim.SGD([torch.zeros(1)], 0.1), "sgd"]
)
def test_a_task_with_an_optimizer_that_is_no_update_rule_is_refused(bowl, optimizer):
    bowl.optimizer = optimizer
    with pytest.raises(InvalidArgumentError, match=r"^task\.optimizer: must be an update rule"):
        tune(bowl, search(bowl.space), seed=0)


def test_optimizers_by_every_name_they_have():
    assert rule_from("adamw") == rule_from(torch.optim.AdamW) == rule_from(AdamW()) == AdamW()
    assert rule_from({"name": "sgd", "decoupled": True}) == SGD(decoupled=True)
    assert rule_from(torch.optim.SGD) == SGD()
    for wrong in (torch.optim.Adam, torch.optim.Adam([torch.zeros(1)]), AdamW, 3, "adam", {"name": "adam"}):
        with pytest.raises(InvalidArgumentError, match=r"^optimizer: ") as refused:
            ModuleLoss(lambda hp: None, (torch.zeros(2),), lambda model, batch, hp: None, optimizer=wrong)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (torch.optim.Adam, "AdamW makes the steps of Adam where there is no weight decay"),
        (torch.optim.AdamW([torch.zeros(1)]), "torch.optim.AdamW: the class, without parameters"),
        (torch.optim.RMSprop, "'sgd', 'adamw', torch.optim.SGD or torch.optim.AdamW"),
    ],
)
def test_what_to_write_for_an_optimizer_of_pytorch_is_said(value, remedy):
    with pytest.raises(InvalidArgumentError, match=f"{remedy}$"):
        rule_from(value)


def failing(bowl, reason="out of memory"):
    def init(seed):
        raise RuntimeError(reason)

    bowl.init, trains = init, bowl.init
    bowl.start = lambda seed: type(bowl).start(_with(bowl, trains), seed)
    bowl.unit_flops = lambda hp: 1.0
    return bowl


def _with(bowl, init):
    twin = copy.copy(bowl)
    twin.init = init
    return twin


@pytest.mark.parametrize("name", ["informed", "probe_band", "placebo", "curvature_band", "newton"])
def test_once_a_policy_gave_up_its_reason_is_why(bowl, name):
    policy, streams, history = build("warm_start", {"name": name}), Streams(0), History()
    task = failing(bowl)
    for number in range(6):
        sampled = bowl.space.sample(streams("config", number))
        try:
            nudge = policy(task, sampled, history, streams)
        except RuntimeError as error:  # as the callers of policies do
            reason = f"the warm start raised RuntimeError: {error}: left as sampled"
            nudge = Nudge(sampled, name, flagged=True, reason=reason)
        history.append(Started(number, sampled, nudge, 0.0))
    for trial in history.trials[ATTEMPTS:]:
        assert trial.nudge.flagged
        assert "at trial 0: the warm start raised RuntimeError: out of memory" in trial.nudge.reason
        assert trial.nudge.reason.count("left as sampled") <= 1


def test_what_was_never_the_policys_to_try_is_no_failed_attempt(bowl):
    policy, streams, history = build("warm_start", {"name": "informed"}), Streams(0), History()
    for number in range(ATTEMPTS):
        sampled = bowl.space.sample(streams("config", number))
        outside = Nudge(sampled, "none", flagged=True, reason="sampled with ['lr'] out of bounds")
        history.append(Started(number, sampled, outside, 0.0))
    nudge = policy(bowl, bowl.space.sample(streams("config", ATTEMPTS)), history, streams)
    assert not nudge.flagged and nudge.measurements


def test_a_warm_start_that_failed_at_every_trial_is_said_at_the_end(bowl, caplog):
    task = failing(bowl)
    with caplog.at_level(logging.WARNING, "hypernudge"):
        study = tune(task, search(bowl.space), seed=0, warm_start="informed")
    (warning,) = study.warnings
    assert warning.startswith("warm start: failed at each of 2 trials, trained as sampled")
    assert "at trial 0" in warning and "RuntimeError: out of memory" in warning
    assert [record.message for record in caplog.records] == [warning]
    assert len(study.reports) == 2


def test_one_that_worked_once_or_was_not_asked_is_not_complained_about(bowl, caplog):
    def policy(task, sampled, history, streams):
        if len(history.trials):
            raise RuntimeError("not today")
        return Nudge(sampled, "mine", reason="looked")

    for warm_start in (policy, None, "none", "fixed_band"):
        study = tune(bowl, search(bowl.space), seed=0, warm_start=warm_start)
        assert study.warnings == () and not caplog.records


@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.int8])
def test_a_seed_of_numpy_is_that_seed(bowl, kind):
    first, second = (
        tune(bowl, search(bowl.space), seed=seed, warm_start="informed") for seed in (kind(3), 3)
    )
    assert [t.config for t in first.history.trials] == [t.config for t in second.history.trials]
    assert first.best()[1] == second.best()[1]
    assert type(first.seed) is int


def test_bounds_in_single_precision_switch_nothing_off(bowl):
    task = copy.copy(bowl)
    task.space = SearchSpace([Real(p.name, np.float32(p.low), np.float32(p.high), p.log) for p in bowl.space])
    study = tune(task, search(task.space), seed=0, warm_start="informed")
    assert study.warnings == ()
    values = [value for trial in study.history.trials for value in trial.config.values()]
    assert {type(value) for value in values} == {float}
    study.best()
