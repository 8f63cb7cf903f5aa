import json
from pathlib import Path

import pytest
import yaml

from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.runners.plans import load_run_plan, main, manifest, state_of
from hypernudge.experiments.runners.tasks import EXPERIMENTS
from hypernudge.experiments.training.results import save_run_result
from tests.experiments.synthetic import result_of
from tests.experiments.tools import common_words, real_sst2, tiny_bert

ROOT = Path(__file__).resolve().parents[2]


def write(path, **changes):
    plan = {
        "task": "cifar100",
        "common": {"epochs": 4, "batch-size": 8, "lr": 0.02, "label-noise-type": "symmetric"},
        "methods": {"baseline": {}, "adaptive": {"lr-candidates": "0.5,1,2", "episode-length": 4}},
        "seeds": {"first": 0, "count": 2},
        "label_noise_rates": [0, 0.4],
    }
    path.write_text(yaml.safe_dump({**plan, **changes}, sort_keys=False))
    return path


def test_a_plan_is_methods_by_seeds_by_rates_and_knows_what_is_missing(tmp_path):
    plan = load_run_plan(write(tmp_path / "plan.yaml"))
    assert [run.output.name for run in plan.runs[:4]] == [
        "cifar100_baseline_seed0.json",
        "cifar100_adaptive_seed0.json",
        "cifar100_baseline_noise0p4_seed0.json",
        "cifar100_adaptive_noise0p4_seed0.json",
    ]
    assert len(plan.runs) == 8 and plan.runs[3].config.lr_candidates == (0.5, 1.0, 2.0)
    results = tmp_path / "results"
    assert manifest(plan, results)["counts"]["missing"] == 8
    first = plan.runs[0]
    saved = result_of(epochs=4)
    save_run_result(type(saved)(**{**vars(saved), "config": first.config.as_dict()}), results / first.output)
    save_run_result(saved, results / plan.runs[1].output)
    (results / plan.runs[2].output).write_text("{")
    (results / plan.runs[3].output).with_suffix(".checkpoint.pt").write_bytes(b"")
    states = [state_of(run, results) for run in plan.runs]
    assert states[:4] == ["done", "other settings", "unreadable", "interrupted"]
    assert states[4:] == ["missing"] * 4
    command = manifest(plan, results)["runs"][3]["command"]
    options = EXPERIMENTS["cifar100"]().parser().parse_args(command.split()[4:])
    assert options.label_noise_rate == 0.4 and str(options.output).endswith("noise0p4_seed0.json")
    assert plan.hash == load_run_plan(write(tmp_path / "same.yaml")).hash
    assert plan.hash != load_run_plan(write(tmp_path / "other.yaml", label_noise_rates=[0])).hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "cifar10"}, "did you mean 'cifar100'"),
        ({"methods": {}}, r"plan\.methods: must map"),
        ({"methods": {"AdamW": {}}}, "invalid choice: 'AdamW'"),
        ({"common": {"epoch": 3, "lrr": 1}}, "unrecognized arguments: --lrr=1"),
        ({"common": {"lr": -1}}, "--lr: must be above 0"),
        ({"common": {"lr-candidates": "1,1"}}, "must not repeat a value"),
        ({"common": {"lr-candidates": "0,1"}}, "must be finite and above 0"),
        ({"common": {"noise-candidates": ","}}, "must not be empty"),
        ({"seeds": []}, r"plan\.seeds"),
        ({"label_noise_rates": [0, 0]}, "runs must differ"),
        ({"extra": 1}, "keys must be among"),
    ],
)
def test_bad_plans_are_refused_before_anything_runs(changes, message, tmp_path, capsys):
    path = write(tmp_path / "plan.yaml", **changes)
    with pytest.raises(InvalidArgumentError, match=message):
        load_run_plan(path)
    assert main(["run", str(path), "--results-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_running_a_plan_leaves_nothing_missing_and_runs_nothing_twice(tmp_path, capsys):
    pytest.importorskip("transformers", reason="extra text")
    pytest.importorskip("datasets", reason="extra text")
    if not (ROOT.parent / "shared" / "data" / "sst2").is_dir():
        pytest.skip("the sentences of SST-2 are not beside this checkout")
    data = real_sst2(tmp_path / "data", 40)
    common = {
        "model-name": str(tiny_bert(tmp_path / "model", common_words(data / "train.tsv"), hidden=16)),
        "dataset-dir": str(data),
        "tokenized-dataset-dir": str(tmp_path / "tokens"),
        "max-length": 8,
        "epochs": 1,
        "local-files-only": True,
    }
    methods = {"AdamW": {}, "RandomScheduler": {"lr-candidates": "0.5,1", "episode-length": 1}}
    path = write(
        tmp_path / "plan.yaml", task="sst2", common=common, methods=methods, label_noise_rates=[0], seeds=[0]
    )
    arguments = [str(path), "--results-dir", str(tmp_path / "results")]
    assert main(["run", *arguments, "--one-process", "--most", "1"]) == 0
    told = capsys.readouterr()
    assert "1 done, 1 missing" in told.err
    assert main(["commands", *arguments]) == 0
    assert "--method RandomScheduler" in capsys.readouterr().out
    assert main(["run", *arguments, "--one-process"]) == 0
    found = json.loads((tmp_path / "results" / "manifest.json").read_text())
    assert found["counts"]["done"] == 2
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("sst2_*.json")}
    assert main(["run", *arguments]) == 0
    assert main(["status", *arguments]) == 0
    assert before == {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("sst2_*.json")
    }


def test_the_committed_plan_is_a_plan():
    plan = load_run_plan(ROOT / "config" / "aees" / "sst2_minilm.yaml")
    assert len(plan.runs) == 18
    assert {run.config.control_mode for run in plan.runs} == {"baseline", "adaptive", "random"}


@pytest.mark.parametrize("task", list(EXPERIMENTS))
def test_help_lists_every_flag_of_the_contract_in_groups(task):
    text = EXPERIMENTS[task]().parser().format_help()
    shared = (
        "lr-candidates noise-candidates structured-control-mode context-mode episode-length reward-clip-min "
        "reward-instability-lambda reward-clip-max lr-scheduler scheduler-t-max warmup-epochs epochs "
        "batch-size lr weight-decay seed run-tag output resume dry-run"
    )
    own = {
        "cifar100": "optimizer control-mode label-noise-type label-noise-rate data-dir validation",
        "sst2": "method max-length cache-dir tokenized-dataset-dir local-files-only pretokenize-only",
        "agnews": "method label-noise-rate label-noise-seed dataset-dir pretokenize-only",
    }
    for flag in f"{shared} {own[task]}".split():
        assert f"--{flag}" in text
    for group in ("method:", "data:", "training:", "schedule:", "episodes:", "reward:", "run:"):
        assert f"\n{group}\n" in text
    assert ("--label-noise-rate" in text) == (task != "sst2")


def test_defaults_are_the_published_ones():
    def config(task, *flags):
        experiment = EXPERIMENTS[task]()
        settings = experiment.configure(experiment.parser().parse_args(flags))
        return settings, experiment.default_output(settings).as_posix()

    cifar, output = config("cifar100", "--optimizer=SGD", "--seed=4")
    assert (cifar.epochs, cifar.batch_size, cifar.lr, cifar.weight_decay) == (10, 128, 1e-3, 1e-4)
    assert (cifar.episode_length, cifar.schedule_unit, cifar.momentum) == (200, "epoch", 0.9)
    assert output == "results/cifar100_baseline_sgd_seed4.json"
    for task in ("sst2", "agnews"):
        text, output = config(task, "--method=AdaptiveScheduler")
        assert (text.epochs, text.batch_size, text.lr, text.weight_decay) == (3, 16, 5e-5, 0.01)
        assert (text.episode_length, text.schedule_unit, text.data["max_length"]) == (100, "step", 128)
        assert text.data["model_name"] == "distilbert-base-uncased"
        assert output == f"results/{task}_adaptivescheduler_seed0.json"
