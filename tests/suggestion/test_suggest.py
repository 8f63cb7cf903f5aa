"""Which rate `suggest` finds: how trials are run, scored, and ended."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hypernudge import suggest
from hypernudge.errors import InvalidArgumentError
from hypernudge.suggestion.ladder import OutOfTimeError, RateTrial, Scale
from hypernudge.suggestion.trials import PATIENCE, Recipe
from tests.suggestion.small import QUICK, data, loss, network


class Quadratic(nn.Module):
    """Half of `bend * |w|^2`: the best rate of gradient descent is `1 / bend`."""

    def __init__(self, bend):
        super().__init__()
        self.w, self.bend = nn.Parameter(torch.ones(3)), bend

    def forward(self, batch):
        return 0.5 * self.bend * self.w.square().sum() + 0.0 * batch.sum()


@pytest.mark.parametrize("bend", [1e-3, 1.0, 1e5])
def test_the_best_rate_of_a_quadratic(bend):
    found = suggest(Quadratic(bend), None, [torch.zeros(1)], torch.optim.SGD, steps=80, **QUICK)
    assert found.curvature == pytest.approx(1 / bend, rel=0.01)
    assert 1 / 4 < found.lr * bend < 4
    assert found.basis == "trials" and found.low <= found.lr <= found.high


def test_the_same_whatever_the_global_generators_are_and_a_mode_that_is_put_back():
    torch.manual_seed(1)
    first = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    model = network().eval()
    with torch.no_grad():
        second = suggest(model, loss, data(), torch.optim.SGD(model.parameters(), 5.0), **QUICK)
    assert not model.training
    assert (first.lr, first.trials) == (second.lr, second.trials)


def test_mini_batches_that_are_not_finite_are_left_out():
    batches = list(data())
    batches[2][0][0] = math.nan
    found = suggest(network(), loss, batches, torch.optim.SGD, steps=80, **QUICK)
    clean = suggest(network(), loss, batches[:2] + batches[3:], torch.optim.SGD, steps=80, **QUICK)
    assert found.lr == clean.lr and "1 of 8 mini-batches left out" in found.notes[0]
    for batch in batches:
        batch[0][:] = math.nan
    with pytest.raises(InvalidArgumentError, match=r"^loss: must be finite on some mini-batch.*none of 8"):
        suggest(network(), loss, batches, torch.optim.SGD, **QUICK)


def test_a_broken_mini_batch_that_only_long_trials_would_meet():
    batches = list(data(320))
    clean = suggest(network(), loss, batches[:30] + batches[31:], torch.optim.SGD, trial_steps=200, steps=99)
    batches[30][0][0] = math.nan
    found = suggest(network(), loss, batches, torch.optim.SGD, trial_steps=200, steps=99)
    assert found.lr == clean.lr and max(trial.steps for trial in found.trials if trial.loss < 1) == 40


def test_accumulated_mini_batches_are_one_large_one():
    whole = suggest(network(), loss, list(data(160, 16)), torch.optim.SGD, steps=100, **QUICK)
    halves = suggest(network(), loss, list(data(160, 8)), torch.optim.SGD, steps=100, accumulate=2, **QUICK)
    rates = [trial.loss for trial in whole.trials if trial.steps == 8 and not trial.diverged]
    assert len(rates) > 1
    # The curvature, of one mini-batch each, differs; the trials begin elsewhere.
    assert whole.lr / halves.lr == pytest.approx(1, rel=0.7)
    assert halves.gradients > 1.7 * whole.gradients


def test_clipping_allows_any_rate_of_a_step_that_it_bounds():
    free = suggest(Quadratic(1e6), None, [torch.zeros(1)], torch.optim.SGD, **QUICK)
    clipped = suggest(Quadratic(1e6), None, [torch.zeros(1)], torch.optim.SGD, grad_clip=1e-3, **QUICK)
    assert clipped.lr > 1e3 * free.lr


@pytest.mark.parametrize("steps", [1, 2])
def test_a_training_of_one_step_gets_a_rate_that_steps_can_take(steps):
    assert suggest(network(), loss, data(), torch.optim.AdamW, steps=steps, **QUICK).lr < 1.0


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_where_no_rate_makes_a_difference_the_optimizer_s_stays_and_a_note_says_so(offset):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    found = suggest(model, lambda m, b: 0.0 * m(b[0]).sum() + offset, data(), optimizer, **QUICK)
    assert found.lr == 0.02 and found.basis == "optimizer"
    assert "the loss is the same at every rate" in str(found)


def test_what_a_trial_would_repeat_is_scored_on_what_it_has_not_seen():
    few = suggest(network(), loss, data(56), torch.optim.SGD, steps=80, **QUICK)  # 7 of the 8 steps it has
    many = suggest(network(), loss, data(64), torch.optim.SGD, steps=80, **QUICK)
    assert {len(trial.held_out) for trial in few.trials if not trial.diverged} == {1}
    assert {trial.held_out for trial in many.trials} == {()}
    trial = min(few.trials, key=lambda trial: trial.loss)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), trial.rate)
    batches = list(data(56))
    for step in range(trial.steps):
        optimizer.zero_grad()
        loss(model, batches[:6][step % 6]).backward()
        optimizer.step()
    assert trial.loss == pytest.approx(loss(model, batches[6]).item(), rel=1e-5)


def test_labels_that_are_noise_are_not_memorised():
    x = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    y = torch.randint(0, 2, (40,), generator=torch.Generator().manual_seed(1))
    batches = list(zip(x.split(4), y.split(4), strict=True))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2))
    found = suggest(model, nn.CrossEntropyLoss(), batches, torch.optim.Adam, steps=40, trial_steps=200)
    memory = [trial for trial in found.trials if trial.steps == 40 and sum(trial.losses[-8:]) / 8 < 0.45]
    assert memory and all(trial.loss > 0.7 and trial.rate > 10 * found.lr for trial in memory)


@pytest.mark.parametrize("constant", [100.0, -100.0])
def test_a_constant_in_the_loss_hides_nothing(constant):
    def moved(model, batch):
        return loss(model, batch) + constant

    options = {"steps": 80, "trial_steps": 200, "seconds": None}
    plain = suggest(network(), loss, data(400), torch.optim.SGD, **options)
    found = suggest(network(), moved, data(400), torch.optim.SGD, **options)
    assert not found.notes
    assert 0.6 < found.lr / plain.lr < 1.6  # what counts as a divergence is another


@pytest.mark.parametrize(
    ("steps", "lengths"),
    [(50, [10, 33, 50]), (100, [10, 33, 80]), (150, [15, 50, 120]), (275, [10, 33, 80, 220])],
)
def test_a_longer_training_is_worth_more_trials(steps, lengths):
    found = suggest(network(), loss, data(), torch.optim.SGD, steps=steps, seconds=None)
    assert sorted({trial.steps for trial in found.trials}) == lengths


def test_what_short_trials_have_found_is_known_when_time_is_up(monkeypatch):
    def asked(most):
        made, run = [], Recipe.run

        def counted(self, rate, steps):
            made.append(rate)
            if len(made) > most:
                raise OutOfTimeError
            return run(self, rate, steps)

        monkeypatch.setattr(Recipe, "run", counted)
        found = suggest(network(), loss, data(), torch.optim.SGD, steps=1000)
        monkeypatch.setattr(Recipe, "run", run)
        return found

    short = suggest(network(), loss, data(), torch.optim.SGD, steps=1000, trial_steps=400, seconds=None)
    found = asked(len(short.trials) + 1)
    assert found.lr == pytest.approx(short.lr, rel=1e-6) and found.basis == "trials"
    assert "time was up after 3 of 4 rounds of trials" in found.notes


def test_no_time_at_all():
    found = suggest(network(), loss, data(), partial(torch.optim.SGD, lr=0.7), seconds=1e-9)
    assert found.basis == "optimizer" and found.lr == pytest.approx(0.7)
    assert found.low < found.lr < found.high and any("time was up" in note for note in found.notes)


def test_every_trial_diverges():
    class Cliff(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1))

        def forward(self, batch):
            return torch.where(self.w == 0, self.w + batch.sum(), self.w * math.nan).sum()

    found = suggest(Cliff(), None, [torch.ones(1)], partial(torch.optim.SGD, lr=0.2), **QUICK)
    assert found.basis == "optimizer" and found.lr == pytest.approx(0.2)
    assert "little more than a guess" in found.notes[-1]


def test_picture_and_text(tmp_path):
    found = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    figure = found.plot(tmp_path / "rate.svg")
    assert (tmp_path / "rate.svg").stat().st_size > 1000
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert f"suggestion {found.lr:.2g}" in legend and "before training" in legend
    assert str(found).startswith(f"lr {found.lr:.2g} [") and float(found) == found.lr


def test_trials_of_every_length_are_drawn():
    lengths = (10, 33, 80, 400, 1000)
    trials = tuple(RateTrial(10.0**-k, steps, (0.5,) * steps) for steps in lengths for k in (1, 2))
    found = replace(suggest(network(), loss, data(), torch.optim.SGD, **QUICK), trials=trials)
    legend = [text.get_text() for text in found.plot().axes[0].get_legend().get_texts()]
    assert [text for text in legend if text.endswith("steps")] == [f"{steps} steps" for steps in lengths]


class Scripted(nn.Module):
    """Its loss follows a list, whatever it is trained to."""

    def __init__(self, losses):
        super().__init__()
        self.w, self.losses = nn.Parameter(torch.zeros(1)), losses
        self.register_buffer("step", torch.zeros(1))

    def forward(self, batch):
        loss = self.losses[min(int(self.step), len(self.losses) - 1)] + 0.0 * self.w.sum()
        if self.training and torch.is_grad_enabled():
            self.step += 1
        return loss


@pytest.mark.parametrize(
    ("losses", "steps", "diverged"),
    [
        ([2.0, 50.0, 60.0, 55.0, 40.0, 20.0, 3.0, 1.0], 20, False),  # as on raw inputs: it comes back
        ([2.0, 50.0, 60.0, 55.0], 20, True),  # it stays up
        ([2.0, 1.0, 50.0, 50.0], 4, True),  # it is up where the trial ends
        ([2.0, 1.0, 1.0, 50.0], 4, False),  # a spike is none
        ([2.0, math.nan], 4, True),
    ],
)
def test_a_trial_has_diverged_where_it_stays_up_or_ends_there(losses, steps, diverged):
    model = Scripted(losses)
    recipe = Recipe(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
        loss=None,
        batches=[torch.zeros(1)],
        accumulate=1,
        grad_clip=None,
        precision="float32",
        schedule=SimpleNamespace(factor=lambda *_: 1.0),
        seed=0,
        deadline=math.inf,
        scale=Scale(2.0, 0.1),
    )
    trial = recipe.run(0.1, steps)
    assert trial.diverged is diverged
    assert len(trial.losses) <= 1 + PATIENCE or not diverged
