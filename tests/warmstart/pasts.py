"""Past studies for tests: ranks of a known function of a small space."""

import numpy as np

from hypernudge import Categorical, Integer, Real, SearchSpace
from hypernudge.warmstart.past.studies import PastTrial, past_study

SPACE = SearchSpace(
    [
        Real("rate", 1e-4, 1.0, log=True),
        Integer("depth", 2, 12),
        Real("share", 0.3, 1.0),
        Categorical("kind", ("a", "b", "c")),
    ]
)
BEST = {"rate": 0.7, "depth": 0.4, "share": 0.6}


def score(config, best=BEST, space=SPACE, pair=0.0):
    """Best where each number lies at its place in `best`, and the kind is b."""
    at = {name: space[name].encode(config[name]) - place for name, place in best.items()}
    total = -3.0 * at["rate"] ** 2 - 1.5 * at["depth"] ** 2 - at["share"] ** 2
    return total + 0.3 * (config["kind"] == "b") + pair * at["rate"] * at["depth"]


def tried(seed=0, n=64, scored=score, space=SPACE, units=(9,)):
    """The trials of a random search."""
    rng = np.random.default_rng(seed)
    configs = [space.sample(rng) for _ in range(n)]
    return [PastTrial(dict(config), {unit: scored(config) for unit in units}) for config in configs]


def study(task="t0", seed=0, n=64, scored=score, space=SPACE, **options):
    """A random search's past study."""
    options.setdefault("log", ("rate",))
    return past_study(task, tried(seed, n, scored, space), **options)


def opposite(config):
    """A task whose good values are bad ones elsewhere."""
    return score(config, {"rate": 0.05, "depth": 0.95, "share": 0.05}) - 0.6 * (config["kind"] == "b")
