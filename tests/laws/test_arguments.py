"""A table of wrong arguments: each is refused at once, in one line."""

import math

import pytest
import torch
from torch import nn

from hypernudge import (
    ASHA,
    OHGW,
    AdamW,
    Categorical,
    Informed,
    Integer,
    ModuleLoss,
    PopulationEngine,
    Real,
    SearchSpace,
    tune,
)
from hypernudge.engine.serial import SerialEngine
from hypernudge.engine.trainer import Population
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, build
from hypernudge.schedulers.base import Done, Start, Uniform, Wait
from tests.integrations.helpers import X, Y, loss, model, training
from tests.laws.line import LR, MOMENTUM, SPACE, WARM_STARTS, Line, search, study


class Unlimited:
    """A scheduler of one's own."""

    max_units, space, max_trials = 1, SPACE, None

    def __init__(self, decision=None, **attributes):
        self.decision = decision
        self.__dict__.update(attributes)

    def __call__(self, history, streams):
        return self.decision if len(history.trials) < 1 else Done()


def used():
    task = Line()
    engine = SerialEngine(task, int)
    tune(task, search(), seed=0, engine=engine)
    return tune(task, search(), seed=0, engine=engine)


def broken(hp):
    raise RuntimeError("no such width")


def spaced(task, **options):
    return lambda: tune(task, search(task.space), seed=0, **options)


TUNE = {
    "budget of text": (study(budget="60"), "budget"),
    "no budget": (study(budget=None), "budget"),
    "a budget that no float holds": (study(budget=10**400), "budget"),
    "a timeout that no float holds": (study(timeout=10**400), "timeout"),
    "budget that is true": (study(budget=True), "budget"),
    "budget of nothing": (study(budget=0), "budget"),
    "budget below nothing": (study(budget=-1.0), "budget"),
    "an endless study": (study(scheduler=ASHA(SPACE)), "budget"),
    "an endless study by name": (study(scheduler="hyperband"), "budget"),
    "an endless scheduler of one's own": (study(scheduler=Unlimited()), "budget"),
    "a budget that nothing uses up": (
        study(Line(step_flops=1.0, unit_flops=lambda hp: 0.0), ASHA(SPACE), budget=1.0),
        "task.unit_flops",
    ),
    "a budget that nobody can count": (
        study(Line(unit_flops=broken), ASHA(SPACE), budget=1.0),
        "task.unit_flops",
    ),
    "cost below nothing": (study(Line(unit_flops=lambda hp: -1.0)), "task.unit_flops"),
    "cost of NaN": (study(Line(unit_flops=lambda hp: math.nan)), "task.unit_flops"),
    "no cost": (study(Line(unit_flops=lambda hp: None)), "task.unit_flops"),
    "no seed": (study(seed=None), "seed"),
    "a seed of text": (study(seed="0"), "seed"),
    "several seeds": (study(seed=[0, 1]), "seed"),
    "half a seed": (study(seed=0.5), "seed"),
    "no workers": (study(workers=0), "workers"),
    "workers of text": (study(workers="4"), "workers"),
    "no speed": (study(flops_per_second=0), "flops_per_second"),
    "a callback by name": (study(callback="print"), "callback"),
    "a callback without argument": (study(callback=lambda: None), "callback"),
    "a callback's class": (study(callback=dict), "callback"),
    "a study to go on from": (lambda: study(resume_from=study()())(), "resume_from"),
    "numbers to go on from": (study(resume_from=[1, 2]), "resume_from"),
    "a scheduler's class": (study(scheduler=ASHA), "scheduler"),
    "an unknown scheduler": (study(scheduler="hyberband"), "scheduler"),
    "a scheduler that is a function": (study(scheduler=lambda history, streams: None), "scheduler"),
    "an option no scheduler has": (study(scheduler={"name": "asha", "max_unit": 3}), "scheduler.max_unit"),
    "a scheduler of fewer": (study(scheduler=search(SearchSpace([LR]))), "scheduler.space.momentum"),
    "a scheduler of more": (
        study(scheduler=search(SearchSpace([*SPACE, Integer("width", 1, 9)]))),
        "scheduler.space.width",
    ),
    "a scheduler of other bounds": (
        study(scheduler=search(SearchSpace([Real("lr", 1e-3, 1.0, log=True), MOMENTUM]))),
        "scheduler.space.lr",
    ),
    "a scheduler of a list": (study(scheduler=Unlimited(space=[LR])), "scheduler.space"),
    "a scheduler's units of text": (study(scheduler=Unlimited(max_units="1")), "scheduler.max_units"),
    "no decision": (study(scheduler=Unlimited(max_trials=1)), "scheduler"),
    "a decision's class": (study(scheduler=Unlimited(Done, max_trials=1)), "scheduler"),
    "waiting for nothing": (study(scheduler=Unlimited(Wait(), max_trials=1)), "scheduler"),
    "a start outside the space": (
        study(scheduler=Unlimited(Start({"lr": 5.0, "momentum": 0.1}, 1), max_trials=1)),
        "scheduler",
    ),
    "an engine's class": (study(engine=PopulationEngine), "engine"),
    "an unknown engine": (study(engine="popluation"), "engine"),
    "an engine's unknown device": (study(engine={"name": "population", "device": "gpu"}), "device"),
    "an engine of another task": (lambda: study(engine=SerialEngine(Line(), int))(), "engine.task"),
    "an engine with another deadline": (
        lambda: (lambda task: study(task, engine=SerialEngine(task, int, deadline=1.0))())(Line()),
        "engine.deadline",
    ),
    "an engine used twice": (used, "engine"),
    "a task's class": (study(Line), "task"),
    "an unknown task": (study("digits_mpl"), "task"),
    "a module for a task": (study(nn.Linear(2, 2)), "task"),
    "a ModuleLoss for a task": (lambda: study(training())(), "task"),
    "a task's space of a list": (study(Line(space=[LR])), "task.space"),
    "a task's space as a class": (study(Line(space=SearchSpace)), "task.space"),
    "a task without steps": (study(Line(steps_per_unit=0)), "task.steps_per_unit"),
    "a task's optimizer of PyTorch": (study(Line(optimizer=torch.optim.SGD)), "task.optimizer"),
    "a task's optimizer by its class": (study(Line(optimizer=AdamW)), "task.optimizer"),
    "a task's optimizer by name": (study(Line(optimizer="sgd")), "task.optimizer"),
    "a space without the optimizer's lr": (spaced(Line(space=SearchSpace([MOMENTUM]))), "task.space"),
}


SPACES = {
    "no lr": ([Real("rate", 1e-4, 1.0, log=True)], "space"),
    "a whole lr": ([Integer("lr", 1, 3), MOMENTUM], "space"),
    "a choice of lr": ([Categorical("lr", (0.1, 0.2)), MOMENTUM], "space"),
    "negative rates": ([Real("lr", -1.0, 1.0)], "space.lr"),
    "a rate that is there sometimes": (
        [Categorical("kind", ("a", "b")), Real("lr", 1e-4, 1.0, only_if=("kind", ("a",)))],
        "space.lr",
    ),
}


TUNE |= {
    f"warm start: {what}": (study(warm_start=value), argument)
    for what, (value, argument) in WARM_STARTS.items()
}


class AnyRate(Line):
    """Reads no rate, so that only the policy can miss one."""

    def advance(self, state, hp):
        return True


TUNE |= {
    f"warm start on {what}": (
        spaced(AnyRate(space=SearchSpace(parameters)), warm_start="informed"),
        argument,
    )
    for what, (parameters, argument) in SPACES.items()
}


ENGINES = {
    "a task by name": (lambda: SerialEngine("digits_mlp", int), "task"),
    "a task's class": (lambda: PopulationEngine(Line, int), "task"),
    "a seed for seed_of": (lambda: SerialEngine(Line(), 3), "seed_of"),
    "no argument of seed_of": (lambda: PopulationEngine(Line(), lambda: 3), "seed_of"),
    "no workers": (lambda: SerialEngine(Line(), int, workers=0), "workers"),
    "a deadline of text": (lambda: SerialEngine(Line(), int, deadline="5"), "deadline"),
    "a deadline at once": (lambda: PopulationEngine(Line(), int, deadline=0), "deadline"),
    "a speed below nothing": (lambda: SerialEngine(Line(), int, flops_per_second=-1), "flops_per_second"),
    "a number for a population": (lambda: PopulationEngine(Line(), int, population=3), "population"),
    "a population's class": (lambda: PopulationEngine(Line(), int, population=Population), "population"),
    "another task's population": (
        lambda: PopulationEngine(Line(), int, population=Population(Line())),
        "population",
    ),
    "a population of a name": (lambda: Population("digits_mlp"), "task"),
    "no threads": (lambda: Population(Line(), threads=0), "threads"),
    "memory of text": (lambda: Population(Line(), memory_budget="1G"), "memory_budget"),
    "a device that is not there": (lambda: Population(Line(), device="gpu"), "device"),
}


PARTS = {
    "bounds upside down": (lambda: Real("lr", 1.0, 1e-4), "lr"),
    "a bound of text": (lambda: Real("lr", "1e-4", 1.0), "lr"),
    "a logarithm of nothing": (lambda: Real("lr", 0.0, 1.0, log=True), "lr"),
    "a scale of text": (lambda: Real("lr", 1e-4, 1.0, log="yes"), "lr.log"),
    "a name that is a number": (lambda: Real(1e-4, 1.0, 2.0), "name"),
    "half a whole number": (lambda: Integer("width", 1.5, 3), "width"),
    "a choice that no file holds": (lambda: Categorical("act", (2**70, 3)), "act"),
    "a whole number that no file holds": (lambda: Integer("width", 1, 2**70), "width"),
    "a bound that no float holds": (lambda: Real("lr", 1, 10**400), "lr"),
    "no choices": (lambda: Categorical("act", ()), "act"),
    "a choice of letters": (lambda: Categorical("act", "relu"), "act"),
    "choices in no order": (lambda: Categorical("act", {"relu", "tanh"}), "act"),
    "a condition without values": (lambda: Real("lr", 1e-4, 1.0, only_if="kind"), "lr"),
    "a space of a mapping": (lambda: SearchSpace({"lr": LR}), "parameters"),
    "a space of one": (lambda: SearchSpace(LR), "parameters"),
    "a space of classes": (lambda: SearchSpace([Real]), "parameters"),
    "an empty space": (lambda: SearchSpace([]), "parameters"),
    "a space of nothing": (lambda: SearchSpace(None), "parameters"),
    "one name twice": (lambda: SearchSpace([LR, LR]), "parameters"),
    "a sampler's class": (lambda: ASHA(SPACE, sampler=Uniform), "sampler"),
    "an unknown sampler": (lambda: ASHA(SPACE, sampler="tpe"), "sampler"),
    "a sampler of one argument": (lambda: ASHA(SPACE, sampler=lambda space: None), "sampler"),
    "units of text": (lambda: ASHA(SPACE, max_units="27"), "max_units"),
    "half a trial": (lambda: ASHA(SPACE, max_trials=2.5), "max_trials"),
    "an optimizer that is no rule": (
        lambda: ModuleLoss(model, (X, Y), loss, optimizer=torch.optim.Adam),
        "optimizer",
    ),
    "an optimizer's own class": (lambda: ModuleLoss(model, (X, Y), loss, optimizer=AdamW), "optimizer"),
    "a model that is built": (lambda: ModuleLoss(nn.Linear(5, 2), (X, Y), loss), "model"),
    "a loss that is a module": (lambda: ModuleLoss(model, (X, Y), nn.CrossEntropyLoss()), "loss"),
}


PARTS |= {
    f"{name} over a list": (lambda name=name: build("scheduler", {"name": name}, space=[LR]), "space")
    for name in REGISTRY["scheduler"]
}


TABLE = {
    **{f"tune: {what}": row for what, row in TUNE.items()},
    **{f"engine: {what}": row for what, row in ENGINES.items()},
    **{f"part: {what}": row for what, row in PARTS.items()},
}


def refused(make, argument):
    """Hold that `make` is refused in one line with the argument, the value and a remedy; return the line."""
    with pytest.raises(InvalidArgumentError) as error:
        make()
    line = str(error.value)
    assert line.startswith(f"{argument}: ") and "\n" not in line, line
    told = "but got" in line or "but raised" in line or "must be importable" in line or "readable" in line
    assert told and (";" in line), line
    return line


@pytest.mark.parametrize("row", TABLE)
def test_a_wrong_argument_is_refused_at_once_in_one_line(row):
    refused(*TABLE[row])


def test_the_table_is_long_enough():
    assert len(TABLE) >= 60


@pytest.mark.parametrize("warm_start", ["informed", {"name": "informed"}, Informed(), "ohgw", OHGW()])
@pytest.mark.parametrize(
    "scheduler",
    [
        {"name": "random", "max_trials": 2, "max_units": 1},
        search(),
        search(SearchSpace([MOMENTUM, LR])),  # the order of a space is no other space
        search(SearchSpace([LR, MOMENTUM])),
    ],
)
def test_what_is_right_is_a_study_with_its_warm_start(warm_start, scheduler):
    done = tune(Line(), scheduler, seed=0, warm_start=warm_start, engine="population", budget=math.inf)
    nudges = [trial.nudge for trial in done.history.trials]
    assert len(nudges) == 2 and not any(nudge.flagged for nudge in nudges)
    assert {nudge.policy for nudge in nudges} <= {"informed", "literal"} and done.warnings == ()


def test_streams_of_any_whole_seed():
    for seed in (-1, 0, 2**70):
        assert Streams(seed)("config", 0).random() == Streams(seed)("config", 0).random()
