"""ModuleTask's data in every form, and the scores on what is held out."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from hypernudge import (
    SearchSpace,
)
from tests.tasks.module.small import (
    CONFIG,
    IMAGES,
    SPACE,
    classify,
    equal,
    plain_task,
    weights,
)


class Drawing(Dataset):
    """Draws its augmentation from every global generator."""

    def __len__(self):
        return len(IMAGES[0])

    def __getitem__(self, row):
        shift = random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002
        return IMAGES[0][row] + shift, IMAGES[1][row]


def drawing(workers):
    loader = DataLoader(Drawing(), batch_size=8, shuffle=True, num_workers=workers)
    return plain_task(data=(loader, IMAGES), batch_size=None)


def test_augmentation_in_a_data_set_belongs_to_seed_and_step():
    random.seed(1)
    once = weights(drawing(0))
    random.seed(2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert equal(weights(drawing(0)), once)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_workers_of_a_loader_read_what_would_be_read_without():
    assert equal(weights(drawing(2)), weights(drawing(0)))


def test_forms_of_data_give_the_same_training():
    once = weights(plain_task())
    loader = DataLoader(TensorDataset(*IMAGES), batch_size=8, shuffle=True)
    rows = list(zip(*IMAGES, strict=True))
    for data in (TensorDataset(*IMAGES), loader, rows):
        assert equal(weights(plain_task(data=(data, IMAGES), batch_size=None if data is loader else 8)), once)

    in_turn = DataLoader(TensorDataset(*IMAGES), batch_size=8)
    read = plain_task(data=(in_turn, IMAGES), batch_size=None).at(CONFIG).batch(0, 4)
    assert torch.equal(read["0"], IMAGES[0][8:16])


def test_an_epoch_has_every_sample_once_and_its_last_batch_what_is_left():
    task = plain_task(batch_size=10).at(CONFIG)
    for epoch in range(2):
        batches = [task.batch(0, 3 * epoch + step) for step in range(3)]
        assert [len(batch["1"]) for batch in batches] == [10, 10, 4]
        seen = torch.cat([batch["0"].flatten(1)[:, 0] for batch in batches])
        assert torch.equal(seen.sort().values, IMAGES[0].flatten(1)[:, 0].sort().values)
    dropping = DataLoader(TensorDataset(*IMAGES), batch_size=10, shuffle=True, drop_last=True)
    assert plain_task(data=(dropping, IMAGES), batch_size=None).steps_per_unit == 2


def test_held_out_data_in_every_form_score_the_same():
    state = (task := plain_task()).start(0)
    task.advance(state, CONFIG)
    expected = task.evaluate(state, "validation")
    loader = DataLoader(TensorDataset(*IMAGES), batch_size=5)
    rows = list(zip(*IMAGES, strict=True))
    for held in (TensorDataset(*IMAGES), loader, rows, lambda: iter([IMAGES])):
        other = plain_task(data=(IMAGES, held))
        again = other.start(0)
        other.advance(again, CONFIG)
        assert other.evaluate(again, "validation") == pytest.approx(expected)
        assert np.isnan(other.evaluate(again, "test"))


def test_scores():
    space = SearchSpace([SPACE["lr"]])
    task = plain_task(score="loss", space=space, fixed={"label_smoothing": 0.1})
    assert (task.metric, task.metric_range) == ("negative loss", (float("-inf"), 0.0))
    state = task.start(0)
    task.advance(state, {"lr": 0.1})
    found = task.evaluate(state, "validation")
    state.training.model.eval()
    with torch.no_grad():
        assert found == pytest.approx(
            -classify(state.training.model, IMAGES, {"label_smoothing": 0.1}).item()
        )
    task = plain_task(score=lambda model, split: float(split.name == "test") + 2 * model.training)
    state = task.start(0)
    task.advance(state, CONFIG)
    assert [task.evaluate(state, split) for split in ("validation", "test")] == [0.0, 1.0]
    assert state.training.model.training
    assert np.isnan(plain_task(score_test=False).evaluate(state, "test"))
