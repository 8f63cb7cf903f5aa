import math
import threading
import warnings
from collections import namedtuple
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hypernudge import suggest
from hypernudge.errors import InvalidArgumentError
from hypernudge.suggestion.ladder import OutOfTimeError, RateTrial, Scale
from hypernudge.suggestion.trials import PATIENCE, Recipe

KINDS = set()  # not in a closure: what hangs on a loss is put back
QUICK = {"trial_steps": 40, "seconds": None}


def data(rows=64, batch_size=8):
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=batch_size)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


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


class Extra(torch.optim.SGD):
    """Keeps something that its state does not hold."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.scale = 0.5

    def step(self, closure=None):
        assert self.scale == 0.5
        return super().step(closure)


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.SGD,
        partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=1e-3),
        torch.optim.Adam,
        torch.optim.AdamW,
        partial(torch.optim.AdamW, foreach=True),
        partial(torch.optim.Adam, lr=torch.tensor(1e-3), capturable=False),
        torch.optim.RMSprop,
        torch.optim.Adagrad,
        torch.optim.NAdam,
        torch.optim.LBFGS,
        Extra,
    ],
)
def test_any_optimizer(optimizer):
    found = suggest(network(), loss, data(), optimizer, **QUICK)
    assert found.basis == "trials"
    assert 1e-5 < found.lr < 1e3 and math.isfinite(found.curvature)
    best = min(trial.loss for trial in found.trials)
    assert best < 0.75 * found.untrained


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


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast(precision):
    KINDS.clear()

    def watched(model, batch):
        output = model(batch[0])
        KINDS.add(output.dtype)
        return F.cross_entropy(output.float(), batch[1])

    found = suggest(network(), watched, data(), torch.optim.SGD, precision=precision, **QUICK)
    plain = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    assert {torch.bfloat16 if precision == "bf16" else torch.float16} == KINDS
    assert found.lr == pytest.approx(plain.lr, rel=0.8)


Pair = namedtuple("Pair", ["x", "y"])


class Output(dict):
    """As models of Hugging Face return."""

    def __init__(self, loss):
        super().__init__(loss=loss)
        self.loss = loss


class Labelled(nn.Module):
    def __init__(self, returns):
        super().__init__()
        self.inner, self.returns = network(), returns

    def forward(self, x=None, y=None):
        return self.returns(F.cross_entropy(self.inner(x), y))


@pytest.mark.parametrize(
    ("model", "criterion", "form"),
    [
        (network, nn.CrossEntropyLoss(), lambda x, y: [x, y]),
        (network, F.cross_entropy, lambda x, y: (x, y)),
        (network, partial(F.cross_entropy, label_smoothing=0.0), lambda x, y: (x, y)),
        (network, lambda model, batch: F.cross_entropy(model(batch.x), batch.y), Pair),
        (network, lambda model, batch: {"loss": F.cross_entropy(model(batch["x"]), batch["n"][0])},
         lambda x, y: {"x": x, "n": [y, "text"]}),
        (partial(Labelled, Output), None, lambda x, y: {"x": x, "y": y}),
        (partial(Labelled, lambda value: (value, 1)), None, lambda x, y: {"x": x, "y": y}),
        (partial(Labelled, lambda value: SimpleNamespace(loss=value)), None, lambda x, y: {"x": x, "y": y}),
    ],
)  # fmt: skip
def test_losses_and_mini_batches_of_every_form(model, criterion, form):
    torch.manual_seed(0)
    batches = [form(x, y) for x, y in data()]
    found = suggest(model(), criterion, batches, torch.optim.SGD, **QUICK)
    expected = suggest(network(), loss, list(data()), torch.optim.SGD, steps=found.steps, **QUICK)
    assert found.lr == expected.lr


def test_an_iterator_without_end():
    def endless():
        while True:
            yield from data()

    source = endless()
    found = suggest(network(), loss, source, torch.optim.SGD, **QUICK)
    assert found.steps == 1000 and found.lr > 0
    assert len(next(source)) == 2


def test_frozen_and_tied_weights():
    model = network()
    model[0].requires_grad_(False)

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(8, 8), nn.Linear(8, 8, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, batch):
            assert self.head.weight is self.embedding.weight
            return F.cross_entropy(self.head(self.embedding(batch)), batch.roll(1))

    assert suggest(model, loss, data(), torch.optim.AdamW, **QUICK).basis == "trials"
    assert suggest(Tied(), None, [torch.arange(8)], torch.optim.AdamW, **QUICK).basis == "trials"


def test_weights_that_are_computed_and_results_that_are_kept():
    torch.manual_seed(0)
    normed = nn.utils.spectral_norm(nn.Linear(4, 8))
    model = nn.Sequential(normed, nn.ReLU(), nn.Linear(8, 2))
    model.outputs = [model(torch.ones(2, 4))]  # whose history cannot be copied
    weight, u, kept = normed.weight, normed.weight_u.clone(), model.outputs[0]
    found = suggest(model, loss, data(), torch.optim.SGD, **QUICK)
    assert found.basis == "trials" and min(trial.loss for trial in found.trials) < 0.6
    assert normed.weight is weight and torch.equal(normed.weight_u, u) and model.outputs[0] is kept


def test_a_criterion_with_weights_of_its_own():
    torch.manual_seed(0)
    model, criterion = network(), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(()))

        def forward(self, output, target):
            return F.cross_entropy(output * self.temperature, target)

    criterion = Learned()
    optimizer = torch.optim.SGD([*model.parameters(), *criterion.parameters()], 0.1)
    found = suggest(model, criterion, data(), optimizer, **QUICK)
    assert found.lr > 0 and criterion.temperature.item() == 1.0 and criterion.temperature.grad is None


def test_a_model_that_refuses_what_is_too_large():
    def strict(model, batch):
        output = model(batch[0])
        if not output.detach().abs().max() < 50:
            raise ValueError("logits out of range")
        return F.cross_entropy(output, batch[1])

    found = suggest(network(), strict, data(), torch.optim.SGD, **QUICK)
    assert found.basis == "trials"
    assert any("raised an error and count as diverged" in note for note in found.notes)


def test_groups_keep_their_proportions_also_under_a_scheduler():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 10)
    found = suggest(model, loss, data(), optimizer, **QUICK)
    assert found.ratios == pytest.approx((1, 10))
    found.apply(optimizer)
    assert [g["initial_lr"] for g in optimizer.param_groups] == pytest.approx([found.lr, 10 * found.lr])
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([found.lr / 10, found.lr])


@pytest.mark.parametrize("still", [0, 1])
def test_a_group_whose_rate_is_0_stays_still_also_under_a_scheduler(still):
    model = network()
    groups = [{"params": model[k].parameters(), "lr": 0.0 if k == 2 * still else 0.1} for k in (0, 2)]
    optimizer = torch.optim.SGD(groups)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    found = suggest(model, loss, data(), optimizer, schedule=scheduler, **QUICK)
    assert found.ratios[still] == 0 and found.ratios[1 - still] == 1
    found.apply(optimizer, scheduler)
    rates = [0.0 if k == still else found.lr for k in (0, 1)]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates)
    assert scheduler.base_lrs == pytest.approx(rates)


def test_rates_that_are_all_0_are_set_in_schedulers_as_well():
    optimizer = torch.optim.SGD(network().parameters(), 0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    found = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    found.apply(optimizer, scheduler)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == found.lr


def test_a_schedule_that_rises_above_its_base_rate_says_its_peak():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    built = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=50)
    found = suggest(model, loss, data(), optimizer, schedule=built, steps=50, **QUICK)
    assert found.peak == pytest.approx(25 * found.lr, rel=0.05)
    assert f"(base rate of OneCycleLR, whose peak is {found.peak:.2g}, 50 steps)" in str(found)
    found.apply(optimizer, built)
    assert optimizer.param_groups[0]["max_lr"] == pytest.approx(found.peak, rel=0.05)


class Plain(torch.optim.Optimizer):
    """As people write one: the gradients must be there, a closure is not looked at."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad


class Bare(Plain):
    """The same, and a closure is not even taken."""

    def step(self):
        super().step()


@pytest.mark.parametrize("optimizer", [Plain, Bare])
def test_an_optimizer_that_calls_no_closure(optimizer):
    theirs = suggest(network(), loss, data(), optimizer, **QUICK)
    pytorchs = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    assert theirs.lr == pytest.approx(pytorchs.lr, rel=1e-3)
    assert theirs.gradients == pytorchs.gradients


def test_a_model_that_freezes_a_layer_as_it_goes():
    def freezing(model, batch):
        model[0].requires_grad_(False)
        return loss(model, batch)

    found = suggest(network(), freezing, data(), torch.optim.AdamW, **QUICK)
    assert found.basis == "trials" and math.isfinite(found.curvature)


def test_complex_weights():
    """The loss is `(r - 1)^2 + (i - 2)^2`: the best rate is one over its bend; both parts count."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.complex64)
    given = [torch.ones(1, 1, dtype=torch.complex64)]
    found = suggest(
        model, lambda m, b: (m(b) - (1 + 2j)).abs().square().sum(), given, torch.optim.SGD, **QUICK
    )
    assert found.curvature == pytest.approx(0.5, rel=0.05)


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


def test_a_scheduler_of_pytorch_is_followed():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    built = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
    ours = suggest(model, loss, data(), optimizer, steps=200, schedule="cosine", **QUICK)
    theirs = suggest(model, loss, data(), optimizer, steps=200, schedule=built, **QUICK)
    assert theirs.schedule == "CosineAnnealingLR" and ours.schedule == "cosine"
    assert theirs.lr == pytest.approx(ours.lr, rel=0.05)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "power"),
    [
        (torch.optim.SGD, "constant", 0.3),
        (torch.optim.SGD, "cosine", 0.15),
        (torch.optim.AdamW, "constant", 0.6),
        (torch.optim.AdamW, "cosine", 0.3),
        (torch.optim.RMSprop, "constant", 0.6),
        (partial(torch.optim.SGD, momentum=0.9), "constant", 0.3),
    ],
)
def test_the_rate_falls_with_the_length_of_the_training(optimizer, schedule, power):
    def asked(steps):
        return suggest(network(), loss, data(), optimizer, steps=steps, schedule=schedule, **QUICK)

    short, long, longest = asked(8), asked(80), asked(10**6)
    assert long.trials == short.trials == longest.trials
    assert long.lr == pytest.approx(short.lr / 10**power, rel=1e-6)
    assert longest.lr == pytest.approx(short.lr / 10 ** (1.5 * power), rel=1e-6)  # no further than that
    assert long.high / long.low == pytest.approx(short.high / short.low)


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


def test_wrappers_are_looked_through():
    class Compiled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self._orig_mod = inner

        def forward(self, *given):
            raise AssertionError

    plain = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    assert suggest(nn.DataParallel(network()), loss, data(), torch.optim.SGD, **QUICK).lr == plain.lr
    assert suggest(Compiled(network()), loss, data(), torch.optim.SGD, **QUICK).lr == plain.lr


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


BROKEN = nn.Linear(2, 2)
BROKEN.lock = threading.Lock()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 1}, "model: must be a torch.nn.Module, but got 1; pass the network itself"),
        ({"model": nn.ReLU()}, "model: must have a parameter that requires a gradient, but got 0; "),
        ({"model": BROKEN}, "model: must be copied by copy.deepcopy, but got TypeError"),
        ({"loss": 3}, "loss: must be a function of"),
        ({"loss": nn.CrossEntropyLoss}, "loss: must be a function of"),
        ({"loss": lambda m, b: m(b[0])}, r"loss: must be one number, a tensor, but got \(8, 2\); "),
        ({"loss": lambda m, b: 1.0}, "loss: must be a tensor, or the output's `loss`, but got a float; "),
        ({"loss": lambda m, b: torch.ones(())}, "loss: must be differentiable by the model's parameters"),
        ({"loss": None, "data": [torch.ones(2, 4)]}, r"loss: must be one number, a tensor"),
        ({"data": None}, "data: must be a DataLoader or another iterable"),
        ({"data": []}, "data: must yield at least one mini-batch, but got 0; "),
        ({"data": torch.ones(3)}, "data: must be a DataLoader or another iterable"),
        ({"data": (torch.ones(3), torch.ones(3))}, "data: must be a DataLoader.*got 'a tuple of 2 tensors'"),
        ({"data": [[1, 2, 3]], "loss": F.cross_entropy}, "data: must yield"),
        ({"optimizer": None}, "optimizer: must be an optimizer over the model's parameters"),
        ({"optimizer": partial(torch.optim.SGD, maximize=True)}, "optimizer: must minimise the loss"),
        (
            {"loss": lambda out, y: F.cross_entropy(out, y)},
            "loss: must be a function of .* TypeError: cross_",
        ),
        ({"loss": lambda out, y: out.softmax(-1).sum()}, "loss: must be a function of .* AttributeError: "),
        ({"optimizer": 0.1}, "optimizer: must be an optimizer over the model's parameters"),
        ({"optimizer": torch.optim.SGD([torch.ones(1)])}, "optimizer: must be .*'a SGD over others'"),
        ({"optimizer": lambda p: p}, "optimizer: must be an optimizer over"),
        ({"optimizer": lambda p: 1 / 0}, "optimizer: must be .* building it raised ZeroDivisionError"),
        ({"steps": 0}, "steps: must be a whole number >= 1, but got 0; "),
        ({"schedule": "cosin"}, "schedule: .*cosine"),
        ({"accumulate": 0}, "accumulate: must be a whole number >= 1"),
        ({"grad_clip": 0.0}, "grad_clip: must be a finite number above 0"),
        ({"precision": "fp8"}, "precision: must be one of 'float32', 'bf16', 'fp16'"),
        ({"trial_steps": 5}, "trial_steps: must be a whole number >= 20, but got 5; leave it out"),
        ({"seconds": 0}, "seconds: must be a finite number above 0, but got 0; 30 is usual"),
        ({"seed": -1}, "seed: must be a whole number >= 0"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(change, message):
    given = {"model": network(), "loss": loss, "data": data(), "optimizer": torch.optim.SGD, **change}
    if "model" in change and isinstance(change["model"], nn.Module):
        given["loss"] = lambda model, batch: model(batch[0]).sum()
    with warnings.catch_warnings(), pytest.raises(InvalidArgumentError, match=f"^{message}") as error:
        warnings.simplefilter("error")
        suggest(**given)
    assert "\n" not in str(error.value) and "; " in str(error.value)


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
