"""Controls of `informed` on boosted trees: the winners of past tables, and cheapness alone.

In YAML: `warm_start: {name: "benchmarks.warm_starts.past_controls:PastWinners"}`. It knows the shipped past
of XGBoost without the table that is tuned, as `informed` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.task import Task
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.past import file as past_files
from hypernudge.warmstart.past.studies import ABSENT, PastStudy
from hypernudge.warmstart.policies.informed import family_of


@dataclass(frozen=True)
class PastWinners:
    """Starts each past table's best configuration, in random order, and then what is sampled.

    That is what a user does by hand: enqueue what won before.

    Args:
        prior: A file of past studies, or the name of one that is shipped.
    """

    name: ClassVar[str] = "past_winners"
    prior: str = "xgboost"

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the next winner, or `sampled` where none is left."""
        file, number = past_files.load(self.prior), len(history.trials)
        assert file is not None
        winners = [best_of(study) for study in file.without([family_of(task)])]
        order = streams("past winners").permutation(len(winners))
        if number >= len(order):
            return Nudge(sampled, self.name, reason="no winner is left: left as sampled", kind="passthrough")
        config = sampled.replace(**winners[order[number]])
        return Nudge(config, self.name, changed=config != sampled, reason="a past winner", kind="prior")


def best_of(study: PastStudy) -> dict[str, object]:
    """Return the configuration that was best after the longest training."""
    best = int(np.argmax(study.scores[-1]))
    return {name: column[best] for name, column in study.columns.items() if column[best] != ABSENT}


@dataclass(frozen=True)
class Cheaper:
    """Starts a draw of the space that is the likelier the cheaper it is; nothing of the past is known.

    Args:
        exponent: A draw is chosen in proportion to its stated cost to minus this power.
        candidates: Draws that are chosen among.
    """

    name: ClassVar[str] = "cheaper"
    exponent: float = 0.5
    candidates: int = 256

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the draw."""
        rng = streams("cheaper", len(history.trials))
        units = task.space.draw(rng, self.candidates)
        configs = [sampled, *(task.space.decode(unit) for unit in units[1:])]
        cost = np.log([task.unit_flops(config) for config in configs])
        config = configs[int(np.argmax(rng.gumbel(size=len(configs)) - self.exponent * cost))]
        return Nudge(config, self.name, changed=config != sampled, reason="cheap by chance", kind="prior")
