import dataclasses
import json
import runpy
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hypernudge.evidence.report.formats import write_table
from hypernudge.evidence.statistics.multiplicity import holm
from hypernudge.experiments.report.commands import plot_command, report_command, table_command
from hypernudge.experiments.report.comparisons import paired_differences
from hypernudge.experiments.report.export import export_command
from hypernudge.experiments.report.figures import FIGURES
from hypernudge.experiments.report.runs import load_runs
from hypernudge.experiments.report.tables import TABLES
from hypernudge.experiments.training.results import (
    UnreadableResultError,
    load_run_result,
    save_run_result,
    schema,
)
from tests.experiments.synthetic import result_of, save_all
from tests.experiments.tools import steered, trainer_of

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "sst2_minilm"
NOISY = {"label_noise_type": "symmetric", "label_noise_rate": 0.4}


def test_a_result_survives_its_file_and_satisfies_the_published_schema(tmp_path):
    path = tmp_path / "run.json"
    result = result_of("adaptive", 3)
    save_run_result(result, path)
    assert load_run_result(path) == dataclasses.replace(result, config=json.loads(json.dumps(result.config)))
    text = path.read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(json.loads(text), schema())
    assert sorted(field.name for field in dataclasses.fields(result)) == schema()["required"]


def test_the_logs_of_a_real_run_satisfy_the_schema(tmp_path):
    trainer = trainer_of(steered(context_mode="trend", structured_control_mode="conditional"))
    trainer.run()
    episodes, controllers = trainer.stepper.logs()
    result = dataclasses.replace(result_of("adaptive"), episode_logs=episodes, controller_logs=controllers)
    save_run_result(result, tmp_path / "run.json")
    assert load_run_result(tmp_path / "run.json").episode_logs == episodes


def damaged(data):
    def without(key):
        return {name: value for name, value in data.items() if name != key}

    return {
        "is not JSON": json.dumps(data)[:-100],
        "is not the result of a run": json.dumps({"runs": []}),
        "before versions were noted": json.dumps(without("schema_version")),
        "in version 0 of the format": json.dumps({**data, "schema_version": 0}),
        "val_accuracies.1: 1.5 is greater than the maximum": json.dumps(
            {**data, "val_accuracies": [0.5, 1.5]}
        ),
        "'train_losses' is a required property": json.dumps(without("train_losses")),
        "'surprise' was unexpected": json.dumps({**data, "surprise": 1}),
        "config.lr: 0": json.dumps({**data, "config": {**data["config"], "lr": 0}}),
    }


def test_what_is_no_file_or_endless_is_named(tmp_path):
    (tmp_path / "a.json").mkdir()
    (tmp_path / "b.json").write_text("[" * 100_000)
    for name in ("a.json", "b.json"):
        with pytest.raises(UnreadableResultError, match=name):
            load_run_result(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_run_result(tmp_path / "c.json")


def test_damaged_and_older_results_are_named_and_left_out(tmp_path, capsys):
    save_run_result(result_of(), tmp_path / "good.json")
    cases = damaged(json.loads((tmp_path / "good.json").read_text()))
    for number, (message, text) in enumerate(cases.items()):
        path = tmp_path / f"bad{number}.json"
        path.write_text(text)
        with pytest.raises(UnreadableResultError) as error:
            load_run_result(path)
        assert message in str(error.value) and str(path) in str(error.value)
    (tmp_path / "again.json").write_text((tmp_path / "good.json").read_text())
    runs = load_runs([tmp_path])
    assert len(runs.runs) == 1 and len(runs.problems) == len(cases) + 1
    assert "repeats the run of" in "\n".join(runs.problems)
    assert table_command("clean", [str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("left out: ") == len(cases) + 1


def test_a_result_that_breaks_the_schema_is_not_written(tmp_path):
    with pytest.raises(UnreadableResultError, match="best_val_accuracy"):
        save_run_result(dataclasses.replace(result_of(), best_val_accuracy=1.2), tmp_path / "run.json")
    assert not list(tmp_path.iterdir())


def test_paired_differences_are_those_of_scipy(tmp_path):
    runs = load_runs([save_all(tmp_path)])
    found = [d for d in paired_differences(runs) if d.metric == "final"]
    assert [(d.variant, d.rival) for d in found] == [
        ("AdaptiveScheduler", "Baseline"),
        ("RandomScheduler", "Baseline"),
        ("AdaptiveScheduler", "RandomScheduler"),
    ]
    modes = {"AdaptiveScheduler": "adaptive", "RandomScheduler": "random", "Baseline": "baseline"}
    for d in found:
        first, second = (
            [100 * result_of(modes[name], seed).final_val_accuracy for seed in range(8)]
            for name in (d.variant, d.rival)
        )
        assert d.values == pytest.approx(np.subtract(first, second))
        assert d.p == pytest.approx(stats.wilcoxon(d.values, method="exact").pvalue)
        low, high = stats.ttest_rel(first, second).confidence_interval()
        assert (d.mean.low, d.mean.high) == pytest.approx((low, high))
    assert [d.adjusted for d in found] == pytest.approx(list(holm([d.p for d in found])))
    assert found[0].least_p == 2**-7 and found[0].adjusted < 0.05


def test_conditions_and_variants_are_told_apart_by_what_varies(tmp_path):
    save_all(tmp_path, 2)
    save_all(tmp_path, 2, **NOISY)
    save_all(tmp_path, 2, ("adaptive", "random"), episode_length=8)
    save_all(tmp_path, 2, lr=0.1)
    runs = load_runs([tmp_path])
    assert runs.conditions == (
        "CIFAR-100, net, AdamW, clean (lr=0.02)",
        "CIFAR-100, net, AdamW, clean (lr=0.1)",
        "CIFAR-100, net, AdamW, symmetric 40 %",
    )
    assert list(runs.variants(runs.conditions[0])) == [
        "Baseline",
        "AdaptiveScheduler (episode_length=4)",
        "AdaptiveScheduler (episode_length=8)",
        "RandomScheduler (episode_length=4)",
        "RandomScheduler (episode_length=8)",
    ]
    pairs = {(d.variant, d.rival) for d in paired_differences(runs) if d.condition == runs.conditions[0]}
    assert ("AdaptiveScheduler (episode_length=8)", "RandomScheduler (episode_length=8)") in pairs
    assert len(pairs) == 6
    assert len(TABLES["clean"](runs).frame) == 8 and len(TABLES["noisy"](runs).frame) == 3


def test_tables_say_what_the_results_say(tmp_path):
    save_all(tmp_path, 4)
    save_all(tmp_path, 4, **NOISY)
    runs = load_runs([tmp_path])
    clean, noisy = TABLES["clean"](runs).frame, TABLES["noisy"](runs).frame
    own = [result_of("adaptive", seed) for seed in range(4)]
    row = clean.set_index("method").loc["AdaptiveScheduler"]
    finals = np.array([100 * r.final_val_accuracy for r in own])
    assert row["final %"] == pytest.approx(finals.mean()) and row["final sd"] == pytest.approx(
        finals.std(ddof=1)
    )
    assert row["drop"] == pytest.approx(row["peak %"] - row["final %"])
    assert set(noisy["wrong labels learned %"]) == {25.0}
    arms = TABLES["arms"](runs).frame
    assert set(arms["axis"]) == {"lr"} and arms.groupby(["condition", "method"])[
        "share"
    ].sum().to_numpy() == pytest.approx(1)
    overhead = TABLES["overhead"](runs).frame.set_index("method")["time ratio"]
    assert overhead["Baseline"].tolist() == pytest.approx([1, 1])
    assert overhead["AdaptiveScheduler"].tolist() == pytest.approx([1.03, 1.03])
    assert TABLES["accuracy_per_tflop"](runs).frame["TFLOP"].unique().tolist() == [2.0]


def test_times_of_different_hardware_are_not_compared(tmp_path):
    save_all(tmp_path, 2, ("baseline",))
    for seed in range(2):
        save_run_result(result_of("adaptive", seed, hardware={"threads": 2}), tmp_path / f"other{seed}.json")
    frame = TABLES["overhead"](load_runs([tmp_path])).frame.set_index("method")
    assert frame.loc["AdaptiveScheduler", "pairs"] == 0 and np.isnan(
        frame.loc["AdaptiveScheduler", "time ratio"]
    )


def test_the_report_writes_every_table_and_figure_from_results_alone(tmp_path, capsys):
    results, out = save_all(tmp_path / "results", 2), tmp_path / "out"
    save_all(results, 2, **NOISY)
    assert report_command("cifar100", [str(results), "--output-dir", str(out), "--svg"]) == 0
    names = {path.name for path in out.iterdir()}
    tables = {
        "accuracy_clean",
        "accuracy_noisy",
        "paired_differences",
        "overhead",
        "accuracy_per_tflop",
        "arms",
    }
    figures = {"learning_curves", "paired_differences", "arm_histories_lr", "overhead", "accuracy_per_tflop"}
    assert names == {
        "report.md",
        *(f"{name}.{suffix}" for name in tables for suffix in ("csv", "md", "tex")),
        *(f"{name}.{suffix}" for name in figures for suffix in ("pdf", "svg")),
    }
    text = (out / "report.md").read_text()
    assert "12 runs" in text and "c0ffee" in text and "symmetric 40 %" in text
    again = tmp_path / "again"
    assert plot_command("arm_histories", [str(results), "--output-dir", str(again), "--svg"]) == 0
    assert all(path.read_bytes() == (out / path.name).read_bytes() for path in again.iterdir())
    assert report_command("sst2", [str(results), "--output-dir", str(out)]) == 2
    assert "of sst2" in capsys.readouterr().err


@pytest.mark.parametrize("command, topics", [(table_command, TABLES), (plot_command, FIGURES)])
def test_every_topic_has_a_script_with_help(command, topics, capsys):
    for topic in topics:
        with pytest.raises(SystemExit, match="0"):
            command(topic, ["--help"])
        assert "never trains" in " ".join(capsys.readouterr().out.split())


def test_the_two_scripts_of_cifar100_draw_from_saved_results(tmp_path, monkeypatch, capsys):
    def script(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(PUBLISHED.parents[2] / "scripts" / name), run_name="__main__")
        printed = capsys.readouterr()
        return left.value.code, " ".join(printed.out.split()), printed.err

    tables, plots = "tables/make_cifar_clean_tables.py", "plots/cifar_plots.py"
    for name in (tables, plots):
        assert "never trains" in script(name, "--help")[1]
    results, noisy = tmp_path / "results", tmp_path / "noisy"
    save_all(results, 2)
    save_all(noisy, 1, **NOISY)
    code, out, error = script(tables, results, noisy, "--output-dir", tmp_path / "tables")
    assert (code, error) == (0, "")
    assert "accuracy_clean" in out and "symmetric" not in out
    names = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert names == {"accuracy_clean", *TABLES} - {"clean", "noisy"}
    assert script(tables, noisy)[::2] == (
        2,
        "error: results: must hold at least one result of cifar100 on clean labels, but got none; "
        "run an experiment first\n",
    )
    assert script(plots, results, "--output-dir", tmp_path / "plots")[0] == 0
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {f"{name}.pdf" for name in {"arm_histories_lr", *FIGURES} - {"arm_histories"}}


def test_single_topics_work_on_little(tmp_path, capsys):
    save_run_result(result_of(), tmp_path / "run.json")
    for topic in ("learning_curves", "paired_differences", "arm_histories"):
        assert plot_command(topic, [str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 0
    for topic in TABLES:
        assert table_command(topic, [str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 0
    assert table_command("clean", [str(tmp_path / "nothing.json")]) == 2


@pytest.mark.filterwarnings("ignore")  # of the libraries under the tracker
def test_runs_are_exported_once_to_a_tracker(tmp_path, capsys):
    pytest.importorskip("mlflow", reason="extra trackers")
    from mlflow import MlflowClient

    results = save_all(tmp_path / "results", 1)
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    given = [str(results), "--to", "mlflow", "--store", store, "--study", "thesis"]
    assert export_command(given) == 0
    client = MlflowClient(tracking_uri=store)
    (run,) = client.search_runs(
        [client.get_experiment_by_name("thesis").experiment_id], "tags.variation = 'AdaptiveScheduler'"
    )
    history = [point.value for point in client.get_metric_history(run.info.run_id, "validation")]
    assert history == result_of("adaptive").val_accuracies
    assert run.data.params["lr"] == "0.02" and run.data.params["lr_candidates"] == "[0.5, 1.0, 2.0]"
    capsys.readouterr()
    assert export_command(given) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["kept"] == 3


def test_the_committed_tables_follow_from_the_committed_records(tmp_path):
    runs = load_runs([PUBLISHED / "records"])
    assert not runs.problems
    for build in TABLES.values():
        table = build(runs)
        if len(table.frame):
            write_table(table, tmp_path)
            own, committed = (pd.read_csv(folder / f"{table.name}.csv") for folder in (tmp_path, PUBLISHED))
            pd.testing.assert_frame_equal(own, committed, rtol=1e-9)
