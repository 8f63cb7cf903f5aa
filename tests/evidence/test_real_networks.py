"""The limit that a schedule sets, and where winners lie: numbers of the page on real networks."""

import numpy as np
import pytest
import torch

from benchmarks.real_networks import winners
from benchmarks.real_networks.first_direction import lengths
from benchmarks.real_networks.floor import RandomRanks, first_times
from benchmarks.real_networks.foretold import shortness
from hypernudge.schedulers.asha import ASHA
from hypernudge.space import Config, Real, SearchSpace
from hypernudge.tasks.module import ModuleTask


def test_one_worker_promotes_after_three_results():
    times = first_times(ASHA(RandomRanks().space, max_units=9), workers=1, budget=54.0, orders=20)
    # Three units need three trials of one; nine need three of three, of five that lead at once up to nine.
    assert np.all(times[1] == 1.0)
    assert np.all(times[3] == 5.0)
    assert times[9][0] >= 5 * 1 + 3 * 2 + 6
    assert np.median(times[9]) <= 9 * 1 + 2 * 3 + 6


def test_what_the_budget_does_not_reach_is_infinite():
    times = first_times(ASHA(RandomRanks().space, max_units=9), workers=1, budget=4.0, orders=5)
    assert np.all(np.isinf(times[3]))
    assert np.all(times[2] == 4.0)


def test_a_cell_says_in_which_unit_its_target_was_reached_and_when_it_could_have_been():
    # Budget of 12 units in 24 seconds; after three results trial 1 goes on, and reaches .5 in its third unit.
    record = {
        "cell": {"run_id": "net-none", "seed": 3, "task": "net", "warm_start": "none"},
        "declared": {
            "workers": 1,
            "budget_seconds": 24.0,
            "max_units": 9,
            "target": 0.5,
            "metric": "accuracy",
        },
        "description": {"nudged": [-3.0, -1.0, -2.0], "probe": -0.8},
        "trials": [{}, {}, {}],
        "curve": {
            "time": [2.0, 4.0, 6.0, 8.0, 10.0],
            "trial": [0, 1, 2, 1, 1],
            "unit": [1, 1, 1, 2, 3],
            "validation": [0.1, 0.3, None, 0.4, 0.5],
        },
    }
    row = winners.row(record, units=12.0)
    assert (row["reached_after"], row["reached_in_unit"], row["limit"]) == (5.0, 3, 5.0)
    assert (row["reached_rate"], row["best_score"], row["median_rate"]) == (-1.0, 0.5, -2.0)
    missed = {**record, "declared": {**record["declared"], "target": 0.6}}
    assert winners.row(missed, units=12.0)["reached_after"] is None
    shown = list(winners.points([record]))
    assert [(p["unit"], p["rate"], p["score"]) for p in shown] == [
        (1, -3.0, 0.1),
        (1, -1.0, 0.3),
        (3, -1.0, 0.5),
    ]
    # Under stopping ASHA the first trial goes on at once.
    assert winners.row(record, units=12.0, scheduler=("asha_stopping", 3))["limit"] == 3.0
    both = [
        *shown,
        *winners.points([{**record, "cell": {**record["cell"], "warm_start": "mine"}}], chosen=["mine"]),
    ]
    labels = [text.get_text() for text in winners.draw(both, {}).legends[0].get_texts()]
    assert labels[-1] == "mine starts" and "plain, unit 3" in labels
    probed = winners.probes([{"run_id": "net-none", "probe": "-0.8"}], ["net"])
    assert probed == {"net": -0.8}
    assert [axes.get_title() for axes in winners.draw(shown, probed).axes] == ["net"]


def classifier(x, y, batch_size):
    return ModuleTask(
        lambda hp: torch.nn.Linear(8, 4),
        ((x, y), (x, y)),
        lambda model, batch, hp: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        "accuracy",
        SearchSpace([Real("lr", 1e-5, 1e-1, log=True), Real("momentum", 0.5, 0.99)]),
        optimizer="adamw",
        batch_size=batch_size,
        device="cpu",
    )


def nothing_to_learn():
    drawn = torch.Generator().manual_seed(0)
    return torch.randn(256, 8, generator=drawn), torch.randint(4, (256,), generator=drawn)


CONFIG = Config({"lr": 1e-3, "momentum": 0.9})


def test_adamws_first_step_moves_every_parameter_by_the_rate_and_later_ones_less():
    found = lengths(classifier(*nothing_to_learn(), 4), CONFIG, seed=1)
    assert found[1] == pytest.approx(1.0, abs=0.01)
    assert found[50] < 0.5


def test_how_short_later_steps_are_is_seen_in_the_gradients_of_a_few_batches():
    x, y = nothing_to_learn()
    assert shortness(classifier(x, y, 256), CONFIG, seed=1) == pytest.approx(1.0)  # all batches are one
    assert 0.22 < shortness(classifier(x, y, 4), CONFIG, seed=1) < 0.6  # sqrt(.1 / 1.9) for noise alone
