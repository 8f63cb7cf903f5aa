"""The search is asked what it learned, and answers with the nudged values."""

import pickle
import shutil
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray Tune is an extra: install hypernudge[ray-tune]")

from optuna.samplers import RandomSampler, TPESampler
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.optuna import OptunaSearch

from hypernudge import CurvatureBand, Informed, ModuleLoss
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.importers import ray_tune as importer
from hypernudge.integrations.optuna import RECORD
from hypernudge.integrations.ray_tune import WarmStartSearch, warm_started_optuna
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
from tests.integrations.ray_search import SPACE, run

pytestmark = pytest.mark.filterwarnings("default")


def test_optunas_study_stores_the_nudged_point():
    constants = {**SPACE}
    constants.pop("epochs")
    search = warm_started_optuna(
        TPESampler, training(), SPACE, warm_start=Tenfold(), metric="loss", mode="min"
    )
    configs = run(search, 5)
    study = search._ot_study
    for trial, config in zip(study.trials, configs, strict=True):
        assert trial.params["lr"] == config["lr"] == min(trial.user_attrs[RECORD]["sampled"]["lr"] * 10, 1.0)
        assert trial.value == pytest.approx(score(config))
    assert set(study.trials[0].params) == {"lr", "momentum", "act"}


def test_optunas_search_can_be_saved_with_lambdas_in_it(tmp_path):
    source = ModuleLoss(
        lambda hp: model(hp), (X, Y), lambda model, batch, hp: model(batch[0]).square().mean()
    )
    options = {"warm_start": CurvatureBand(batch_size=32), "metric": "loss", "mode": "min", "seed": 4}
    search = warm_started_optuna(RandomSampler, source, SPACE, **options)
    run(search, 4)
    search.save(str(tmp_path / "state"))
    restored = OptunaSearch(metric="loss", mode="min")
    restored.restore(str(tmp_path / "state"))
    assert run(restored, 2, first=4) == run(search, 2, first=4)


def test_random_search_draws_from_its_own_streams():
    first, second = (run(WarmStartSearch(training(), seed=2, warm_start=Tenfold()), 4) for _ in range(2))
    assert first == second != run(WarmStartSearch(training(), seed=3, warm_start=Tenfold()), 4)
    assert all(config["epochs"] == 3 for config in first)


def test_history_holds_what_was_sampled_and_what_was_trained():
    search = WarmStartSearch(training(), seed=1, warm_start=CurvatureBand(batch_size=32))
    configs = run(ConcurrencyLimiter(search, 2), 8)
    trials = search.history.trials
    assert [trial.config["lr"] for trial in trials] == [config["lr"] for config in configs]
    assert any(trial.nudge.changed for trial in trials) and not all(trial.nudge.changed for trial in trials)
    assert [bool(trial.nudge.measurements) for trial in trials] == [True] * 3 + [False] * 5
    assert trials[0].milestones == dict.fromkeys((1, 2, 3), -score(configs[0]))


def test_state_travels_in_checkpoints(tmp_path):
    options = {"seed": 1, "warm_start": CurvatureBand(batch_size=32)}
    search = WarmStartSearch(training(), **options)
    run(search, 4)
    search.on_trial_complete("t3", None, error=True)
    search.suggest("failing")
    search.on_trial_complete("failing", None, error=True)
    search.save_to_dir(str(tmp_path), "s")
    again = WarmStartSearch(training(), **options)
    again.restore_from_dir(str(tmp_path))
    assert again.history.as_table() == search.history.as_table()
    assert run(again, 3, first=5) == run(search, 3, first=5)


class Learner(Searcher):
    """A searcher of somebody's own, which keeps its configurations."""

    def __init__(self):
        super().__init__(metric="loss", mode="min")
        self.configs, self.learned, self.calls = {}, [], []

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        self.configs[trial_id] = {"lr": 1e-3, "momentum": 0.5, "act": "relu"}
        return self.configs[trial_id]

    def replace_config(self, trial_id, config):
        self.configs[trial_id] = config

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.learned.append((self.configs.pop(trial_id)["lr"], result["loss"]))

    def on_pause(self, trial_id):
        self.calls.append(("pause", trial_id))

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_bytes(pickle.dumps(self.learned))

    def restore(self, checkpoint_path):
        self.learned = pickle.loads(Path(checkpoint_path).read_bytes())


def test_a_searcher_of_ones_own_learns_the_nudged_point(tmp_path):
    search = WarmStartSearch(training(), Learner(), warm_start=Tenfold())
    run(search, 2)
    assert search.inner.learned == [(1e-2, score({"lr": 1e-2, "momentum": 0.5}))] * 2
    search.on_pause("t0")
    assert search.inner.calls == [("pause", "t0")]
    search.save(str(tmp_path / "state"))
    other = WarmStartSearch(training(), Learner())
    other.restore(str(tmp_path / "state"))
    assert other.inner.learned == search.inner.learned


def test_bohb_learns_the_nudged_point():
    pytest.importorskip("hpbandster", reason="TuneBOHB needs hpbandster, which needs NumPy below 2")
    from ray.tune.search.bohb import TuneBOHB

    inner = TuneBOHB(metric="loss", mode="min", seed=0)
    search = WarmStartSearch(training(), inner, warm_start=Tenfold())
    search.set_search_properties("loss", "min", {name: SPACE[name] for name in ("lr", "momentum", "act")})
    for number in range(3):
        config = search.suggest(f"t{number}")
        info = {"training_iteration": 1, "hyperband_info": {"budget": 1}}
        search.on_trial_result(f"t{number}", {"loss": score(config), **info})
    position = sorted(("lr", "momentum", "act")).index("lr")
    learned = [1e-4 ** (1.0 - vector[position]) for vector in inner.bohber.configs[1]]
    assert learned == pytest.approx([trial.config["lr"] for trial in search.history.trials])
    assert any(trial.nudge.changed for trial in search.history.trials)


def test_a_failed_measurement_leaves_the_values_and_says_so(caplog):
    search = WarmStartSearch(ModuleLoss(model, (X, Y), flat_loss))
    run(search, 2)
    assert all(trial.nudge.flagged and trial.config == trial.sampled for trial in search.history.trials)
    assert "the probe was not finite" in caplog.text


class Pointed(Learner):
    """A searcher to which the user gave points to begin with, as to TuneBOHB."""

    def __init__(self):
        super().__init__()
        self._points_to_evaluate = [{"lr": 2e-3, "momentum": 0.5, "act": "relu"}]

    def suggest(self, trial_id):
        if self._points_to_evaluate:
            self.configs[trial_id] = self._points_to_evaluate.pop(0)
            return self.configs[trial_id]
        return super().suggest(trial_id)


def test_points_that_somebody_chose_are_left_alone():
    search = WarmStartSearch(training(), Pointed(), warm_start=Tenfold())
    first, second = run(search, 2)
    assert first["lr"] == 2e-3 and second["lr"] == 1e-2
    assert [trial.nudge.changed for trial in search.history.trials] == [False, True]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WarmStartSearch(training(), OptunaSearch()), "use warm_started_optuna"),
        (lambda: WarmStartSearch(training(), Searcher()), "replace_config"),
        (lambda: WarmStartSearch(training()).suggest("t"), "give the Tuner a param_space"),
        (lambda: WarmStartSearch(training(), space={"lr": tune.grid_search([1, 2])}), "grid search"),
        (lambda: WarmStartSearch(training(), space={"x": [{"grid_search": [1, 2]}]}), "grid search"),
        (lambda: WarmStartSearch(training(), warm_start="informd"), "did you mean 'informed'"),
        (lambda: WarmStartSearch(training(), warm_start=CurvatureBand), "must be an instance"),
        (
            lambda: warm_started_optuna(TPESampler, training(), {**SPACE, "x": [tune.uniform(0, 1)]}),
            "no domain inside a list",
        ),
        (lambda: WarmStartSearch(training(), space={"rate": tune.uniform(0, 1)}), "pass names="),
        # What is wrong without any space is told before there is one.
        (lambda: WarmStartSearch(score), "^objective: must be a ModuleLoss or a task"),
        (lambda: WarmStartSearch(training(), seed="0"), "^seed: must be a whole number"),
        (lambda: WarmStartSearch(training(), names=["lr"]), "^names: must map names to names"),
        (lambda: WarmStartSearch(training(), mode="minimum"), "^mode: must be 'min' or 'max'"),
        (lambda: WarmStartSearch(training(), metric=3), "^metric: must be the name of a result"),
        (lambda: WarmStartSearch(training(), Learner), "^searcher: must be an instance"),
        (lambda: WarmStartSearch(training(), WarmStartSearch(training())), "^searcher: must be None"),
        (
            lambda: WarmStartSearch(training(), space=SPACE).set_search_properties(
                "loss", "min", {**SPACE, "lr": tune.loguniform(1e-5, 1e-2)}
            ),
            r"^param_space\.lr: must be the space that is searched",
        ),
        (
            lambda: warm_started_optuna(TPESampler, training(), SPACE, metrc="loss"),
            r"^options\.metrc: .*did you mean 'metric'",
        ),
        (lambda: warm_started_optuna(TPESampler, training(), SPACE, mode="minimum"), "^mode: "),
        (lambda: warm_started_optuna(TPESampler, training(), [SPACE]), "^space: must map names to domains"),
        (lambda: warm_started_optuna("tpe", training(), SPACE), "^sampler: "),
    ],
)
def test_what_cannot_work_is_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


@pytest.mark.slow
def test_a_real_run_its_checkpoint_and_its_import(tmp_path, monkeypatch):
    import ray

    for name, value in {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    }.items():
        monkeypatch.setenv(name, value)

    def train(config):
        import math

        for _ in range(3):
            tune.report({"loss": abs(math.log10(config["lr"]) + 1.0)})

    search = WarmStartSearch(training(), seed=1, warm_start=CurvatureBand(batch_size=32))
    asha = tune.schedulers.ASHAScheduler(max_t=3, reduction_factor=2)
    # Its sockets are there, too, whose paths the system limits.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    quiet = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
    ray.init("local", num_cpus=1, _temp_dir=folder, **quiet)
    try:
        config = tune.TuneConfig(
            metric="loss", mode="min", num_samples=5, search_alg=search, scheduler=asha, reuse_actors=True
        )
        where = tune.RunConfig(name="digits-asha-3", storage_path=str(tmp_path), verbose=0)
        results = tune.Tuner(train, param_space=SPACE, tune_config=config, run_config=where).fit()
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    trained = {result.config["lr"] for result in results}
    restored = WarmStartSearch(training(), seed=1)
    restored.restore_from_dir(str(tmp_path / "digits-asha-3"))
    assert {trial.config["lr"] for trial in restored.history.trials} == trained
    assert any(trial.nudge.changed for trial in restored.history.trials)
    (imported,) = importer.read(str(tmp_path), "loss")
    assert imported.name == "digits-asha-3"
    assert {score.value for score in imported.scores} == {
        value for result in results for value in result.metrics_dataframe["loss"]
    }
    assert all(imported.begun <= score.at for score in imported.scores)


@pytest.mark.parametrize("inner", ["random", "optuna"])
def test_a_prior_of_past_studies_needs_no_objective(tmp_path, inner):
    policy = Informed(prior=past_prior(tmp_path))
    if inner == "random":
        search = WarmStartSearch(None, warm_start=policy)
    else:
        search = warm_started_optuna(TPESampler, None, SPACE, warm_start=policy, metric="loss", mode="min")
    assert near_the_best(run(search, 16)) >= 8
    with pytest.raises(InvalidArgumentError, match="objective: must be there"):
        WarmStartSearch(None)
