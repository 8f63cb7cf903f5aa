"""hypernudge steers hyper-parameters with what training already knows, and proves whether that helped.

    from hypernudge import ASHA, GradientTask, Informed, Real, SearchSpace, tune

    study = tune(task, ASHA(task.space), warm_start=Informed(), seed=0, budget=60.0, workers=4)
    trial, unit = study.best()

    from hypernudge import AEES  # episodes: adapt learning rate and gradient noise of a running optimizer

Names are imported when they are first used, so that `import hypernudge` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from hypernudge.engine.population import PopulationEngine as PopulationEngine
    from hypernudge.engine.workers.processes import ProcessEngine as ProcessEngine
    from hypernudge.engine.workers.ray import RayEngine as RayEngine
    from hypernudge.episodes import AEES as AEES
    from hypernudge.episodes import EpisodicScheduler as EpisodicScheduler
    from hypernudge.optimizers import SGD as SGD
    from hypernudge.optimizers import AdamW as AdamW
    from hypernudge.random import Streams as Streams
    from hypernudge.schedulers.asha import ASHA as ASHA
    from hypernudge.schedulers.asha_stopping import StoppingASHA as StoppingASHA
    from hypernudge.schedulers.base import Done as Done
    from hypernudge.schedulers.base import Resume as Resume
    from hypernudge.schedulers.base import Scheduler as Scheduler
    from hypernudge.schedulers.base import Start as Start
    from hypernudge.schedulers.base import Wait as Wait
    from hypernudge.schedulers.bohb import BOHB as BOHB
    from hypernudge.schedulers.boil import BOIL as BOIL
    from hypernudge.schedulers.dyhpo import DyHPO as DyHPO
    from hypernudge.schedulers.halving import SuccessiveHalving as SuccessiveHalving
    from hypernudge.schedulers.hyperband import Hyperband as Hyperband
    from hypernudge.schedulers.one_epoch import OneEpoch as OneEpoch
    from hypernudge.schedulers.pasha import PASHA as PASHA
    from hypernudge.schedulers.random import RandomSearch as RandomSearch
    from hypernudge.space import Categorical as Categorical
    from hypernudge.space import Config as Config
    from hypernudge.space import Integer as Integer
    from hypernudge.space import Real as Real
    from hypernudge.space import SearchSpace as SearchSpace
    from hypernudge.study.study import Study as Study
    from hypernudge.suggestion.result import Suggestion as Suggestion
    from hypernudge.suggestion.suggest import suggest as suggest
    from hypernudge.task import GradientTask as GradientTask
    from hypernudge.task import Task as Task
    from hypernudge.tasks.module.loss import ModuleLoss as ModuleLoss
    from hypernudge.tasks.module.task import ModuleTask as ModuleTask
    from hypernudge.trial import Nudge as Nudge
    from hypernudge.tuner import tune as tune
    from hypernudge.warmstart.base import WarmStart as WarmStart
    from hypernudge.warmstart.policies.curvature_band import CurvatureBand as CurvatureBand
    from hypernudge.warmstart.policies.informed import Informed as Informed
    from hypernudge.warmstart.policies.ohgw import OHGW as OHGW
    from hypernudge.warmstart.policies.probe_band import ProbeBand as ProbeBand
    from hypernudge.warmstart.policies.random_step import RandomStep as RandomStep

_HOME = {
    "PopulationEngine": "engine.population",
    "ProcessEngine": "engine.workers.processes",
    "RayEngine": "engine.workers.ray",
    "AEES": "episodes",
    "EpisodicScheduler": "episodes",
    "AdamW": "optimizers",
    "SGD": "optimizers",
    "ASHA": "schedulers.asha",
    "StoppingASHA": "schedulers.asha_stopping",
    "BOHB": "schedulers.bohb",
    "BOIL": "schedulers.boil",
    "DyHPO": "schedulers.dyhpo",
    "SuccessiveHalving": "schedulers.halving",
    "Hyperband": "schedulers.hyperband",
    "OneEpoch": "schedulers.one_epoch",
    "PASHA": "schedulers.pasha",
    "RandomSearch": "schedulers.random",
    "Done": "schedulers.base",
    "Resume": "schedulers.base",
    "Scheduler": "schedulers.base",
    "Start": "schedulers.base",
    "Wait": "schedulers.base",
    "Streams": "random",
    "Categorical": "space",
    "Config": "space",
    "Integer": "space",
    "Real": "space",
    "SearchSpace": "space",
    "GradientTask": "task",
    "Task": "task",
    "ModuleLoss": "tasks.module.loss",
    "ModuleTask": "tasks.module.task",
    "Nudge": "trial",
    "Study": "study.study",
    "Suggestion": "suggestion.result",
    "suggest": "suggestion.suggest",
    "tune": "tuner",
    "WarmStart": "warmstart.base",
    "CurvatureBand": "warmstart.policies.curvature_band",
    "Informed": "warmstart.policies.informed",
    "OHGW": "warmstart.policies.ohgw",
    "ProbeBand": "warmstart.policies.probe_band",
    "RandomStep": "warmstart.policies.random_step",
}
_HOME_OF_FORMER = {"Literal": _HOME["OHGW"]}  # modules that know a former name themselves

__all__ = sorted(_HOME)  # noqa: PLE0605 -- a list of strings, built from the one table above


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    home = _HOME.get(name) or _HOME_OF_FORMER.get(name)
    if home is None:
        raise AttributeError(f"module 'hypernudge' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hypernudge.{home}"), name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hypernudge")
    except PackageNotFoundError:  # a source tree that nobody installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, "__version__"])
