"""Networks on images and texts as tasks of a configuration file."""

import json
import math

import pytest
import yaml

pytest.importorskip("PIL", reason="extra vision")
pytest.importorskip("torchvision", reason="extra vision")
pytest.importorskip("tokenizers", reason="extra language")

import torch

from hypernudge import Informed
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.build import build_task
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.config import fill_placeholders
from hypernudge.harness.planning.resolve import OTHER_METRICS, load_plan
from hypernudge.harness.running.dry_build import check_buildable
from hypernudge.harness.running.variation_run import outcome
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, build
from hypernudge.tasks.language.task import LanguageModel, mean_loss
from hypernudge.tasks.vision.task import ImageClassification
from hypernudge.trial import History
from src import preprocess
from src.model import build_model
from tests.harness.tools import ROOT, hypernudge
from tests.tasks.data_sets import write_all

FULL = (
    "cifar10_resnet20",
    "cifar100_resnet18",
    "cifar10_vit",
    "imagenet_resnet50",
    "imagenet_vit_small",
    "wikitext2_lm",
    "wikitext103_lm",
)
TWINS = tuple(f"{name}_small" for name in FULL)
BRIEF = {"batch_size": 8, "steps_per_unit": 2}  # in the place of a twin's own training
TINY = {"dataset": "cifar10", "model": {"name": "resnet20", "width": 2}, "batch_size": 8, "steps_per_unit": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("by_name")
    write_all(root)
    return root


@pytest.fixture(autouse=True)
def data(place, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(place))
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(place / "cache"))
    return place


def experiment(folder, task, **common):
    """Write an experiment beside the shipped configuration groups, of one task."""
    shared = {
        "task": task,
        "target": 0.3,
        "scheduler": {"name": "asha", "max_units": 3},
        "budget": {"units": 6},
        "workers": 2,
        "seeds": {"first": 0, "count": 6},
        **common,
    }
    variations = {"asha": {"warm_start": "none"}, "asha-informed": {"warm_start": "informed"}}
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "task").exists():
        (folder / "task").symlink_to(ROOT / "config" / "task")
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({"name": "by_name", "common": shared, "variations": variations}))
    return path


def needs_timm(task):
    if "resnet50" in task:
        pytest.importorskip("timm", reason="extra vision")


@pytest.mark.parametrize("task", FULL)
def test_a_task_at_its_published_size_is_built(task, tmp_path):
    needs_timm(task)
    target = -5.0 if "wikitext" in task else 0.5
    training = {"precision": "float32", "batch_size": 2}  # of the network alone the size matters here
    plan = load_plan(experiment(tmp_path, task, target=target, training=training))
    assert plan.variations[0].labels["task"] == task
    if "wikitext" in task:  # short windows cost less, and weights do not depend on their length
        of_file = yaml.safe_load((ROOT / "config" / "task" / f"{task}.yaml").read_text())
        short = experiment(tmp_path, {**of_file, "length": 32}, target=target, training=training)
        plan = load_plan(short)
    check_buildable(plan)


@pytest.mark.parametrize("task", TWINS)
def test_a_small_twin_is_tuned_from_end_to_end(task, tmp_path):
    needs_timm(task)
    target = -6.5 if "wikitext" in task else 0.2
    plan = load_plan(experiment(tmp_path, task, target=target, training=BRIEF))
    check_buildable(plan)
    informed = next(v for v in plan.variations if v.run_id == "asha-informed")
    record = run_cell(informed, 0, tmp_path / "run")
    assert record["status"] == "completed" and not record["errors"]
    assert record["bill"]["measurements"] > 0
    curve = record["curve"]
    assert len(curve["validation"]) >= 2
    assert all(score is None or math.isfinite(score) for score in curve["validation"])
    # The test part is scored only where that is asked for.
    assert all(score is None or math.isnan(score) for score in curve["test"])
    assert record["description"]["data"]["train"]["digest"]
    best = max(score for score in curve["validation"] if score is not None)
    if "wikitext" in task:  # perplexity and bits per byte stand beside the loss
        said = record["description"]["reported"]["validation"]
        assert said == pytest.approx(build_task(informed.spec).reported(best, "validation"))
        assert said["perplexity_per_word"] > 1 and said["bits_per_byte"] > 0
        assert outcome(record)["reported"] == record["description"]["reported"]
    else:
        assert "reported" not in record["description"]
    low, high = record["declared"]["metric_range"]
    assert all(
        score is None or ((low is None or low <= score) and score <= high) for score in curve["validation"]
    )


@pytest.mark.slow
def test_a_study_of_a_twin_runs_from_the_command_line(place, tmp_path):
    path = experiment(tmp_path, "cifar10_resnet20_small", training=BRIEF, target=0.1)
    done = hypernudge(
        "run",
        path,
        "--results-dir",
        tmp_path / "results",
        "--no-figures",
        HYPERNUDGE_DATA=str(place),
        HYPERNUDGE_CACHE=str(place / "cache"),
        OMP_NUM_THREADS="1",
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = [line for line in lines if line.get("event") == "result"]
    assert {line["run_id"] for line in results} == {"asha", "asha-informed"}
    assert all(line["seeds"] == 6 for line in results)
    assert (tmp_path / "results" / "evaluation.json").is_file()


def test_twins_differ_from_their_tasks_in_size_alone():
    for name in FULL:
        full, twin = (
            yaml.safe_load((ROOT / "config" / "task" / f"{n}.yaml").read_text())
            for n in (name, f"{name}_small")
        )
        same = set(full) - {"label", "dataset", "model", "training", "length", "augmentation"}
        assert {key: twin[key] for key in same} == {key: full[key] for key in same}
        assert set(twin) == set(full)


@pytest.mark.parametrize("name", ["image_classification", "language_model"])
def test_a_plan_knows_the_metric_of_what_will_be_built(name):
    options = TINY if name == "image_classification" else {"dataset": "wikitext2", "model": "transformer_lm"}
    task = build("task", {"name": name, **options})
    metric, ends = OTHER_METRICS.get(name, ("accuracy", [0.0, 1.0]))
    assert task.metric == metric
    assert [None if math.isinf(end) else end for end in task.metric_range] == ends
    assert name in REGISTRY["task"]


def spec(**options):
    return {
        "task": {"name": "image_classification", "dataset": "cifar10"},
        "model": {"name": "resnet20", "width": 2},
        "training": BRIEF,
        "space": "mid",
        **options,
    }


def test_validation_is_split_from_the_training_part_and_the_test_part_is_scored_if_asked():
    task = build_task(spec())
    state = task.start(0)
    hp = task.space.decode([0.5] * 5)
    assert task.advance(state, hp)
    assert math.isnan(task.evaluate(state, "test")) and 0 <= task.evaluate(state, "validation") <= 1
    asked = build_task(spec(training={**BRIEF, "score_test": True}))
    state = asked.start(0)
    asked.advance(state, hp)
    assert 0 <= asked.evaluate(state, "test") <= 1


def test_every_value_of_the_space_reaches_the_training():
    """With equal draws, a value that is changed changes the training."""
    task = ImageClassification(
        "cifar10", {"name": "vit", "depth": 1, "width": 12}, batch_size=8, steps_per_unit=3
    )
    base = dict(task.space.decode([0.5] * 5)) | {"lr": 0.1}

    def parameters(**changed):
        state = task.start(0)
        task.advance(state, {**base, **changed})
        return torch.cat([p.detach().flatten() for p in state.training.params])

    plain = parameters()
    assert torch.equal(plain, parameters())
    for name, value in {
        "augmentation": 0.0,
        "label_smoothing": 0.0,
        "momentum": 0.1,
        "weight_decay": 0.1,
    }.items():
        assert not torch.equal(plain, parameters(**{name: value})), name


def test_tuned_options_of_a_network_build_it():
    space = {
        "lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "dropout": {"low": 0.0, "high": 0.5},
        "width": {"choices": [8, 16]},
    }
    task = LanguageModel(
        "wikitext2", {"name": "transformer_lm", "heads": 2, "depth": 1}, length=16, space=space
    )
    for width, dropout in ((8, 0.0), (16, 0.4)):
        model = task.recipe.model({"lr": 0.1, "width": width, "dropout": dropout})
        assert model.embedding.embedding_dim == width and model.dropout.p == dropout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"space": {"lr": {"low": 1e-3, "high": 1, "log": True}, "droput": {"low": 0, "high": 1}}},
            "space.droput",
        ),
        ({"model": {"name": "resnet20", "widht": 2}}, "model.widht"),
        ({"model": {"name": "resnet20", "width": 0}}, "width: must be a whole number"),
        ({"fixed": {"dropout": 0.1}}, "fixed.dropout: .*read by the loss, the optimizer, the schedule"),
        ({"fixed": [1]}, "fixed: must be a mapping"),
        ({"fixed": {"lr": 1}}, "fixed: must not name what is tuned"),
        ({"fixed": {"grad_clip": -1}}, "fixed.grad_clip"),
        ({"augmentation": {"flop": True}}, "augmentation.flop"),
        ({"augmentation": [1]}, "augmentation: must be a mapping"),
        ({"augmentation": {"crop": 4}}, "space.augmentation"),  # nothing is scaled by a magnitude
        ({"space": {"lr": {"low": 0.1, "high": 1}, "label_smoothing": {"low": 0, "high": 2}}}, r"\[0, 1\]"),
        ({"dataset": {"name": "cifar10", "limits": 3}}, "dataset.limits"),
        ({"dataset": 3}, "dataset: must be a name"),
        ({"dataset": {"name": "cifar10", "limit": 3}}, "limit: must be a mapping"),
        ({"dataset": {"name": "cifar10", "folder": 3}}, "folder: must be text"),
        ({"dataset": {"name": "cifar10", "stratified": 3}}, "stratified: must be true or false"),
        ({"dataset": {"name": "cifar10", "split_seed": -1}}, "split_seed"),
        ({"batch_size": 0}, "batch_size: must be a whole number"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"schedule": {"name": "cosine", "warmup": 2}}, "schedule.warmup"),
        ({"precision": "half"}, "precision"),
        ({"device": "tpu"}, "device"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_options_are_refused_in_one_line(options, said):
    with pytest.raises(InvalidArgumentError, match=said) as caught:
        build("task", {"name": "image_classification", **TINY, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataset": {"name": "wikitext2", "limit": {"test": 3}}}, "limit: must be a mapping"),
        ({"dataset": {"name": "wikitext2", "held_out": 3}}, "held_out"),
        ({"length": 100_000}, "length: must be below"),
        ({"length": 0}, "length"),
        ({"space": "mid"}, "space.augmentation"),
        ({"model": "resnet20", "space": {"lr": {"low": 0.1, "high": 1}}}, "shape: a network for images"),
        ({"dataset": {"name": "wikitext2", "folder": 3}}, "folder: must be text"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_options_of_a_language_model_are_refused_in_one_line(options, said):
    with pytest.raises(InvalidArgumentError, match=said) as caught:
        LanguageModel(**{"dataset": "wikitext2", "length": 16, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet", "wikitext2", "wikitext103"])
def test_data_that_are_absent_or_of_another_layout_are_told_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    kind = "language_model" if "wiki" in name else "image_classification"
    for present in (False, True):
        if present:
            (tmp_path / name).mkdir()
            (tmp_path / name / "strange.bin").write_text("")
        model = "transformer_lm" if "wiki" in name else {"name": "resnet20", "width": 2}
        with pytest.raises(InvalidArgumentError) as caught:
            build("task", {"name": kind, "dataset": name, "model": model})
        message = str(caught.value)
        assert "\n" not in message and "get " in message and str(tmp_path) in message
        assert ("strange.bin" in message) == present


@pytest.mark.parametrize(("rule", "spoke"), [("adamw", "prior (language): best"), ("sgd", "prior: best")])
def test_a_language_model_under_adamw_starts_by_the_prior_of_its_kind(rule, spoke):
    network = {"name": "transformer_lm", "width": 8, "heads": 2, "depth": 1}
    task = LanguageModel("wikitext2", network, length=16, steps_per_unit=1, optimizer=rule)
    nudge = Informed()(task, task.space.middle(), History(9), Streams(0))
    assert nudge.reason.startswith(spoke) and nudge.kind == "prior"


def test_a_language_models_score_is_that_of_the_whole_part_and_says_more():
    task = LanguageModel(
        "wikitext2",
        {"name": "transformer_lm", "width": 8, "heads": 2, "depth": 1},
        length=16,
        steps_per_unit=1,
    )
    state = task.start(0)
    task.advance(state, task.space.decode([0.5] * 5))
    score = task.evaluate(state, "validation")
    part = task._parts["validation"]
    model = state.training.model.eval()
    windows = list(part.windows(16, 3))
    assert sum(y.numel() for _, y in windows) == len(part) - 1
    with torch.no_grad():
        total = sum(
            torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum")
            for x, y in windows
        )
        assert mean_loss(model, windows) == pytest.approx(-score)
    assert score == pytest.approx(-float(total) / (len(part) - 1), rel=1e-5)
    assert task.reported(score, "validation") == {
        "perplexity_per_word": part.perplexity(-score),
        "bits_per_byte": part.bits_per_byte(-score),
    }


NETWORKS_OF = {
    "digits": ("mlp", 0.5),
    "breast_cancer": ("mlp", 0.5),
    "cifar10": ("resnet20", 0.2),
    "cifar100": ("resnet18_cifar", 0.2),
    "wikitext2": ("transformer_lm", -5),
    "wikitext103": ("transformer_lm", -5),
}


@pytest.mark.parametrize("dataset", NETWORKS_OF)
def test_the_shipped_template_is_filled_with_every_name(dataset, tmp_path):
    model, target = NETWORKS_OF[dataset]
    values = {"DATASET_PLACEHOLDER": dataset, "MODEL_PLACEHOLDER": model}
    values["SPECIFIC_CONFIG_PLACEHOLDER"] = str(target)
    text = (ROOT / "config" / "template.yaml").read_text()
    for group in ("task", "engine", "launcher", "scheduler", "warm_start"):
        (tmp_path / group).symlink_to(ROOT / "config" / group)
    path = tmp_path / "mine.yaml"
    path.write_text(fill_placeholders(text, values))
    plan = load_plan(path)
    check_buildable(plan)
    task = build_task(plan.variations[0].spec)
    assert task.family == dataset
    assert plan.variations[0].spec["task"]["metric"] == task.metric


def test_the_front_doors_know_every_data_set_and_network(place):
    for dataset in ("cifar10", "cifar100"):
        data = preprocess.load_dataset(dataset, validation=0.2)
        assert set(data.parts) == {"train", "validation", "test"} and data.classes in (10, 100)
    text = preprocess.load_dataset("wikitext2", tokens="byte")
    assert text.vocabulary == 256
    assert preprocess.load_dataset("digits").classes == 10
    with pytest.raises(InvalidArgumentError, match="did you mean 'cifar10'"):
        preprocess.load_dataset("cifar")
    with pytest.raises(InvalidArgumentError, match="write the task image_classification"):
        build("task", {"name": "supervised", "dataset": "cifar10", "model": "cnn"})
    for spec, shape, classes in (
        ({"name": "resnet20", "width": 2}, (3, 32, 32), 10),
        ({"name": "vit", "width": 8, "depth": 1, "heads": 2}, (3, 32, 32), 10),
    ):
        assert build_model({**spec, "shape": shape, "classes": classes})(torch.rand(2, *shape)).shape == (
            2,
            10,
        )
    model = build_model({"name": "transformer_lm", "width": 8, "heads": 2, "shape": [16], "classes": 256})
    assert model(torch.zeros(1, 16, dtype=torch.long)).shape == (1, 16, 256)
