"""A training of known length that is resumed, extended or shortened."""

import copy

import pytest
import torch

from hypernudge.episodes import Alignment, AnnealedAlignment, EpisodicScheduler, GradientNoise, WeightDecay
from hypernudge.episodes.controllers.annealed_alignment import SEARCHER
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._scheduler_factory import SchedulerFactory
from tests.episodes.helpers import Problem, same
from tests.episodes.known_length import STEPS, annealed, multipliers, sgd, train


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


def test_a_checkpoint_of_another_length_names_both():
    episodes, _, _ = annealed(steps=10)
    other = EpisodicScheduler(sgd(Problem()), total_steps=100)
    with pytest.raises(InvalidArgumentError, match=r"controller.total_steps: saved 240, here 100"):
        other.load_state_dict(episodes.state_dict())
