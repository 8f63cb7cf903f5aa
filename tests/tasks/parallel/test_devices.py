"""One trial on two processes trains as on one."""

import sys

import pytest
import torch

from hypernudge.errors import InvalidArgumentError
from hypernudge.registry import build
from hypernudge.tasks.parallel import devices as parallel
from tests.tasks.data_sets import write_all

LM = {
    "name": "language_model",
    "dataset": {"name": "wikitext2", "tokens": "byte"},
    "model": {"name": "transformer_lm", "width": 16, "heads": 2, "depth": 1},
    "length": 12,
    "fixed": {"grad_clip": 0.5, "ema": 0.5},
}
VIT = {
    "name": "image_classification",
    "dataset": "cifar10",
    "model": {"name": "vit", "width": 12, "depth": 1, "patch_size": 8},
    "optimizer": {"name": "adamw", "decay": "matrices"},
}
BRIEF = {
    "batch_size": 5,
    "steps_per_unit": 4,
    "device": "cpu",
    "precision": "float64",
}  # five samples: unequal shares


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    pytest.importorskip("PIL", reason="extra vision")
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path))
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))
    write_all(tmp_path)


def trained(task, hp, units):
    """Return parameters after some units, scores, and how often a trial was put back from disk."""
    scores = []
    with task.study(3):
        states = [task.start(seed) for seed in (1, 2)]
        for _ in range(units):
            for state in states:  # one is in memory: the other one is read again
                assert task.advance(state, hp)
                scores.append(task.evaluate(state, "validation"))
        training = states[1].training
        return [value.detach().clone() for value in training.model.state_dict().values()], scores


@pytest.mark.slow
@pytest.mark.parametrize("spec", [LM, VIT], ids=lambda spec: spec["name"])
def test_two_processes_train_what_one_trains(spec, monkeypatch):
    pytest.importorskip("lightning", reason="extra devices")
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 2)
    alone = build("task", {**spec, **BRIEF})
    both = build("task", {**spec, **BRIEF, "devices": 2, "strategy": "ddp"})
    hp = dict(alone.space.decode([0.5] * len(alone.space)))
    hp |= {"lr": 0.01} | ({"dropout": 0.0} if "dropout" in hp else {})
    expected, scores = trained(alone, hp, 2)
    found, told = trained(both, hp, 2)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)
    assert told == pytest.approx(scores, rel=1e-6)
    assert both._devices.fabric is None and both._devices._others == []  # nobody is left


def test_nothing_is_imported_for_one_device():
    before = {name for name in sys.modules if name.split(".")[0] in ("lightning", "lightning_fabric")}
    task = build("task", {**LM, **BRIEF, "devices": 1})
    after = {name for name in sys.modules if name.split(".")[0] in ("lightning", "lightning_fabric")}
    assert task._devices is None and after == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": 0}, "devices: must be a whole number >= 1"),
        ({"devices": True}, "devices: must be a whole number"),
        ({"devices": 10_000}, "devices: must be at most the .* that are there"),
        ({"strategy": "fdsp"}, "strategy: must be one of 'auto', 'ddp'"),
    ],
)
def test_wrong_numbers_are_refused(options, said):
    with pytest.raises(InvalidArgumentError, match=said):
        build("task", {**LM, **BRIEF, **options})


def test_without_lightning_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 2)
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(InvalidArgumentError, match=r"pip install 'hypernudge\[devices\]'"):
        build("task", {**LM, **BRIEF, "devices": 2})
