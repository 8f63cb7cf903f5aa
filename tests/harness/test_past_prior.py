"""`hypernudge prior build` from every kind of recorded study, and what a warm start makes of it."""

import gzip
import json
import math
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml

from hypernudge import RandomSearch, cli, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.inspection.past_prior import build_past, features_for, space_of
from hypernudge.harness.inspection.past_sources import Reading, kind_of
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.results.jsonio import plain
from hypernudge.warmstart.past.file import load
from hypernudge.warmstart.past.studies import ABSENT
from tests.warmstart.pasts import SPACE, score, tried
from tests.warmstart.test_past_choice import formula

TASK = """
import math
from hypernudge import Categorical, Integer, Real, SearchSpace

class Box:
    name, metric, metric_range, family = "box", "score", (-math.inf, math.inf), "boxes"
    space = SearchSpace([Real("rate", 1e-4, 1.0, log=True), Integer("depth", 2, 12)])
    def start(self, seed): return [0]
    def advance(self, state, hp):
        state[:] = [-abs(math.log10(hp["rate"]) + 1.2) - 0.05 * abs(hp["depth"] - 6)]
        return True
    def evaluate(self, state, split): return state[0]
    def unit_flops(self, hp): return 1.0
"""


def built(capsys, *arguments):
    code = cli.main(["prior", "build", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def results(folder, monkeypatch, seeds=(0, 1)):
    """Cells of `hypernudge run` with a task of one's own that has no gradient and no rate."""
    (folder / "my_box.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("my_box", None)
    common = {
        "task": {"name": "my_box:Box", "label": "box"},
        "scheduler": {"name": "random", "max_units": 2, "max_trials": 20},
        "warm_start": "none",
        "budget": {"units": 100},
        "target": 0.0,
        "seeds": list(seeds),
    }
    (folder / "study.yaml").write_text(yaml.safe_dump({"common": common, "variations": {"one": {}}}))
    plan = load_plan(folder / "study.yaml")
    (folder / "plan.json").write_text(json.dumps(plan.as_dict()))
    for variation in plan.variations:
        for seed in seeds:
            run_cell(variation, seed, folder / variation.run_id)
    return folder


def table(path, trials, task="t", **columns):
    rows = [
        {"task": task, "variation": "v", "seed": 0, "time": 100 * i + unit, "score": value, "trial": i}
        | {f"config.{name}": v for name, v in trial.config.items()}
        | columns
        for i, trial in enumerate(trials)
        for unit, value in trial.scores.items()
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def optuna_storage(path, trials, minimise=True):
    optuna = pytest.importorskip("optuna", reason="reading Optuna studies needs hypernudge[optuna]")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    of = optuna.distributions
    distributions = {
        "rate": of.FloatDistribution(1e-4, 1.0, log=True),
        "depth": of.IntDistribution(2, 12),
        "share": of.FloatDistribution(0.3, 1.0),
        "kind": of.CategoricalDistribution(["a", "b", "c"]),
    }
    direction = "minimize" if minimise else "maximize"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="mine-tpe-0", direction=direction)
    sign = -1.0 if minimise else 1.0
    for trial in trials:
        value = sign * trial.scores[9]
        found = optuna.trial.create_trial(params=trial.config, distributions=distributions, value=value)
        study.add_trial(found)
    states = optuna.trial.TrialState
    middle = dict(SPACE.middle())
    study.add_trial(
        optuna.trial.create_trial(
            params=middle,
            distributions=distributions,
            state=states.PRUNED,
            intermediate_values={0: sign * -9.0},
        )
    )
    study.add_trial(optuna.trial.create_trial(params=middle, distributions=distributions, state=states.FAIL))
    return path


def ray_experiment(folder, trials, minimise=True):
    for i, trial in enumerate(trials):
        own = folder / "mine" / f"trial_{i}"
        own.mkdir(parents=True)
        config = {
            "rate": trial.config["rate"],
            "tree": {k: v for k, v in trial.config.items() if k != "rate"},
        }
        value = -trial.scores[9] if minimise else trial.scores[9]
        line = {"timestamp": 1000 + i, "time_total_s": 1.0, "trial_id": str(i), "training_iteration": 1}
        (own / "result.json").write_text(json.dumps(line | {"loss": value, "config": config}) + "\n")
    return folder / "mine"


def syne_experiment(folder, trials):
    folder.mkdir(parents=True)
    rows = [
        {"loss": -t.scores[9], "trial_id": i, "st_tuner_time": float(i)}
        | {f"config_{name}": value for name, value in t.config.items()}
        for i, t in enumerate(trials)
    ]
    with zipfile.ZipFile(folder / "results.csv.zip", "w") as archive:
        archive.writestr("results.csv", pd.DataFrame(rows).to_csv(index=False))
    meta = {"metric_names": ["loss"], "metric_mode": "min", "benchmark": "mine", "algorithm": "RS", "seed": 0}
    (folder / "metadata.json").write_text(json.dumps(meta))
    return folder


def expected(trials):
    return [t.scores[9] for t in trials]


def same_order(study, trials):
    """Whether a study ranks its first trials as their scores do."""
    return np.corrcoef(study.scores[-1][: len(trials)], expected(trials))[0, 1] > 0.8


def test_cells_of_a_task_of_ones_own(tmp_path, monkeypatch, capsys):
    folder = results(tmp_path, monkeypatch)
    out = tmp_path / "prior.json"
    code, rows, _ = built(capsys, folder, "--output", out)
    assert code == 0
    (row,) = rows
    assert row["task"] == "box" and row["family"] == "boxes" and row["configurations"] == 40
    assert row["hyper_parameters"] == ["rate", "depth"] and row["agreement"] > 0.5
    assert load(str(out)).provenance["sources"][0]["studies"] == 2
    assert features_for([str(folder)], None) == "space"


def test_a_kept_study(tmp_path, capsys):
    search = RandomSearch(SPACE, max_trials=20)
    task = formula()
    task.family = "formulas"
    tune(task, search, seed=3, study=tmp_path / "kept")
    code, rows, _ = built(capsys, tmp_path / "kept", "--output", tmp_path / "prior.json")
    assert code == 0 and rows[0]["task"] == "formula" and rows[0]["configurations"] == 20
    (study,) = load(str(tmp_path / "prior.json")).studies
    assert study.log == ("rate",) and study.family == "formulas"
    values = [
        score(dict(zip(study.columns, row, strict=True))) for row in zip(*study.columns.values(), strict=True)
    ]
    assert np.argmax(values) == np.argmax(study.scores[-1])


def test_a_kept_study_that_minimises_counts_the_other_way(tmp_path, capsys):
    search = RandomSearch(SPACE, max_trials=20)
    loss = formula(scored=lambda config: -score(config))
    tune(loss, search, seed=3, study=tmp_path / "kept", direction="minimize")
    assert built(capsys, tmp_path / "kept" / "study.jsonl", "--output", tmp_path / "prior.json")[0] == 0
    (study,) = load(str(tmp_path / "prior.json")).studies
    values = [
        score(dict(zip(study.columns, row, strict=True))) for row in zip(*study.columns.values(), strict=True)
    ]
    assert np.argmax(values) == np.argmax(study.scores[-1])


@pytest.mark.parametrize("minimise", [True, False])
def test_a_storage_of_optuna(tmp_path, capsys, minimise):
    trials = tried(n=20)
    path = optuna_storage(tmp_path / "mine.db", trials, minimise)
    code, rows, _ = built(capsys, f"sqlite:///{path}", "--output", tmp_path / "prior.json")
    assert code == 0 and rows[0]["task"] == "mine" and rows[0]["configurations"] == 22
    (study,) = load(str(tmp_path / "prior.json")).studies
    assert study.log == ("rate",) and same_order(study, trials)
    assert study.scores[-1][21] == study.scores[-1].min()  # the one that failed
    assert study.scores[-1][20] < np.sort(study.scores[-1])[10]  # the one that was pruned
    assert kind_of(str(path)) == "optuna"


def test_an_experiment_of_ray_says_no_direction(tmp_path, capsys):
    trials = tried(n=20)
    folder = ray_experiment(tmp_path, trials)
    code, _, err = built(capsys, folder, "--output", tmp_path / "prior.json")
    assert code == 2 and "--mode: must say what is better" in err and err.count("\n") == 1
    code, rows, _ = built(capsys, folder, "--mode", "min", "--output", tmp_path / "prior.json")
    assert code == 0 and rows[0]["hyper_parameters"] == ["rate", "tree/depth", "tree/share", "tree/kind"]
    (study,) = load(str(tmp_path / "prior.json")).studies
    order = [float(value) for value in study.columns["rate"]]
    by_rate = {round(t.config["rate"], 9): t.scores[9] for t in trials}
    found = [by_rate[min(by_rate, key=lambda r: abs(r - o))] for o in order]
    assert np.corrcoef(study.scores[-1], found)[0, 1] > 0.8


def test_an_experiment_of_syne_tune(tmp_path, capsys):
    trials = tried(n=20)
    folder = syne_experiment(tmp_path / "mine", trials)
    code, rows, _ = built(capsys, folder, "--output", tmp_path / "prior.json", "--family", "f")
    assert code == 0 and rows[0]["task"] == "mine" and rows[0]["family"] == "f"
    (study,) = load(str(tmp_path / "prior.json")).studies
    assert same_order(study, trials) and study.columns["kind"] == tuple(t.config["kind"] for t in trials)


def test_a_table_in_long_form(tmp_path, capsys):
    trials = tried(n=20, units=(1, 3, 9))
    trials[0].scores[9] = math.nan
    path = table(tmp_path / "past.csv", trials)
    code, rows, _ = built(
        capsys, path, "--mode", "max", "--output", tmp_path / "prior.json", "--task", "mine"
    )
    assert code == 0 and rows[0]["task"] == "mine"
    (study,) = load(str(tmp_path / "prior.json")).studies
    assert study.scores[-1][0] == study.scores[-1].min()
    assert [float(v) for v in study.columns["depth"]] == [t.config["depth"] for t in trials]


def test_a_table_may_say_units_and_families(tmp_path, capsys):
    trials = tried(n=20, units=(1, 27))
    for trial in trials:
        trial.scores[1] *= -1.0  # what leads early does not in the end
    path = table(tmp_path / "past.csv", trials, family="trees")
    frame = pd.read_csv(path)
    frame["unit"] = [unit for trial in trials for unit in trial.scores]
    frame.to_csv(path, index=False)
    (study,) = build_past([str(path)], Reading(mode="max")).studies
    assert study.family == "trees"
    assert np.allclose(study.scores[0], -study.scores[3]) and np.array_equal(study.scores[0], study.scores[1])
    frame["unit"] = 0.5
    frame.to_csv(path, index=False)
    code, _, err = built(capsys, path, "--mode", "max", "--output", tmp_path / "out.json")
    assert code == 2 and "SOURCE, row 2: unit must be a whole number" in err and err.count("\n") == 1


def test_what_other_tools_recorded_goes_through_a_table(tmp_path, capsys):
    """`hypernudge import --configurations` and `prior build` say the same as reading the storage itself."""
    store = f"sqlite:///{optuna_storage(tmp_path / 'mine.db', tried(n=20))}"
    csv = tmp_path / "past.csv"
    arguments = ["import", "optuna", store, "--output", str(csv), "--time", "count", "--configurations"]
    assert cli.main(arguments) == 0
    frame = pd.read_csv(csv)
    assert {"config.rate", "config.depth", "config.kind"} <= set(frame.columns)
    assert built(capsys, csv, "--mode", "min", "--output", tmp_path / "a.json")[0] == 0
    assert built(capsys, store, "--output", tmp_path / "b.json")[0] == 0
    one, other = (load(str(tmp_path / name)).studies[0] for name in ("a.json", "b.json"))
    assert one.columns["kind"] == other.columns["kind"][:20]
    assert np.argsort(one.scores[-1]).tolist() == [i for i in np.argsort(other.scores[-1]).tolist() if i < 20]


def test_none_is_a_value_and_an_empty_field_is_none(tmp_path):
    trials = [
        type(t)({"rate": t.config["rate"], **({"decay": None} if i % 3 else {})}, t.scores)
        for i, t in enumerate(tried(n=20))
    ]
    path = table(tmp_path / "past.csv", trials)
    text = path.read_text().replace("decay", "decay")
    frame = pd.read_csv(path, keep_default_na=False)
    frame["config.decay"] = ["None" if i % 3 else "" for i in range(20)]
    frame.to_csv(path, index=False)
    (study,) = build_past([str(path)], Reading(mode="max")).studies
    assert study.columns["decay"] == tuple("None" if i % 3 else ABSENT for i in range(20))
    assert "config.decay" in text


def test_studies_join_and_replace_their_namesakes_where_they_may(tmp_path, capsys):
    first = table(tmp_path / "a.csv", tried(0, 20), task="a")
    second = table(tmp_path / "b.csv", tried(1, 20), task="b")
    mode = ("--mode", "max")
    assert built(capsys, first, *mode, "--output", tmp_path / "one.json")[0] == 0
    grown = ("--add-to", tmp_path / "one.json", "--output", tmp_path / "two.json")
    code, rows, _ = built(capsys, second, *mode, *grown)
    assert code == 0 and [row["task"] for row in rows] == ["a", "b"] and rows[0]["agreement"] > 0.5
    again = ("--add-to", tmp_path / "two.json", "--output", tmp_path / "three.json")
    code, _, err = built(capsys, second, *mode, *again)
    assert code == 2 and "pass --replace" in err and err.count("\n") == 1
    assert built(capsys, second, *mode, *again, "--replace")[0] == 0
    with pytest.raises(InvalidArgumentError, match="SOURCE: must each be given once"):
        build_past([str(first), str(tmp_path / "." / "a.csv")], Reading(mode="max"))
    both = build_past([str(first), str(second)], Reading(mode="max", task="one"))
    assert len(both.studies) == 1 and len(both.studies[0]) == 40


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("nothing", (), "SOURCE: must hold a study"),
        ("folder", (), "SOURCE: must hold a study"),
        ("bare.csv", ("--mode", "max"), "SOURCE: must have columns config.NAME"),
        ("short.csv", ("--mode", "max"), "SOURCE: must hold finished studies of at least 8 trials"),
        ("flat.csv", ("--mode", "max"), "SOURCE: must hold finished studies of at least 8 trials"),
        ("good.csv", (), "--mode: must say what is better"),
        ("good.csv", ("--mode", "max", "--add-to", "shipped"), "--mode: is for priors on the features"),
        (
            "good.csv",
            ("--features", "space", "--mode", "max", "--add-to", "shipped"),
            "--add-to: must be a prior",
        ),
    ],
)
def test_bad_sources_are_refused_in_one_line_and_nothing_is_written(tmp_path, capsys, source, options, said):
    (tmp_path / "folder").mkdir()
    table(tmp_path / "good.csv", tried(n=20))
    table(tmp_path / "short.csv", tried(n=5))
    table(tmp_path / "flat.csv", tried(n=20, scored=lambda config: 1.0))
    bare = pd.read_csv(tmp_path / "good.csv")
    bare[["task", "variation", "seed", "time", "score"]].to_csv(tmp_path / "bare.csv", index=False)
    code, _, err = built(capsys, tmp_path / source, *options, "--output", tmp_path / "out.json")
    assert code == 2 and said in err and err.count("\n") == 1, err
    assert not (tmp_path / "out.json").exists()


def test_names_that_a_space_may_use_and_a_packed_table(tmp_path, capsys):
    path = table(tmp_path / "past.csv", tried(n=20))
    packed = tmp_path / "past.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    aliases = ("--alias", "rate=lr", "--alias", "rate=learning_rate")
    assert built(capsys, packed, "--mode", "max", *aliases, "--output", tmp_path / "prior.json")[0] == 0
    file = load(str(tmp_path / "prior.json"))
    assert file.aliases == {"rate": ("lr", "learning_rate")} and len(file.studies[0]) == 20
    code, _, err = built(capsys, path, "--mode", "max", "--alias", "rate", "--output", tmp_path / "x.json")
    assert code == 2 and "--alias: must be NAME=OTHER" in err
    packed.write_bytes(b"no gzip")
    code, _, err = built(capsys, packed, "--mode", "max", "--output", tmp_path / "x.json")
    assert code == 2 and "must be packed by gzip" in err and err.count("\n") == 1


def test_a_space_of_the_past_holds_all_that_was_tried(tmp_path):
    (study,) = build_past([str(table(tmp_path / "a.csv", tried(n=30)))], Reading(mode="max")).studies
    space = space_of([study])
    assert set(space.names) == {"rate", "depth", "share", "kind"}
    for name, column in study.columns.items():
        assert all(space[name].contains(value) for value in column)


def test_a_damaged_record_is_left_out_with_a_line(tmp_path, monkeypatch, capsys):
    folder = results(tmp_path, monkeypatch)
    cell = folder / "one" / "cells" / "seed-0000.json"
    record = json.loads(cell.read_text())
    record["curve"]["validation"][0] = 0.5
    cell.chmod(0o644)
    cell.write_text(json.dumps(plain(record)))
    file = build_past([str(folder)])
    assert len(file.studies[0]) == 20 and "left out: record" in capsys.readouterr().err
