"""The same in the tools that warm starts are added to: no wrong argument is a search without its warm start.

What a tool's package is needed for is skipped where that is not installed.
"""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from hypernudge import (
    Informed,
    ModuleLoss,
)
from hypernudge.errors import InvalidArgumentError
from tests.conftest import Bowl
from tests.integrations.helpers import model, training
from tests.laws.line import LR, SPACE, WARM_STARTS, Line

TOOLS = [tool for tool in ("optuna", "ray", "syne_tune", "neps") if find_spec(tool)]


def nudged(tool, **change):
    """Return a first trial's nudge in a tool, some arguments of the warm start changed."""
    arguments = {"objective": change.pop("objective", None) or training(), **change}
    objective = arguments.pop("objective")
    if tool == "optuna":
        import optuna
        from optuna.distributions import FloatDistribution

        from hypernudge.integrations.optuna import RECORD, WarmStartSampler

        space = {"lr": FloatDistribution(1e-4, 1.0, log=True), "momentum": FloatDistribution(0.0, 0.9)}
        space = arguments.pop("space", space)
        sampler = WarmStartSampler(optuna.samplers.RandomSampler, objective, space, **arguments)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=sampler)
        study.ask(space)
        return study.trials[0].user_attrs[RECORD]["flagged"]
    if tool == "ray":
        from ray import tune as ray

        from hypernudge.integrations.ray_tune import WarmStartSearch

        space = {"lr": ray.loguniform(1e-4, 1.0), "momentum": ray.uniform(0.0, 0.9)}
        found = WarmStartSearch(objective, **{"space": space, **arguments})
    elif tool == "syne_tune":
        from syne_tune.config_space import loguniform, uniform
        from syne_tune.optimizer.baselines import RandomSearch as Random

        from hypernudge.integrations.syne_tune import warm_started

        space = {"lr": loguniform(1e-4, 1.0), "momentum": uniform(0.0, 0.9)}
        found = warm_started(
            Random(space, metrics=["loss"]), objective, arguments.pop("space", space), **arguments
        )
    else:
        import neps

        from hypernudge.integrations.neps import warm_started

        class Space(neps.PipelineSpace):
            lr = neps.Float(1e-4, 1.0, log=True)
            momentum = neps.Float(0.0, 0.9)

        found = warm_started(
            neps.algorithms.random_search(Space()), objective, arguments.pop("space", Space()), **arguments
        )
    if tool == "neps":
        neps.AskAndTell(optimizer=found).ask()
    else:
        found.suggest("0") if tool == "ray" else found.suggest()
    return found.history.trials[0].nudge.flagged


NAME_OF_SPACE = {"optuna": "space", "ray": "space", "syne_tune": "config_space", "neps": "space"}


OF_TOOLS = {
    **{f"warm start: {what}": ({"warm_start": value}, name) for what, (value, name) in WARM_STARTS.items()},
    "no seed": ({"seed": None}, "seed"),
    "a seed of text": ({"seed": "0"}, "seed"),
    "names of a list": ({"names": ["lr"]}, "names"),
    "a name for a number": ({"names": {"lr": 3}}, "names"),
    "a name that is not there": ({"names": {"rate": "lr"}}, "names"),
    "two of one name": ({"names": {"momentum": "lr"}}, "names"),
    "the policy's lr renamed": ({"names": {"lr": "rate"}}, "space"),
    "a model for an objective": ({"objective": model}, "objective"),
    "a module for an objective": ({"objective": nn.Linear(2, 2)}, "objective"),
    "a class for an objective": ({"objective": ModuleLoss}, "objective"),
    "a task's name for an objective": ({"objective": "digits_mlp"}, "objective"),
    "an optimizer that is no rule": ({"objective": Line(optimizer=torch.optim.SGD)}, "objective.optimizer"),
    "a loss that reads what is not declared": ({"objective": Bowl()}, "objective"),
    "a space of a list": ({"space": [LR]}, "SPACE"),
    "a space of ours": ({"space": SPACE}, "SPACE"),
    "a space of nothing": ({"space": {}}, "SPACE"),
    "a space of constants": ({"space": {"lr": 0.1}}, "SPACE"),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("row", OF_TOOLS)
def test_a_wrong_argument_in_a_tool_is_refused_at_once_in_one_line(row, tool):
    change, argument = OF_TOOLS[row]
    argument = NAME_OF_SPACE[tool] if argument == "SPACE" else argument
    if row == "a space of constants" and tool == "optuna":
        argument = "space.lr"
    with pytest.raises(InvalidArgumentError) as error:
        nudged(tool, **change)
    line = str(error.value)
    assert line.startswith(f"{argument}: ") and "\n" not in line and ";" in line, line


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("warm_start", ["informed", {"name": "informed"}, Informed(), None, "ohgw"])
def test_what_is_right_in_a_tool_is_nudged(warm_start, tool):
    assert not nudged(tool, warm_start=warm_start)
