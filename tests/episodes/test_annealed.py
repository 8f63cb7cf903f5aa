"""A training of known length: the rate is searched, then annealed."""

import warnings

import pytest
import torch

from hypernudge.episodes import Alignment, AnnealedAlignment, EpisodicScheduler, GradientNoise, LearningRate
from hypernudge.episodes.controllers.anneal_shapes import SHAPES
from hypernudge.episodes.controllers.annealed_alignment import PLAIN_PEAK, SEARCHER
from hypernudge.episodes.controllers.step_bounds import StepBounds
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._scheduler_factory import SchedulerFactory
from tests.episodes.helpers import Problem
from tests.episodes.known_length import STEPS, annealed, multipliers, sgd, train


@pytest.mark.parametrize("shape", ["auto", "linear", "cosine", "1-sqrt"])
def test_what_was_found_falls_to_zero_by_the_last_step(shape):
    episodes, seen, _ = annealed(anneal=shape)
    assert episodes.phase == "anneal"
    start = next(r for r in episodes.records if r.selection.bucket == "anneal").start_step
    low, high = (share * STEPS for share in episodes.controller.search)
    assert low <= start <= high
    alignment = episodes.controller.alignment
    factors, top = multipliers(seen), alignment.drawn(PLAIN_PEAK * alignment.multiplier)
    assert top != PLAIN_PEAK * alignment.multiplier
    falls = SHAPES["linear" if shape == "auto" else shape]
    for step in range(start, STEPS):
        assert factors[step] == pytest.approx(top * falls((step - start) / (STEPS - start)), rel=1e-12)
    assert 0 < factors[-1] < 0.03 * top
    for bases, rates in seen:  # the groups keep the ratio of their rates
        assert rates[1] / rates[0] == pytest.approx(bases[1] / bases[0])
    assert len(episodes.records) < 64 + 40
    for record in episodes.records:
        assert record.selection.values[0] == pytest.approx(factors[record.start_step])


def test_the_peak_is_drawn_towards_a_size_that_goes_by_how_far_batches_agree():
    def peak(**bounds):
        alignment = Alignment(**{**SEARCHER, "bounds": StepBounds(most=1.0, **bounds)})
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(optimizer, controller=AnnealedAlignment(STEPS, alignment=alignment))
        cosines, update = [], None
        for step in range(STEPS):
            optimizer.zero_grad()
            problem.loss(step, size=32).backward()
            gradient = torch.cat([p.grad.flatten() for p in problem.model.parameters()])
            if episodes.phase == "search" and update is not None:
                cosines.append((-gradient @ update / (gradient.norm() * update.norm())).item())
            before = torch.cat([p.detach().flatten() for p in problem.model.parameters()])
            optimizer.step()
            update = torch.cat([p.detach().flatten() for p in problem.model.parameters()]) - before
        record = next(r for r in episodes.records if r.selection.bucket == "anneal")
        return record.selection.values[0] / alignment.multiplier, alignment, sum(cosines) / len(cosines)

    factor, alignment, mean = peak(weight=0.0)
    assert factor == pytest.approx(PLAIN_PEAK)
    found = PLAIN_PEAK * alignment.multiplier
    size = alignment._overall.size_at(found)
    # Updates that end one episode and begin the next are not judged: the mean is of most of the cosines.
    overall = alignment._overall
    usual = alignment.bounds.usual(overall.agreement, overall.squares, overall.judged)
    assert usual == pytest.approx(0.25 * mean, rel=0.2) and usual != pytest.approx(size, rel=0.1)
    for weight in (0.5, 1.0):
        drawn, _, _ = peak(weight=weight)
        assert drawn / factor == pytest.approx((usual / size) ** weight, rel=1e-6)


def test_the_search_is_alignment_to_the_bit():
    episodes, seen, _ = annealed()
    problem = Problem()
    optimizer = sgd(problem)
    plain = EpisodicScheduler(optimizer, controller=Alignment(initial_multiplier=2**-5, **SEARCHER))
    start = next(r for r in episodes.records if r.selection.bucket == "anneal").start_step
    assert [rates for _, rates in train(problem, optimizer, plain, start)] == [r for _, r in seen[:start]]
    assert len({r.selection.values for r in plain.records}) > 3


def test_the_end_of_the_search_follows_the_evidence():
    # A large rate to begin with leaves nothing to ramp; from far below the ramp is waited for.
    starts = {}
    for lr in (0.3, 3e-4):
        episodes, _, _ = annealed(lr, total=400, steps=400)
        starts[lr] = next(r for r in episodes.records if r.selection.bucket == "anneal").start_step
    assert starts[0.3] < starts[3e-4]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        annealed(1e-9, total=40, steps=40)
    (one,) = said
    assert "the search for a rate ended after 20 steps while the rate still rose" in str(one.message)


def said_at_the_end_of_the_search(optimizer, rate, steps, **options):
    problem = Problem()
    optimizer = optimizer(problem.model.parameters(), lr=rate)
    if options:
        episodes = EpisodicScheduler(optimizer, controller=AnnealedAlignment(steps, **options))
    else:
        episodes = EpisodicScheduler(optimizer, total_steps=steps)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train(problem, optimizer, episodes, steps // 2 + 2)
    assert episodes.phase == "anneal"
    return [str(one.message) for one in said if "search" in str(one.message)], episodes.controller.alignment


@pytest.mark.parametrize(
    ("optimizer", "rate", "steps", "way", "remedy"),
    [
        (torch.optim.SGD, 1e-8, 40, "while the rate still rose, at the largest", "pass a larger rate"),
        (torch.optim.AdamW, 0.1, 100, "while the rate still rose", "train for more steps"),
        (torch.optim.AdamW, 0.1, 12, "before a rate had stood a test", "train for more steps"),
    ],
)
def test_an_unfinished_search_says_how_it_stands_and_what_helps(optimizer, rate, steps, way, remedy):
    (said,), alignment = said_at_the_end_of_the_search(optimizer, rate, steps)
    assert f"ended after {steps // 2} steps {way}" in said and said.endswith(f": {remedy}")
    assert not alignment.fell and alignment.multiplier != 1.0


def test_a_search_that_cannot_go_lower_asks_for_a_smaller_rate():
    alignment = Alignment(low=0.1, **SEARCHER)
    (said,), _ = said_at_the_end_of_the_search(torch.optim.AdamW, 0.1, 40, alignment=alignment)
    assert "while the rate still fell, at the least multiplier, 0.1 times the optimizer's: " in said
    assert said.endswith(": pass a smaller rate") and not alignment.fell


def test_without_sizes_of_updates_a_larger_rate_helps_too():
    (said,), _ = said_at_the_end_of_the_search(torch.optim.SGD, 1e-6, 60, alignment=Alignment())
    assert "while the rate still rose" in said
    assert said.endswith("train for more steps, or pass a larger rate")


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("steps", [2, 3, 5])
def test_a_peak_that_no_size_bounds_is_what_was_found(steps, scheduled):
    problem = Problem()
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0) if scheduled else None
    episodes = EpisodicScheduler(optimizer, total_steps=steps)
    assert max(multipliers(train(problem, optimizer, episodes, steps, schedule))) == 1.0


def test_the_peak_is_an_argument():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS, peak=1)
    direct = AnnealedAlignment(STEPS, peak=1)
    assert episodes.controller.fingerprint() == direct.fingerprint()
    seen = multipliers(train(problem, optimizer, episodes, STEPS))
    start = next(r for r in episodes.records if r.selection.bucket == "anneal").start_step
    assert seen[start] == pytest.approx(episodes.controller.alignment.multiplier)
    noisy = EpisodicScheduler(sgd(Problem()), GradientNoise([0, 0.1]), total_steps=STEPS, peak=1)
    assert noisy.controller.parts[0].peak == 1
    built = SchedulerFactory((), None, {"peak": 1})  # as Lightning, Hugging Face and Accelerate do
    assert built.build(sgd(Problem()), steps=STEPS).controller.peak == 1
    with pytest.warns(UserWarning, match="does not know its number of optimizer steps"):
        assert isinstance(built.build(sgd(Problem())).controller, Alignment)


def test_a_short_training_begins_its_warm_up_higher():
    begins = [AnnealedAlignment(total).multiplier for total in (20, 60, 120, 400, 10**6)]
    assert begins == sorted(begins, reverse=True) and begins[0] == 1.0 and begins[-2:] == [0.01, 0.01]


def test_annealing_runs_no_tensor_operation():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(str(function))
            return function(*args, **(kwargs or {}))

    seen = []
    for attach in (False, True):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(optimizer, total_steps=STEPS) if attach else None
        for step in range(STEPS // 2):
            optimizer.zero_grad()
            problem.loss(step).backward()
            optimizer.step()
        assert episodes is None or episodes.phase == "anneal"
        with Operations() as operations:
            for step in range(STEPS // 2, STEPS // 2 + 9):
                optimizer.zero_grad()
                problem.loss(step).backward()
                optimizer.step()
        seen.append(operations.names)
    assert seen[0] == seen[1] != []


def test_metrics_and_the_picture_show_what_was_done(tmp_path):
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS)
    shown, seen = [], []
    for step in range(STEPS):
        seen += train(problem, optimizer, episodes, 1, start=step)
        shown.append(episodes.metrics())
    assert [m["episodes/lr"] for m in shown] == pytest.approx(multipliers(seen))
    start = next(r for r in episodes.records if r.selection.bucket == "anneal").start_step
    assert [m["episodes/annealing"] for m in shown] == [float(step >= start - 1) for step in range(STEPS)]
    (axes,) = episodes.plot(path=tmp_path / "annealed.svg").axes
    x, y = axes.lines[0].get_data()
    factors = multipliers(seen)
    for step in range(start, STEPS - 1):
        place = max(k for k in range(0, len(x), 2) if x[k] <= step)
        way = (step - x[place]) / (x[place + 1] - x[place])
        assert y[place] + way * (y[place + 1] - y[place]) == pytest.approx(
            factors[step], abs=0.02 * max(factors)
        )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda o: EpisodicScheduler(o, total_steps=0), "total_steps: must be at least 1, but got 0"),
        (lambda o: EpisodicScheduler(o, total_steps=1e3), "total_steps: must be a whole number"),
        (lambda o: EpisodicScheduler(o, total_steps=9, anneal="sqrt"), "anneal: must be one of 'auto'"),
        (lambda o: EpisodicScheduler(o, anneal="cosine"), "anneal: needs total_steps, but got 'cosine'"),
        (lambda o: EpisodicScheduler(o, peak=1), "peak: needs total_steps, but got 1; name the number of"),
        (lambda o: EpisodicScheduler(o, peak=1, controller=Alignment()), "peak: needs total_steps, but got"),
        (lambda o: EpisodicScheduler(o, total_steps=9, peak=0), "peak: must be above 0"),
        (lambda o: SchedulerFactory((), None, {"total_steps": None, "peak": 1}), "peak: needs total_steps"),
        (lambda o: SchedulerFactory((), None, {"peak": -1}), "peak: must be above 0"),
        (lambda o: EpisodicScheduler(o, LearningRate([1, 2]), total_steps=9), "total_steps: means that al"),
        (
            lambda o: EpisodicScheduler(o, controller=Alignment(), total_steps=9),
            "total_steps: must be told to",
        ),
        (lambda o: EpisodicScheduler(o).extend(9), "extend: needs a scheduler with total_steps"),
        (lambda o: AnnealedAlignment(9, search=(0.5, 0.3)), "search: must be two shares"),
        (lambda o: AnnealedAlignment(9, search=0.3), "search: must be two shares"),
        (lambda o: AnnealedAlignment(9, peak=0.0), "peak: must be above 0"),
        (lambda o: AnnealedAlignment(9, alignment=3), "alignment: must be an Alignment or None"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(build, message):
    with pytest.raises(InvalidArgumentError, match=message) as error:
        build(torch.optim.SGD(Problem().model.parameters(), lr=0.1))
    assert "\n" not in str(error.value)
