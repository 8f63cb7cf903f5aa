"""XGBoost as a task: scores, cost, names, plans, cells."""

import math
import sys

import numpy as np
import pytest
import yaml

pytest.importorskip("xgboost", reason="extra tabular")
pytest.importorskip("pandas", reason="extra tabular")
pytest.importorskip("sklearn", reason="extra tabular")

from sklearn import metrics

from hypernudge import tune
from hypernudge.errors import InvalidArgumentError, MissingExtraError
from hypernudge.harness.cells.build import build_task
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.planning.shipped import shipped_files
from hypernudge.harness.running.dry_build import check_buildable
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.tasks.spaces import SPACES
from hypernudge.tasks.tabular import task as module
from hypernudge.tasks.tabular.task import XGBoostTask
from hypernudge.trial import History
from tests.harness.tools import ROOT
from tests.tasks.tabular.tools import CONFIG, SAMPLED, numbers, write

UCI = sorted(path.stem for path in (ROOT / "config" / "task" / "uci").glob("*.yaml"))
SHIPPED = ("wine", "breast_cancer", "digits", "diabetes")
REGRESSIONS = {"protein", "kin40k", "elevators", "bike", "wine_red", "concrete", "energy"}


def predicted(task, state, split="validation"):
    return task._boosters.predict(state, task._parts[split]), task.table.y[split]


def after(task, units=2, hp=CONFIG):
    state = task.start(5)
    for _ in range(units):
        assert task.advance(state, hp)
    return state


def test_scores_are_those_of_scikit_learn(tmp_path):
    task = XGBoostTask("wine")
    p, y = predicted(task, state := after(task))
    assert task.evaluate(state, "validation") == metrics.accuracy_score(y, p.argmax(1))
    task = XGBoostTask("breast_cancer", score="log_loss")
    p, y = predicted(task, state := after(task))
    assert task.evaluate(state, "validation") == pytest.approx(-metrics.log_loss(y, p), rel=1e-6)
    assert task.metric == "negative log loss" and task.metric_range == (-math.inf, 0.0)
    spec = numbers(write(tmp_path))
    task, other = (XGBoostTask(spec, problem="regression", score=score) for score in ("r2", "rmse"))
    p, y = predicted(task, state := after(task))
    assert task.evaluate(state, "validation") == pytest.approx(metrics.r2_score(y, p), rel=1e-4)
    assert task.metric == "R2" and task.metric_range == (-math.inf, 1.0)
    signals = [float(line.split(",")[-1]) for line in (tmp_path / "plain.csv").read_text().splitlines()[1:]]
    error = -other.evaluate(after(other), "validation")
    assert error == pytest.approx(metrics.root_mean_squared_error(y, p) * other.table.unit, rel=1e-4)
    assert 0 < error < np.std(signals)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "cross_entropy", "hinge"])
def test_every_loss_is_learned(loss, tmp_path):
    spec = write(tmp_path)
    regression = loss not in ("cross_entropy", "hinge")
    options = {"problem": "regression", "dataset": numbers(spec)} if regression else {"dataset": spec}
    task = XGBoostTask(**options, loss=loss)
    assert task.evaluate(after(task, 9), "test") > (0.5 if regression else 0.7)
    losses = [task.short_loss({**CONFIG, "eta": eta}, 1, 128, 0, False)[0] for eta in (0.01, 0.5)]
    assert losses[1] < losses[0] or (loss == "hinge" and losses[1] <= losses[0])  # counts errors


def test_missing_values_and_categories_reach_the_trees_as_such(tmp_path):
    task = XGBoostTask(write(tmp_path))
    trees = task.booster(task.weights(after(task, 9))).get_dump(dump_format="json")
    assert any('"split_condition": [' in tree for tree in trees)  # a set of categories
    assert all('"missing"' in tree for tree in trees if "split" in tree)


def test_a_score_that_is_not_finite_is_divergence():
    task = XGBoostTask("diabetes", fixed={"max_depth": 2}, space={"eta": {"low": 0.1, "high": 10.0}})
    study = tune(task, {"name": "random", "max_units": 200, "max_trials": 1}, seed=0, test="never")
    assert study.reports[0].outcome in ("ok", "diverged")
    state = after(task, 1, {"eta": 0.5})
    task._boosters.predict = lambda state, data: np.full(len(task.table.y["validation"]), np.inf)
    assert math.isnan(task.evaluate(state, "validation"))


def test_cost_grows_with_rounds_leaves_and_rows_and_is_declared():
    task = XGBoostTask("digits")
    base = task.unit_flops(CONFIG)
    assert XGBoostTask("digits", rounds_per_unit=6).unit_flops(CONFIG) == 2 * base
    assert task.unit_flops({**CONFIG, "max_depth": 7}) > 3 * base
    assert task.unit_flops({**CONFIG, "subsample": 0.5}) < base
    assert task.unit_flops({**CONFIG, "colsample_bytree": 0.5}) == base / 2
    rows, columns = task.table.x["train"].shape
    bins = sum(len(np.unique(column)) for column in task.table.x["train"].T)
    leaves = 2**4
    assert base == 3 * 10 * (2 * rows * columns * 4 + 16 * bins * (leaves - 1))


def test_second_names_are_the_same_values():
    second = {"learning_rate": 0.3, "reg_lambda": 1.0, "reg_alpha": 0.01, "min_split_loss": 0.001}
    kept = {n: v for n, v in CONFIG.items() if n not in ("eta", "lambda", "alpha", "gamma")}
    task = XGBoostTask("wine")
    assert task.parameters({**kept, **second}) == task.parameters(CONFIG)
    renamed = XGBoostTask("wine", space={"learning_rate": {"low": 0.01, "high": 1.0}})
    assert renamed.optimizer.effective_rate({"learning_rate": 0.2}) == 0.2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"space": {"etta": {"low": 0.1, "high": 1}}}, "^space.etta: .*did you mean 'eta'"),
        (
            {"space": {"eta": {"low": 0.1, "high": 11}}},
            r"^space.eta: must lie in \[1e-09, 10\], but got \[11",
        ),
        ({"space": {"max_depth": {"low": 1, "high": 8}}}, "^space.max_depth: must be whole"),
        ({"space": {"max_depth": {"choices": [2, 99]}}}, r"^space.max_depth: must lie in \[1, 20\]"),
        ({"space": {"grow_policy": {"choices": ["up"]}}}, "^space.grow_policy: must be among"),
        ({"fixed": {"learning_rate": 0.1}}, "^fixed.learning_rate: must be given once, but space.eta"),
        (
            {"fixed": {"subsample": 0}, "space": {"eta": {"low": 0.1, "high": 1}}},
            "^fixed.subsample: must lie",
        ),
        ({"fixed": [1]}, "^fixed: must be a mapping"),
        ({"rounds_per_unit": 0}, "^rounds_per_unit: must be a whole number"),
        ({"threads": 0}, "^threads: must be a whole number"),
        ({"max_bin": 1}, "^max_bin: must be a whole number"),
        ({"resident": 0}, "^resident: must be a whole number"),
        ({"label": 3}, "^label: must be text"),
        ({"loss": "hinge"}, "^loss: 'hinge' must have two classes, but got '3 classes'"),
        ({"dataset": "iris"}, "^dataset: must be a table"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, said):
    with pytest.raises(InvalidArgumentError, match=said) as refused:
        build("task", {"name": "xgboost", "dataset": "wine", **options})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("absent", "extra"), [("xgboost", "xgboost"), ("pandas", "pandas")])
def test_an_extra_that_is_missing_is_named_before_any_work(tmp_path, monkeypatch, absent, extra):
    spec = write(tmp_path)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=rf"needs {extra}.*pip install 'hypernudge\[tabular\]'"):
        XGBoostTask(spec)
    monkeypatch.undo()
    path = experiment(tmp_path, {"name": "xgboost", "dataset": spec})
    plan = load_plan(path)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(InvalidArgumentError, match=rf"variations.none.task: .* needs {extra}") as refused:
        check_buildable(plan)
    assert "\n" not in str(refused.value)


def experiment(folder, task, **common):
    """Write an experiment of one task."""
    shared = {
        "task": task,
        "target": 0.5,
        "scheduler": {"name": "asha", "max_units": 3},
        "budget": {"units": 9},
        "workers": 2,
        "seeds": {"first": 0, "count": 6},
        **common,
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({"name": "trees", "common": shared, "variations": {"none": {}}}))
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_a_table_of_scikit_learn_is_tuned_by_name(name, tmp_path):
    plan = load_plan(experiment(tmp_path, f"sklearn/{name}", target=0.1))
    check_buildable(plan)
    (variation,) = plan.variations
    assert variation.labels["task"] == f"{name}_xgboost"
    record = run_cell(variation, 0, tmp_path / "run")
    assert record["status"] == "completed" and record["errors"] == []
    task = build_task(variation.spec)
    assert record["declared"]["metric"] == task.metric
    low, high = record["declared"]["metric_range"]
    assert (-math.inf if low is None else low, high) == task.metric_range
    assert record["description"]["family"] == name and record["description"]["optimizer"] == "Shrinkage"
    assert record["description"]["data"]["rows"] == {part: len(y) for part, y in task.table.y.items()}
    assert None not in record["description"]["sampled"]  # `eta` is the rate
    again = run_cell(variation, 0, tmp_path / "again")
    assert again["digest"] == record["digest"]


def test_the_suite_is_there_and_ships():
    assert len(UCI) == 17 and set(UCI) > REGRESSIONS
    shipped = {path.as_posix() for path in shipped_files()}
    assert {f"task/uci/{name}.yaml" for name in UCI} | {f"task/sklearn/{n}.yaml" for n in SHIPPED} < shipped


@pytest.mark.parametrize("name", UCI)
def test_a_plan_of_the_suite_tells_its_files_and_its_score(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYPERNUDGE_DATA", raising=False)
    text = (ROOT / "config" / "task" / "uci" / f"{name}.yaml").read_text()
    described = yaml.safe_load(text)
    with pytest.raises(InvalidArgumentError, match=r"dataset\.table: must name a file that exists"):
        load_plan(experiment(tmp_path, f"uci/{name}"))
    places = [described["dataset"].get(key, []) for key in ("table", "test_table", "test_mask")]
    for place in np.hstack(places):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    (variation,) = load_plan(experiment(tmp_path, f"uci/{name}")).variations
    assert variation.spec["task"]["metric"] == ("R2" if name in REGRESSIONS else "accuracy")
    assert variation.spec["space"] == "xgboost" and variation.labels["task"] == f"{name}_xgboost"


def test_spaces_have_three_to_ten_continuous_hyper_parameters_beside_discrete_ones():
    sizes = {name: len(SPACES[name].continuous) for name in ("xgboost_three", "xgboost", "xgboost_ten")}
    assert sizes == {"xgboost_three": 3, "xgboost": 7, "xgboost_ten": 10}
    for name in sizes:
        task = XGBoostTask("wine", space=name)
        state = task.start(0)
        for number in range(3):
            hp = task.space.sample(np.random.default_rng(number))
            assert task.advance(state := task.start(0), hp) and math.isfinite(
                task.evaluate(state, "validation")
            )
            assert task.unit_flops(hp) > 0


def test_a_short_training_differs_by_its_values_alone():
    task = XGBoostTask("breast_cancer")
    first = task.short_loss(SAMPLED, 3, 128, 0, True)
    assert first == task.short_loss(SAMPLED, 3, 128, 0, True)
    assert first != task.short_loss({**SAMPLED, "eta": 0.31}, 3, 128, 0, True)
    assert first != task.short_loss(SAMPLED, 3, 128, 1, True) != task.short_loss(SAMPLED, 4, 128, 1, True)
    assert first[0] > task.short_loss(SAMPLED, 3, 128, 0, False)[0]  # of the rows that trained
    assert first == task.short_loss(SAMPLED, 3, 128, 0, True)  # whatever was measured in between


def test_all_differences_of_a_trial_share_one_subsample(monkeypatch):
    binned, counted = module._quantile, []
    task = XGBoostTask("breast_cancer")
    monkeypatch.setattr(module, "_quantile", lambda *given: counted.append(given) or binned(*given))
    literal = build("warm_start", {"name": "literal"})
    literal(task, task.space.sample(np.random.default_rng(0)), History(), Streams(0))
    assert len(counted) == 1


def test_parts_are_binned_once_in_a_process(monkeypatch, tmp_path):
    made = []
    real = module._quantile
    monkeypatch.setattr(module, "_quantile", lambda *given: made.append(given) or real(*given))
    spec = write(tmp_path)
    tasks = [XGBoostTask(spec) for _ in range(3)]
    for task in tasks:
        tune(task, {"name": "random", "max_units": 1, "max_trials": 4}, seed=0)
    assert len(made) == 1
    assert tasks[0]._parts["train"] is tasks[1]._parts["train"] and tasks[0].table is tasks[2].table
