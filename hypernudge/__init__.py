"""hypernudge steers hyper-parameters with what training already knows, and proves whether that helped.

    from hypernudge import ASHA, CurvatureBand, Real, SearchSpace, GradientTask, tune

    study = tune(task, ASHA(task.space), warm_start=CurvatureBand(), seed=0, budget=60.0, workers=4)
    trial, unit = study.best()

    from hypernudge import AEES  # episodes: adapt learning rate and gradient noise of a running optimizer

Names are imported when they are first used, so that `import hypernudge` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypernudge.episodes import AEES as AEES
    from hypernudge.episodes import EpisodicScheduler as EpisodicScheduler
    from hypernudge.optimizers import SGD as SGD
    from hypernudge.schedulers.asha import ASHA as ASHA
    from hypernudge.schedulers.random import RandomSearch as RandomSearch
    from hypernudge.space import Categorical as Categorical
    from hypernudge.space import Config as Config
    from hypernudge.space import Integer as Integer
    from hypernudge.space import Real as Real
    from hypernudge.space import SearchSpace as SearchSpace
    from hypernudge.task import GradientTask as GradientTask
    from hypernudge.task import Task as Task
    from hypernudge.tasks.module import ModuleLoss as ModuleLoss
    from hypernudge.tuner import Study as Study
    from hypernudge.tuner import tune as tune
    from hypernudge.warmstart.curvature_band import CurvatureBand as CurvatureBand
    from hypernudge.warmstart.literal import Literal as Literal
    from hypernudge.warmstart.random_step import RandomStep as RandomStep

_HOME = {
    "AEES": "episodes",
    "EpisodicScheduler": "episodes",
    "SGD": "optimizers",
    "ASHA": "schedulers.asha",
    "RandomSearch": "schedulers.random",
    "Categorical": "space",
    "Config": "space",
    "Integer": "space",
    "Real": "space",
    "SearchSpace": "space",
    "GradientTask": "task",
    "Task": "task",
    "ModuleLoss": "tasks.module",
    "Study": "tuner",
    "tune": "tuner",
    "CurvatureBand": "warmstart.curvature_band",
    "Literal": "warmstart.literal",
    "RandomStep": "warmstart.random_step",
}

__all__ = sorted(_HOME)  # noqa: PLE0605 -- a list of strings, built from the one table above


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hypernudge' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hypernudge.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
