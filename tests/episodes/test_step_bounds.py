"""Bounds on the relative size of updates: a search that hardly moves leaps, and none leads to huge steps."""

import pytest
import torch

from hypernudge.episodes import Alignment, AnnealedAlignment, EpisodicScheduler
from hypernudge.episodes.controllers.evidence import Evidence
from hypernudge.episodes.controllers.step_bounds import StepBounds
from hypernudge.errors import InvalidArgumentError
from tests.episodes.helpers import Problem, same


def sizes_of(alignment, optimizer_of, steps, problem):
    """Return the relative size of every update and its multiplier."""
    optimizer = optimizer_of(problem.model.parameters())
    episodes = EpisodicScheduler(optimizer, controller=alignment)
    found = []
    for step in range(steps):
        optimizer.zero_grad()
        problem.loss(step, size=32).backward()
        before = torch.cat([p.flatten() for p in problem.parameters()])
        optimizer.step()
        after = torch.cat([p.flatten() for p in problem.parameters()])
        selection = episodes.current or episodes.records[-1].selection
        found.append((((after - before).norm() / after.norm()).item(), selection.values[0]))
    return found


def sgd(lr):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def adamw(lr):
    return lambda parameters: torch.optim.AdamW(parameters, lr=lr)


@pytest.mark.parametrize("build", [sgd(1e-4), adamw(1e-5)])
def test_a_rate_that_moves_nothing_is_left_within_a_few_steps(build):
    bounded = sizes_of(Alignment(bounds=StepBounds()), build, 40, Problem())
    tested = sizes_of(Alignment(), build, 40, Problem())
    assert bounded[0] == tested[0] and max(size for size, _ in tested[:12]) < 0.1 * StepBounds().least
    assert max(size for size, _ in bounded[:12]) > 0.5 * StepBounds().least
    assert max(size for size, _ in bounded) < StepBounds().most


def test_the_multiplier_stops_at_the_user_s_rate_on_a_leap_too():
    seen = [
        multiplier for _, multiplier in sizes_of(Alignment(bounds=StepBounds()), sgd(1e-4), 30, Problem())
    ]
    assert 1.0 in seen and max(seen) > 10


def test_growth_stops_where_steps_would_be_too_large():
    bounds = StepBounds(small=0.004, most=0.004)

    def largest(options):
        problem = Problem()
        found = sizes_of(
            Alignment(initial_multiplier=1.0, z_up=0.1, z_at_base=None, **options), sgd(0.002), 150, problem
        )
        return max(multiplier for _, multiplier in found)

    assert largest({"bounds": bounds}) < 0.5 * largest({})


def test_below_the_small_size_only_strong_disagreement_counts():
    def verdict(cosine, size, bounds):
        alignment = Alignment(bounds=bounds, initial_multiplier=1.0, min_samples=4, z_at_base=(1.7, 1.5))
        alignment._overall.tested = 1  # past the first steps, whose size is bounded
        alignment._overall.agreement, alignment._overall.judged = 200.0, 1000
        row = [-cosine, 1.0, 1.0] if bounds is None else [-cosine, 1.0, 1.0, size**-2]
        for _ in range(4):
            alignment._decide([row])
        return alignment.verdict, alignment.hardly_moves

    # Four equal cosines make z = 2 in size: enough to fall, but not where the network hardly moves.
    assert verdict(-0.1, 1e-3, None) == (0.7, False)
    assert verdict(-0.1, 1e-3, StepBounds()) == (None, True)
    assert verdict(-0.1, 2e-2, StepBounds()) == (0.7, False)
    assert verdict(0.1, 2e-2, StepBounds()) == (2.0, False)
    assert verdict(0.1, 4e-2, StepBounds()) == (1.0, False)  # twice as much would pass the bound
    assert verdict(-0.1, 1e-5, StepBounds()) == (pytest.approx(30.0), True)
    assert verdict(-0.1, 1e-9, StepBounds()) == (100.0, True)


def test_an_undecided_test_grows_by_the_size_of_updates_and_not_by_the_multiplier():
    def verdict(size, multiplier):
        alignment = Alignment(bounds=StepBounds(), initial_multiplier=multiplier, z_warmup=0.0)
        alignment._overall.tested = 1
        alignment._overall.agreement, alignment._overall.judged = 200.0, 1000
        for step in range(30):  # z stays below 1
            alignment._decide([[-0.1 if step % 2 == 0 else 0.09, 1.0, 1.0, size**-2]])
            if alignment.verdict is not None:
                return alignment.verdict, step + 1
        return None

    for multiplier in (0.01, 2.0):  # below the user's rate and above
        assert verdict(5e-3, multiplier) == (2.0, 15)
        assert verdict(1e-2, multiplier) == (1.0, 30)


@pytest.mark.parametrize("build", [sgd(10.0), adamw(2.0)])
def test_a_search_begins_with_small_steps_however_large_the_rate(build):
    found = sizes_of(Alignment(bounds=StepBounds(first=1e-3)), build, 12, Problem())
    free = sizes_of(Alignment(bounds=StepBounds(first=1e9)), build, 12, Problem())
    assert free[0] == found[0] and max(size for size, _ in free) > 0.02
    assert max(size for size, _ in found[4:]) < 3e-3
    assert min(multiplier for _, multiplier in found) < 0.01  # lowered, and not by a verdict of the test


def test_what_was_lowered_untested_is_no_fall():
    alignment = Alignment(bounds=StepBounds(first=1e-3), first_down=0.35)
    alignment._decide([[-0.1, 1.0, 1.0, 0.02**-2]])
    assert alignment.verdict == pytest.approx(0.05) and not alignment.fell
    alignment.close(alignment.open(), [])
    assert alignment.multiplier == 0.01  # opened anew, nothing is pending
    alignment._decide([[-0.1, 1.0, 1.0, 0.02**-2]])
    alignment.close(None, [])
    assert alignment.multiplier == pytest.approx(5e-4)
    assert not alignment.fell and alignment._overall.tested == 0
    assert alignment._overall.size_at(0.01) == pytest.approx(0.02)


def test_where_batches_agree_about_little_steps_stay_smaller():
    def verdict(cosine, size, mean, tests=30):
        alignment = Alignment(bounds=StepBounds(), initial_multiplier=2.0, z_warmup=0.0, samples=tests)
        alignment._overall.tested = 1
        alignment._overall.agreement, alignment._overall.judged = 1e5 * mean, 10**5
        for step in range(tests):
            alignment._decide([[-cosine if step % 2 == 0 else 0.9 * cosine, 1.0, 1.0, size**-2]])
            if alignment.verdict is not None:
                return alignment.verdict, alignment.hardly_moves
        return None

    # An undecided test at a size of .005: small where batches agree by .2, and large where they do by .03.
    assert verdict(0.1, 5e-3, 0.2) == (2.0, True)
    assert verdict(0.1, 5e-3, 0.03) == (1.0, False)

    def grows(size, mean):
        alignment = Alignment(bounds=StepBounds(), initial_multiplier=2.0)
        alignment._overall.tested = 1
        alignment._overall.agreement, alignment._overall.judged = 1e5 * mean, 10**5
        alignment._decide([[-0.3, 1.0, 1.0, size**-2]] * 5)
        return alignment.verdict

    # Twice the size would pass 1.5 times the usual one, a quarter of the agreement.
    assert grows(0.015, 0.1) == 2.0 and grows(0.02, 0.1) == 1.0
    assert grows(0.003, 0.02) == 2.0 and grows(0.004, 0.02) == 1.0
    assert grows(0.024, 0.9) == 2.0 and grows(0.026, 0.9) == 1.0  # and never .05


def test_the_usual_size_is_a_quarter_of_the_mean_agreement_and_a_peak_is_drawn_to_it_by_its_weight():
    bounds = StepBounds()
    assert bounds.usual(0.0, 0.0, 0) == pytest.approx(0.25 * 0.12)  # nothing is known yet
    assert bounds.usual(9.0, 1.0, 90) == pytest.approx(0.25 * (9.0 + 1.2) / 100)
    assert bounds.usual(-50.0, 90 * 0.3**2, 90) == pytest.approx(0.25 * 0.25 * 0.3)  # not told from noise
    assert bounds.usual(-50.0, 0.0, 90) > 0
    assert StepBounds(expected_probes=0.0).usual(0.0, 0.0, 0) == pytest.approx(0.25 * 0.12)
    assert bounds.drawn(0.02, 0.02, 90) == 1.0
    assert bounds.drawn(0.01, 0.02, 90) == pytest.approx(2**0.85)
    assert bounds.drawn(0.04, 0.02, 90) == pytest.approx(0.5**0.85)
    assert bounds.drawn(1e-5, 0.02, 30) == 4.0 and bounds.drawn(10.0, 0.02, 30) == 0.25
    assert bounds.drawn(1e-5, 0.02, 29) == 2.0 and bounds.drawn(10.0, 0.02, 29) == 0.5
    assert bounds.drawn(0.04, 0.2, 90) == pytest.approx(1.25)  # no peak is beyond `most`
    assert StepBounds(weight=0.0).drawn(1e-5, 0.02, 90) == 1.0


def test_evidence_without_a_size_bounds_nothing():
    evidence = Evidence()
    evidence.add([[1.0, 1.0, 1.0, 0.0], [float("nan"), 1.0, 4.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    assert evidence.read == 3 and evidence.last_size == 0.0 and evidence.size == pytest.approx(2.0)
    assert StepBounds().raised(0.0, 2.0) is None
    assert Evidence.of_state(evidence.state()).state() == evidence.state()


def test_the_search_of_a_known_length_finds_a_rate_from_far_below():
    def final(lr):
        problem = Problem()
        optimizer = torch.optim.SGD(problem.model.parameters(), lr=lr, momentum=0.9)
        EpisodicScheduler(optimizer, total_steps=300)
        for step in range(300):
            optimizer.zero_grad()
            problem.loss(step, size=32).backward()
            optimizer.step()
        with torch.no_grad():
            return sum(problem.loss(step, size=32).item() for step in range(1000, 1020)) / 20

    assert final(3e-5) < final(0.1) + 0.1


def test_a_bounded_search_resumes_bit_for_bit(tmp_path):
    def run(cut):
        problem = Problem()
        optimizer = sgd(1e-6)(problem.model.parameters())
        episodes = EpisodicScheduler(optimizer, controller=AnnealedAlignment(120))
        for step in range(60):
            if step == cut:
                torch.save([optimizer.state_dict(), episodes.state_dict()], tmp_path / "state.pt")
                saved = torch.load(tmp_path / "state.pt", weights_only=True)
                episodes.detach()
                optimizer = sgd(1e-6)(problem.model.parameters())
                optimizer.load_state_dict(saved[0])
                episodes = EpisodicScheduler(optimizer, controller=AnnealedAlignment(120))
                episodes.load_state_dict(saved[1])
            optimizer.zero_grad()
            problem.loss(step, size=32).backward()
            optimizer.step()
        return problem.parameters(), episodes.records

    whole = run(None)
    assert len(whole[1]) > 5
    for cut in (1, 2, 3, 7, 30):
        parameters, records = run(cut)
        assert same(parameters, whole[0]) and records == whole[1]


def test_no_leap_makes_up_for_a_warm_up_of_the_user_s():
    problem = Problem()
    optimizer = sgd(0.1)(problem.model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1e-5 * 10 ** min(5.0, step / 12))
    episodes = EpisodicScheduler(optimizer, total_steps=400)
    for step in range(70):
        optimizer.zero_grad()
        problem.loss(step, size=32).backward()
        optimizer.step()
        schedule.step()
        if step < 30:  # the ramp goes on, by tests
            assert episodes.controller.multiplier <= 0.01 * 2 ** (step // 4)
    assert max(record.selection.values[0] for record in episodes.records) <= 8


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StepBounds(least=0.1), "least, small, most: must not fall, but got"),
        (lambda: StepBounds(leap=1.0), "leap: must be above 1, but got 1.0"),
        (lambda: StepBounds(z_small=0.0), "z_small: must be above 0"),
        (lambda: StepBounds(first=0.0), "first: must be above 0, but got 0.0"),
        (lambda: StepBounds(per_agreement=-1.0), "per_agreement: must be above 0, but got -1.0"),
        (lambda: StepBounds(expected_probes=-1.0), "expected_probes: must be 0 or above, but got -1.0"),
        (lambda: StepBounds(weight=1.5), "weight: must lie in .0, 1., but got 1.5"),
        (lambda: StepBounds(most=float("nan")), "most: must be finite"),
        (lambda: Alignment(bounds=0.1), "bounds: must be StepBounds or None, but got 0.1"),
        (lambda: Alignment(settled_every=0), "settled_every: must be at least 1"),
        (lambda: Alignment(settled_steps=0), "settled_steps: must be at least 1"),
    ],
)
def test_what_bounds_nothing_is_refused_in_one_line(build, message):
    with pytest.raises(InvalidArgumentError, match=message) as error:
        build()
    assert "\n" not in str(error.value)
