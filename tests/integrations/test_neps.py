"""The optimizer is asked what it learned, and answers with the nudged values."""

import pytest

pytest.importorskip("neps", reason="NePS needs an environment of its own: see docs/integrations.md")

import neps

from hypernudge import CurvatureBand, Informed, ModuleLoss
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations.neps import declared, fidelity, warm_started
from hypernudge.space import Categorical, Integer, Real
from tests.integrations.helpers import (
    Tenfold,
    X,
    Y,
    flat_loss,
    model,
    near_the_best,
    past_prior,
    score,
    training,
)

pytestmark = pytest.mark.filterwarnings("default")


class Space(neps.PipelineSpace):
    lr = neps.Float(1e-4, 1.0, log=True)
    momentum = neps.Float(0.0, 0.99)
    width = neps.Integer(4, 16)
    act = neps.Categorical(["relu", "tanh"])
    epochs = neps.IntegerFidelity(1, 9)


class Flat(neps.PipelineSpace):
    lr = neps.Float(1e-4, 1.0, log=True)
    act = neps.Categorical(["relu", "tanh"])


CLASSIC = neps.SearchSpace(
    {
        "lr": neps.HPOFloat(1e-4, 1.0, log=True),
        "act": neps.HPOCategorical(["relu", "tanh"]),
        "epochs": neps.HPOInteger(1, 9, is_fidelity=True),
        "constant": neps.HPOConstant(3),
    }
)
CASES = {
    "hyperband": (neps.algorithms.hyperband, Space()),
    "asha": (neps.algorithms.asha, Space()),
    "priorband": (neps.algorithms.priorband, CLASSIC),
    "neps_hyperband": (neps.algorithms.neps_hyperband, Space()),
    "neps_random_search": (neps.algorithms.neps_random_search, Flat()),
    "random_search": (neps.algorithms.random_search, Flat()),
    "bayesian_optimization": (neps.algorithms.bayesian_optimization, Flat()),
}


def plain(config):
    """Names and numbers, whichever form NePS wrote them in."""
    return {key.removeprefix("SAMPLING__Resolvable.").split("::")[0]: value for key, value in config.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_optimizer_learns_the_nudged_point_and_promotions_inherit_it(name):
    algorithm, space = CASES[name]
    shown = []
    inner = algorithm(space)

    class Spy:
        """What NePS hands its optimizer is all that it can learn from."""

        def __call__(self, trials, budget_info, n=None):
            shown.append({key: dict(trial.config) for key, trial in trials.items()})
            return inner(trials, budget_info, n)

    ask = warm_started(Spy(), training(), space, warm_start=Tenfold())
    tuner = neps.AskAndTell(optimizer=ask)
    started, promoted = {}, 0
    for _ in range(14):
        trial = tuner.ask()
        config = plain(trial.config)
        previous = trial.metadata.previous_trial_id
        if previous is None:
            known = ask.history.trials[-1]
            assert config["lr"] == known.config["lr"] == min(known.sampled["lr"] * 10, 1.0)
        else:
            promoted += 1
            assert config["lr"] == started[previous]
        started[trial.id] = config["lr"]
        tuner.tell(trial, score(config))
    assert {key: plain(config)["lr"] for key, config in shown[-1].items()}.items() <= started.items()
    assert promoted + len(ask.history.trials) == 14
    assert (promoted > 0) == ("hyperband" in name or name in ("asha", "priorband"))
    scores = [max(trial.milestones.values()) for trial in ask.history.trials[:-1] if trial.milestones]
    assert scores and all(value <= 0 for value in scores)


def test_several_at_once_and_equal_seeds():
    def run():
        ask = warm_started(
            neps.algorithms.random_search(Flat()), training(), Flat(), warm_start=CurvatureBand(batch_size=32)
        )
        import torch

        torch.manual_seed(0)
        configs = neps.AskAndTell(optimizer=ask).ask(n=6)
        return ask.history.as_table(), [dict(trial.config) for trial in configs]

    (table, configs), again = run(), run()
    assert (table, configs) == again
    assert [entry["nudged"]["lr"] for entry in table] == [config["lr"] for config in configs]
    assert any(entry["nudged"] != entry["sampled"] for entry in table)


def test_a_failed_measurement_leaves_the_values_and_says_so(caplog):
    ask = warm_started(neps.algorithms.asha(Space()), ModuleLoss(model, (X, Y), flat_loss), Space())
    trial = neps.AskAndTell(optimizer=ask).ask()
    assert ask.history.trials[0].nudge.flagged and trial.config["lr"] == ask.history.trials[0].sampled["lr"]
    assert "the probe was not finite" in caplog.text


class Rich(neps.PipelineSpace):
    lr = neps.Float(1e-4, 1.0, log=True)
    weight_decay = neps.Categorical([None, 1e-4])
    sizes = neps.Categorical([[64, 64], [128], [64, 64]])
    arch = neps.Categorical([{"kind": "mlp"}, {"kind": "cnn"}])


@pytest.mark.parametrize("algorithm", [neps.algorithms.neps_random_search])
def test_choices_are_kept_as_they_are(algorithm):
    ask = warm_started(algorithm(Rich()), training(), Rich())
    tuner = neps.AskAndTell(optimizer=ask)
    for _ in range(8):
        trial = tuner.ask()
        config = plain(trial.config)
        known = ask.history.trials[-1]
        assert not known.nudge.flagged, known.nudge.reason
        assert known.config["lr"] == config["lr"]
        for name, choices in {"sizes": [[64, 64], [128], [64, 64]], "weight_decay": [None, 1e-4]}.items():
            assert known.config[name] == choices[config[name]]
        tuner.tell(trial, score(config))


class Narrow(neps.PipelineSpace):
    lr = neps.Float(1e-4, 1e-2, log=True)
    act = neps.Categorical(["relu", "tanh"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: warm_started(neps.algorithms.random_search(Flat()), training(), Narrow()),
            r"^space\.lr: must be",
        ),
        (
            lambda: warm_started(neps.algorithms.grid_search(Flat()), training(), Flat()),
            "^optimizer: must draw",
        ),
        (lambda: warm_started("asha", training(), Flat()), "^optimizer: must be an optimizer"),
        (
            lambda: warm_started(warm_started(lambda *_: None, training(), Flat()), training(), Flat()),
            "^optimizer: must not be nudged already",
        ),
        (lambda: warm_started(lambda *_: None, training(), Flat(), warm_start="informd"), "'informed'"),
        (lambda: warm_started(lambda *_: None, training(), Flat(), warm_start=CurvatureBand), "an instance"),
        (lambda: warm_started(lambda *_: None, training(), Flat(), seed="x"), "^seed: "),
    ],
)
def test_what_cannot_work_is_refused_at_once(make, message):
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_spaces():
    space = declared(Space())
    assert space.parameters == {
        "lr": Real("lr", 1e-4, 1.0, log=True),
        "momentum": Real("momentum", 0.0, 0.99),
        "width": Integer("width", 4, 16),
        "act": Categorical("act", ("relu", "tanh")),
    }
    assert set(declared(CLASSIC).parameters) == {"lr", "act"}
    assert fidelity(Flat()) == (None, None) and fidelity(Space())[1] == 9
    with pytest.raises(InvalidArgumentError, match=r"space: must be a neps\.PipelineSpace"):
        declared([1, 2])


def test_a_prior_of_past_studies_needs_no_objective(tmp_path):
    policy = Informed(prior=past_prior(tmp_path))
    space = Flat()
    optimizer = warm_started(neps.algorithms.random_search(space), None, space, warm_start=policy)
    asked = [plain(optimizer({}, None).config) for _ in range(16)]
    assert near_the_best(asked) >= 5  # nothing is learned: half stay as sampled
