"""What the README says to type, copied as text and run: its Python, and the files that it points to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hypernudge import Real, SearchSpace

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippet(first_word_of_heading: str) -> list[str]:
    """Return the Python blocks below a heading."""
    (section,) = (part for part in README.split("\n## ")[1:] if part.startswith(first_word_of_heading))
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def given():
    """What a reader brings along: a model, loaders, a loss and a space."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 4, generator=generator)
    data = torch.utils.data.TensorDataset(x, (x.sum(1) > 0).long())
    return {
        "make_model": lambda hp: nn.Linear(4, 2),
        "train_loader": torch.utils.data.DataLoader(data, batch_size=32),
        "valid_loader": torch.utils.data.DataLoader(data, batch_size=32),
        "loss": lambda model, batch, hp: cross_entropy(model(batch[0]), batch[1]),
        "space": SearchSpace([Real("lr", 1e-4, 1.0, log=True), Real("momentum", 0.0, 0.9)]),
        "model": nn.Linear(4, 2),
    }


def test_in_optuna(given):
    pytest.importorskip("optuna", reason="needs the extra optuna").logging.set_verbosity(40)
    (text,) = snippet("In Optuna")
    exec(text, given)

    def objective(trial):
        return -trial.suggest_float("lr", 1e-6, 1.0, log=True)

    given["study"].optimize(objective, n_trials=4)
    trials = given["study"].trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert any(trial.user_attrs["hypernudge"]["changed"] for trial in trials)


def test_in_a_loop(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tuned, suggested, episodes = snippet("In a loop")
    exec(tuned, given)
    study = given["study"]
    assert len(study.trials) == 40 and study.best_value > 0.9
    assert torch.equal(given["model"].weight, study.best_weights()["weight"])
    assert (tmp_path / "runs/mine").is_dir()
    once = len(study.reports)
    exec(tuned, given)
    assert len(given["study"].reports) == once, "the study that is kept trains nothing again"

    optimizer = torch.optim.SGD(given["model"].parameters(), lr=0.1)
    exec(suggested, {**given, "optimizer": optimizer}, said := {})
    assert optimizer.param_groups[0]["lr"] == said["found"].lr
    before, after = episodes.split("...\n")
    exec(before, {**given, "optimizer": optimizer}, scope := {})
    for x, y in given["train_loader"]:
        optimizer.zero_grad()
        loss = cross_entropy(given["model"](x), y)
        loss.backward()
        optimizer.step()
        exec(after, {**scope, "loss": loss})


def test_every_file_that_it_points_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
