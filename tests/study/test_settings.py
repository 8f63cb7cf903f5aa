"""What a task was built with belongs to a kept study: other options are refused by their names."""

import numpy as np
import pytest
import torch

from hypernudge import RandomSearch, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.study.store import FILE
from hypernudge.tasks.builtin import supervised
from hypernudge.tasks.curves.tabulated import Tabulated
from hypernudge.tasks.language.task import LanguageModel
from hypernudge.tasks.vision.task import ImageClassification
from tests.conftest import Bowl
from tests.study.tools import SPACE, data, loss, model, module
from tests.tasks.language.test_text import write as write_text_parts
from tests.tasks.vision.tools import pixels, write_batches

NET = {"name": "mlp", "hidden": [4]}
COMMON = {"dataset": "digits", "model": NET, "label": "mine", "steps_per_unit": 2}


def continued(make, first, second, folder):
    """Begin a study of a task, and go on with another; return the line with which that is refused."""
    task = make(**first)
    scheduler = RandomSearch(task.space, max_units=1, max_trials=1)
    tune(task, scheduler, seed=0, study=folder)
    before = (folder / FILE).read_bytes()
    tune(make(**first), scheduler, seed=0, study=folder)  # the same is no other
    assert (folder / FILE).read_bytes() == before
    with pytest.raises(InvalidArgumentError) as refused:
        tune(make(**second), scheduler, seed=0, study=folder)
    assert (folder / FILE).read_bytes() == before
    line = str(refused.value)
    assert line.startswith(f"study: {folder} was begun with other arguments: ") and "\n" not in line
    return line


@pytest.mark.parametrize(
    ("option", "before", "now"),
    [
        ("dtype", "float32", "float64"),
        ("label_noise", 0.0, 0.2),
        ("label_noise_kind", "symmetric", "asymmetric"),
        ("split_seed", 0, 1),
        ("inputs", "scaled", "raw"),
        ("model", NET, {"name": "mlp", "hidden": [5]}),
        ("dataset", "digits", "breast_cancer"),
        ("episodes", {"episode_length": 5}, {"episode_length": 6}),
    ],
)
def test_options_of_supervised_tasks(option, before, now, tmp_path):
    noise = {"label_noise": 0.1} if option == "label_noise_kind" else {}
    given = {**COMMON, **noise}
    line = continued(supervised, {**given, option: before}, {**given, option: now}, tmp_path)
    assert f"task.{'data' if option == 'dataset' else option}" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [("channels_last", True), ("precision", "float64"), ("score", "loss"), ("model", lambda hp: model(hp))],
)
def test_options_of_modules(option, value, tmp_path):
    def make(**options):
        return module(**options) if "model" not in options else other(**options)

    def other(**options):
        from hypernudge import ModuleTask

        x, y = data()
        parts = ((x[:64], y[:64]), (x[64:128], y[64:128]), (x[128:], y[128:]))
        settings = {"score": "accuracy", "schedule": "cosine", "batch_size": 16}
        return ModuleTask(data=parts, loss=loss, space=SPACE, **settings, **options)

    assert f"task.{option}" in continued(make, {}, {option: value}, tmp_path)


def test_a_table_of_curves(tmp_path):
    def make(factor):
        path = tmp_path / f"{factor}.npz"
        hp = np.linspace(0.1, 1.0, 12).reshape(6, 2)
        np.savez(path, hp=hp, hp_names=["a", "b"], valid=factor * np.outer(np.arange(1, 7), [3.0, 2.0]))
        return Tabulated(path, label="curves")

    assert "task.curves" in continued(make, {"factor": 1}, {"factor": 2}, tmp_path / "study")


def test_boosted_trees(tmp_path):
    pytest.importorskip("xgboost", reason="the extra `tabular` is not installed")
    from hypernudge.tasks.tabular.task import XGBoostTask

    first = {"dataset": "wine", "rounds_per_unit": 1}
    for option, value in (("max_bin", 64), ("split_seed", 1)):
        line = continued(XGBoostTask, first, {**first, option: value}, tmp_path / option)
        assert f"task.{option}" in line


class Mine(Bowl):
    """A user's own task that says what decides its scores."""

    def __init__(self, width=3):
        super().__init__()
        self.settings = {"width": width, "weights": torch.ones(width)}


def test_what_a_users_own_task_says(tmp_path):
    line = continued(Mine, {}, {"width": 4}, tmp_path)
    assert "task.width was 3, is 4" in line and "task.weights" in line


TEXT = {
    part: [" It is green , known .\n", " The known word <unk> .\n"] * 20
    for part in ("train", "valid", "test")
}
WORDS = {"dataset": {"name": "mine", "folder": "text", "tokens": "word"}, "length": 4, "steps_per_unit": 1}
SMALL = {"name": "transformer_lm", "width": 8, "heads": 2, "depth": 1}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("length", 5),
        ("model", {**SMALL, "depth": 2}),
        ("dataset", {"name": "mine", "folder": "text", "tokens": "char"}),
    ],
)
def test_options_of_language_models(option, value, tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_text_parts(tmp_path / "text", "wiki.{}.tokens", TEXT)
    first = {**WORDS, "model": SMALL, "label": "mine", "batch_size": 2}
    assert f"task.{option}" in continued(LanguageModel, first, {**first, option: value}, tmp_path / "study")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("augmentation", {"flip": False, "colour": 0.4}),
        ("model", {"name": "cnn", "channels": [3]}),
        ("dataset", {"name": "cifar10", "folder": "images", "split_seed": 1}),
    ],
)
def test_options_of_image_classification(option, value, tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_batches(tmp_path / "images", pixels(50), np.arange(50) % 10)
    images = {"name": "cifar10", "folder": "images"}
    first = {"dataset": images, "model": {"name": "cnn", "channels": [2]}, "label": "mine", "batch_size": 8}
    first |= {"steps_per_unit": 1}
    line = continued(ImageClassification, first, {**first, option: value}, tmp_path / "study")
    assert f"task.{option}" in line
