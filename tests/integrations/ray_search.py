"""The search that the tests of Ray Tune share."""

import pytest

pytest.importorskip("ray", reason="Ray Tune is an extra: install hypernudge[ray-tune]")

from ray import tune

from tests.integrations.helpers import (
    score,
)

SPACE = {
    "lr": tune.loguniform(1e-4, 1.0),
    "momentum": tune.uniform(0.0, 0.99),
    "act": tune.choice(["relu", "tanh"]),
    "epochs": 3,
}


def run(search, n, space=SPACE, first=0):
    """Run `n` trials of three results each, as Tune's controller does; return their configurations."""
    search.set_search_properties("loss", "min", space)
    configs = []
    for number in range(first, first + n):
        config = search.suggest(f"t{number}")
        for iteration in (1, 2, 3):
            result = {"loss": score(config), "training_iteration": iteration}
            search.on_trial_result(f"t{number}", result)
        search.on_trial_complete(f"t{number}", result)
        configs.append(config)
    return configs
