"""A training of known length: the rate is searched, then annealed; alone, and with bandits on other axes."""

import copy
import warnings

import pytest
import torch

from hypernudge.episodes import (
    Alignment,
    AnnealedAlignment,
    EpisodicScheduler,
    GradientNoise,
    LearningRate,
    WeightDecay,
)
from hypernudge.episodes.controllers.anneal_shapes import SHAPES
from hypernudge.episodes.controllers.annealed_alignment import PLAIN_PEAK, SEARCHER
from hypernudge.episodes.controllers.step_bounds import StepBounds
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._scheduler_factory import SchedulerFactory
from tests.episodes.helpers import Problem, same

STEPS = 240


def groups_of(problem, lr=0.1):
    """Return two groups with rates and decays of their own, as embeddings and norms have."""
    first, *rest = problem.model.parameters()
    return [{"params": [first], "lr": lr, "weight_decay": 0.1}, {"params": rest, "lr": 2 * lr}]


def sgd(problem, lr=0.1):
    return torch.optim.SGD(groups_of(problem, lr), lr=lr, momentum=0.9)


def train(problem, optimizer, episodes, steps, schedule=None, start=0):
    """Return the multiplier of every step, and the rates of both groups."""
    seen = []
    for step in range(start, start + steps):
        optimizer.zero_grad()
        loss = problem.loss(step, size=32)
        loss.backward()
        if episodes.controller.uses_loss:
            episodes.observe(loss)
        bases = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        assert [group["lr"] for group in optimizer.param_groups] == bases
        seen.append((bases, episodes.last_lr))
        if schedule is not None:
            schedule.step()
    return seen


def multipliers(seen):
    return [rates[0] / bases[0] for bases, rates in seen]


def annealed(lr=0.1, steps=STEPS, total=STEPS, **options):
    problem = Problem()
    optimizer = sgd(problem, lr)
    episodes = EpisodicScheduler(optimizer, total_steps=total, **options)
    return episodes, train(problem, optimizer, episodes, steps), problem


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


@pytest.mark.parametrize("axes", [(), (GradientNoise([0.0, 0.05]), WeightDecay([0.5, 2.0]))])
def test_it_resumes_bit_for_bit_in_every_phase(tmp_path, axes):
    options = {"total_steps": STEPS, "seed": 3, **({"episode_length": 7} if axes else {})}

    def run(cut):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(optimizer, *axes, **options)
        train(problem, optimizer, episodes, cut)
        torch.save([optimizer.state_dict(), episodes.state_dict()], tmp_path / "state.pt")
        saved = torch.load(tmp_path / "state.pt", weights_only=True)
        phase = episodes.phase
        episodes.detach()
        optimizer = sgd(problem)
        optimizer.load_state_dict(saved[0])
        episodes = EpisodicScheduler(optimizer, *axes, **{**options, "seed": 8})
        episodes.load_state_dict(saved[1])
        seen = train(problem, optimizer, episodes, STEPS - cut, start=cut)
        return phase, seen, episodes.records, problem.parameters()

    _, seen, records, parameters = run(1)
    start = next(r for r in records if "anneal" in (r.selection.bucket or "")).start_step
    phases = set()
    for cut in (2, 30, start - 1, start, start + 1, STEPS - 1):
        phase, tail, again, ends = run(cut)
        phases.add(phase)
        assert tail == seen[cut - 1 :]
        assert again == records
        assert same(ends, parameters)
    assert phases == {"search", "anneal"}


@pytest.mark.filterwarnings("ignore:the search for a rate ended")
@pytest.mark.parametrize("cut", [40, 150])
def test_a_short_training_that_was_extended_resumes_with_its_present_length(cut):
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, total_steps=120)
    train(problem, optimizer, episodes, 30 if cut < 100 else 120)  # in the search, or after the end
    episodes.extend(200)
    train(problem, optimizer, episodes, cut - episodes.step_count, start=episodes.step_count)
    saved = episodes.state_dict()
    model = copy.deepcopy(problem.model.state_dict()), copy.deepcopy(optimizer.state_dict())
    seen = train(problem, optimizer, episodes, 200 - cut, start=cut)
    other = Problem()
    second = sgd(other)
    resumed = EpisodicScheduler(second, total_steps=200)  # its own warm-up would begin elsewhere
    assert resumed.controller.multiplier != AnnealedAlignment(120).multiplier
    other.model.load_state_dict(model[0])
    second.load_state_dict(model[1])
    resumed.load_state_dict(saved)
    assert train(other, second, resumed, 200 - cut, start=cut) == seen
    assert resumed.records == episodes.records and same(other.parameters(), problem.parameters())
    built = SchedulerFactory((), None, {}).build(sgd(Problem()), state=saved, steps=200)  # as trainers do
    assert (built.step_count, built.total_steps) == (cut, 200)


def test_where_a_warm_up_begins_is_a_setting_if_it_was_given():
    def built(start):
        alignment = Alignment(initial_multiplier=start, **SEARCHER)
        return EpisodicScheduler(sgd(Problem()), controller=AnnealedAlignment(120, alignment=alignment))

    with pytest.raises(ValueError, match=r"alignment\.start: saved 0\.25, here 0\.5"):
        built(0.5).load_state_dict(built(0.25).state_dict())


def test_extended_while_searching_is_as_if_named_at_once():
    whole, seen, problem = annealed(total=600, steps=400)
    other = Problem()
    optimizer = sgd(other)
    episodes = EpisodicScheduler(optimizer, total_steps=340)
    first = train(other, optimizer, episodes, 60)
    assert episodes.phase == "search"
    episodes.extend(600)
    assert first + train(other, optimizer, episodes, 340, start=60) == seen
    assert episodes.records == whole.records and same(other.parameters(), problem.parameters())
    assert episodes.total_steps == 600 and episodes.phase == "anneal"


def test_extended_after_the_end_the_rate_returns_and_falls_again():
    episodes, seen, problem = annealed()
    top = episodes.controller.alignment.multiplier
    episodes.extend(2 * STEPS)
    assert episodes.phase == "search"
    more = multipliers(train(problem, episodes.optimizer, episodes, STEPS, start=STEPS))
    assert more[0] == pytest.approx(top) and more[0] > 10 * multipliers(seen)[-1]
    assert episodes.phase == "anneal" and 0 < more[-1] < 0.03 * max(more)
    ends = [record.end_step for record in episodes.records]
    assert [r.start_step for r in episodes.records] == [0, *(end + 1 for end in ends[:-1])]


def test_shortened_it_falls_from_where_it_is():
    episodes, seen, problem = annealed(steps=STEPS * 3 // 4)
    here, last = STEPS * 3 // 4, multipliers(seen)[-1]
    episodes.extend(here + 20)
    less = multipliers(train(problem, episodes.optimizer, episodes, 20, start=here))
    assert less[0] == pytest.approx(last, rel=0.02)
    assert [a / less[0] for a in less] == pytest.approx([1 - k / 20 for k in range(20)])
    with pytest.raises(
        InvalidArgumentError, match=rf"total_steps: must be above the {here + 20} steps taken"
    ):
        episodes.extend(here + 20)
    assert episodes.total_steps == here + 20


def test_steps_beyond_the_end_are_warned_of_once_and_change_nothing():
    episodes, _, problem = annealed()
    before = problem.parameters()
    with pytest.warns(UserWarning, match="training goes on after the 240 steps it was given, at a rate of 0"):
        seen = train(problem, episodes.optimizer, episodes, 5, start=STEPS)
    assert same(problem.parameters(), before)
    assert [rates for _, rates in seen] == [[0.0, 0.0]] * 5


def cosine(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)


def linear(optimizer):
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)


def one_cycle(optimizer):
    rates = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, STEPS, cycle_momentum=False)


def warmup(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / 90) * (1.0 if step < 180 else 0.1)
    )


@pytest.mark.parametrize("schedule", [cosine, linear, one_cycle, warmup])
def test_a_schedule_of_the_user_s_acts_on_top_and_is_not_countered(schedule):
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS)
    seen = train(problem, optimizer, episodes, STEPS, schedule(optimizer))
    start = next(r for r in episodes.records if r.selection.bucket == "anneal").start_step
    bases = [sum(base) for base, _ in seen]
    top = max(bases)
    assert start <= 0.5 * STEPS + 1 and bases[start - 1] > 0.45 * top  # neither before its warm-up ended ...
    ratio = {round(rates[k] / base[k], 9) for base, rates in seen[start:] for k in (0, 1) if base[k]}
    assert ratio == {
        round(PLAIN_PEAK * episodes.controller.alignment.multiplier, 9)
    }  # ... nor against its fall
    assert episodes.metrics()["episodes/annealing"] == 1.0


def test_a_schedule_of_the_user_s_is_annealed_where_that_is_asked_for():
    problem = Problem()
    optimizer = sgd(problem)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    episodes = EpisodicScheduler(optimizer, total_steps=STEPS, anneal="linear")
    factors = multipliers(train(problem, optimizer, episodes, STEPS, constant))
    assert factors[-1] < 0.03 * max(factors)
    tensor = Problem()
    rates = torch.optim.SGD(tensor.model.parameters(), lr=torch.tensor(0.1))
    episodes = EpisodicScheduler(rates, total_steps=60, anneal="cosine", seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        factors = []
        for step in range(60):
            rates.zero_grad()
            tensor.loss(step).backward()
            rates.step()
            factors.append(episodes.last_lr[0] / 0.1)
            assert rates.param_groups[0]["lr"].item() == pytest.approx(0.1)
    assert factors[-1] < 0.01 * max(factors) and factors[0] == pytest.approx(0.5)


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


def test_bandits_on_other_axes_are_given_their_own_episodes():
    def run(joint):
        problem = Problem()
        optimizer = sgd(problem)
        bandits = {"episode_length": 7, "seed": 5}
        noise = GradientNoise([0.0, 0.05])
        if joint:
            both = EpisodicScheduler(optimizer, noise, total_steps=STEPS, **bandits)
            episodes = [both]
        else:
            episodes = [
                EpisodicScheduler(optimizer, total_steps=STEPS),
                EpisodicScheduler(optimizer, noise, **bandits),
            ]
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = problem.loss(step, size=32)
            loss.backward()
            episodes[-1].observe(loss)
            optimizer.step()
        return problem.parameters(), episodes

    parameters, (both,) = run(True)
    others, (rate, noise) = run(False)
    assert same(parameters, others)
    rewards = [r.reward.value for r in both.records if r.reward is not None]
    assert rewards == [r.reward.value for r in noise.records] and len(rewards) == STEPS // 7
    steps = {s: r.selection.values for r in both.records for s in range(r.start_step, r.end_step + 1)}
    for record in noise.records:
        for step in range(record.start_step, record.end_step + 1):
            assert steps[step][1] == record.selection.values[0]
    search = [r for r in rate.records if r.selection.bucket == "search"]
    assert len(search) > 3
    for record in search:
        assert steps[record.start_step][0] == steps[record.end_step][0] == record.selection.values[0]
    both.finalize()
    ends = [record.end_step for record in both.records]
    assert [r.start_step for r in both.records] == [0, *(end + 1 for end in ends[:-1])]
    assert ends[-1] == STEPS - 1


def test_alignment_without_an_end_goes_with_bandits_too():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(
        optimizer, GradientNoise([0.0, 0.05]), controller=Alignment(), episode_length=7, seed=5
    )
    train(problem, optimizer, episodes, 80)
    assert {axis.name for axis in episodes.controller.axes} == {"lr", "noise"}
    assert len({r.selection.values[0] for r in episodes.records}) > 2
    episodes.abandon()
    train(problem, optimizer, episodes, 20, start=80)
    assert episodes.step_count == 100 and episodes.total_steps is None and episodes.phase is None


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


def test_a_checkpoint_of_another_length_names_both():
    episodes, _, _ = annealed(steps=10)
    other = EpisodicScheduler(sgd(Problem()), total_steps=100)
    with pytest.raises(InvalidArgumentError, match=r"controller.total_steps: saved 240, here 100"):
        other.load_state_dict(episodes.state_dict())
