"""`informed` with a prior of past studies: what it starts, when it leaves a trial alone, and no harm."""

import math

import numpy as np
import pytest

from hypernudge import ASHA, Categorical, Config, Informed, RandomSearch, Real, SearchSpace, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.tasks.curves.tabulated import Tabulated
from hypernudge.tasks.spaces import build_space
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult
from hypernudge.warmstart.past.belief import results_of
from hypernudge.warmstart.past.choice import TRANSFER
from hypernudge.warmstart.past.file import PastFile
from hypernudge.warmstart.past.transfer import NOISE
from tests.warmstart.pasts import SPACE, opposite, score, study


class Formula:
    """A task that trains in no time: its score is a function of the configuration."""

    name, metric, metric_range = "formula", "score", (-math.inf, math.inf)

    def __init__(self, space, scored):
        self.space, self.scored = space, scored

    def start(self, seed):
        return [math.nan]

    def advance(self, state, hp):
        state[:] = [self.scored(hp)]
        return True

    def evaluate(self, state, split):
        return state[0]

    def unit_flops(self, hp):
        return 1.0


def formula(space=SPACE, scored=score):
    return Formula(space, scored)


def written(folder, studies, **options):
    path = folder / "past.json"
    PastFile(tuple(studies), **options).dump(path)
    return str(path)


def random_search(task, policy=None, seed=0, trials=40):
    search = RandomSearch(task.space, max_trials=trials, max_units=1)
    return tune(task, search, seed=seed, warm_start=policy).history.trials


def first_above(trials, target, scored=score):
    """The number of trials until one is above a target; one more than there are if none is."""
    return next((t.number + 1 for t in trials if scored(t.config) >= target), len(trials) + 1)


def top(scored=score, share=0.02, space=SPACE):
    rng = np.random.default_rng(7)
    values = [scored(space.sample(rng)) for _ in range(2000)]
    return float(np.quantile(values, 1 - share))


def ratio(folder, studies, seeds, scored=score):
    """Geometric mean of trials to target over those of random search; its error in logarithms."""
    prior, target = Informed(prior=written(folder, studies)), top(scored)
    logs = []
    for seed in seeds:
        plain = first_above(random_search(formula(scored=scored), seed=seed), target, scored)
        informed = first_above(random_search(formula(scored=scored), prior, seed), target, scored)
        logs.append(math.log(informed / plain))
    return math.exp(np.mean(logs)), float(np.std(logs, ddof=1) / math.sqrt(len(logs)))


def compared(task, studies, folder, seed, scheduler=ASHA):
    def run(policy):
        found = tune(task, scheduler(task.space, max_trials=20, max_units=9), seed=seed, warm_start=policy)
        return found.history

    return run(None), run(Informed(prior=written(folder, studies)))


CONTRADICTING = [study("a", 0), study("b", 1, scored=opposite)]


@pytest.mark.parametrize("studies", [[], CONTRADICTING], ids=["empty", "contradicting"])
@pytest.mark.parametrize("seed", range(5))
def test_a_past_that_says_nothing_is_the_scheduler_itself_to_the_bit(tmp_path, studies, seed):
    plain, informed = compared(formula(), studies, tmp_path, seed)
    assert informed.as_table() == plain.as_table()
    for a, b in zip(plain.events, informed.events, strict=True):
        if isinstance(a, Report):
            assert a.units == b.units and (a.started, a.finished, a.flops) == (b.started, b.finished, b.flops)
    for trial in informed.trials:
        assert trial.nudge.kind == "guard" and not trial.nudge.changed and trial.nudge.flops == 0.0
        assert ("contradict" if studies else "holds no study") in trial.nudge.reason


def test_a_past_of_a_range_that_was_never_tried_leaves_every_trial(tmp_path):
    above = SearchSpace([Real("rate", 1e2, 1e4, log=True), Real("other", 0.0, 1.0)])
    task = formula(above, lambda config: -config["other"])
    plain, informed = compared(task, [study("a", 0), study("b", 1)], tmp_path, 0)
    assert informed.as_table() == plain.as_table()
    assert {t.nudge.kind for t in informed.trials} == {"guard"}


def test_a_past_of_the_kind_saves_most_trials(tmp_path):
    found, _ = ratio(tmp_path, [study(f"t{i}", i) for i in range(3)], range(15))
    assert found < 0.45


def test_a_single_past_study_helps_too(tmp_path):
    found, _ = ratio(tmp_path, [study()], range(15))
    assert found < 0.7


@pytest.mark.parametrize(("count", "seeds"), [(1, 12), (5, 40)])
def test_a_past_that_misleads_is_found_out_and_costs_little(tmp_path, count, seeds):
    """The tasks before were the opposite of this one: equivalent to no past, within a quarter at 95 %."""
    found, error = ratio(tmp_path, [study(f"t{i}", i, scored=opposite) for i in range(count)], range(seeds))
    assert found * math.exp(-1.645 * error) > 0.8 and found * math.exp(1.645 * error) < 1.25


def test_half_the_first_trials_are_left_alone_however_many_studies_agree(tmp_path):
    policy = Informed(prior=written(tmp_path, [study(f"t{i}", i) for i in range(9)]))
    kinds = [
        trial.nudge.kind
        for seed in range(50)
        for trial in random_search(formula(), policy, seed, trials=2)  # then there are results
        if trial.nudge.measurements[TRANSFER] == pytest.approx(0.9)
    ]
    assert len(kinds) == 100 and 35 <= kinds.count("passthrough") <= 65


def test_a_misleading_past_is_no_longer_followed(tmp_path):
    path = written(tmp_path, [study(f"t{i}", i, scored=opposite) for i in range(5)])
    ended = [random_search(formula(), Informed(prior=path), seed)[-1].nudge.measurements for seed in range(5)]
    assert np.median([m[TRANSFER] for m in ended]) < 0.1
    kept = written(tmp_path / "other", [study(f"t{i}", i) for i in range(5)])
    ended = [random_search(formula(), Informed(prior=kept), seed)[-1].nudge.measurements for seed in range(5)]
    assert np.median([m[TRANSFER] for m in ended]) > 0.8


def test_the_record_says_what_was_learned_from_and_how_far_the_past_holds(tmp_path):
    trials = random_search(
        formula(), Informed(prior=written(tmp_path, [study(f"t{i}", i) for i in range(3)]))
    )
    kinds = {t.nudge.kind for t in trials}
    assert {"prior", "data"} <= kinds <= {"prior", "data", "passthrough"}
    for trial in trials:
        assert 0 <= trial.nudge.measurements[TRANSFER] < 1
        if trial.nudge.kind in ("prior", "data"):
            assert "3 past tasks: best of 256 draws" in trial.nudge.reason
    left = [t for t in trials if t.nudge.kind == "passthrough"]
    assert all(not t.nudge.changed and "left as sampled" in t.nudge.reason for t in left)


def test_what_the_past_does_not_know_stays_as_sampled(tmp_path):
    space = SearchSpace([Real("width", 1, 512, log=True), *SPACE, Categorical("act", ("relu", "tanh"))])
    path = written(tmp_path, [study(f"t{i}", i) for i in range(3)])
    trials = random_search(formula(space, lambda c: score(c)), Informed(prior=path))
    assert sum(t.nudge.changed for t in trials) > 20
    assert all(t.config[name] == t.sampled[name] for t in trials for name in ("width", "act"))
    for trial in trials:
        space.check(trial.config)


def test_conditional_spaces_stay_valid(tmp_path):
    space = SearchSpace([*SPACE, Real("extra", 0.0, 1.0, only_if=("kind", ("a",)))])
    past = [study(f"t{i}", i, space=space) for i in range(3)]
    trials = random_search(formula(space), Informed(prior=written(tmp_path, past)))
    assert sum(t.nudge.changed for t in trials) > 10
    for trial in trials:
        space.check(trial.config)


def test_rows_of_a_table_are_chosen_among(tmp_path):
    rng = np.random.default_rng(0)
    hp = np.stack([10 ** rng.uniform(-4, 0, 300), rng.integers(2, 13, 300)], axis=1)
    loss = (np.log10(hp[:, 0]) + 1.2) ** 2 + 0.05 * (hp[:, 1] - 6) ** 2
    np.savez(tmp_path / "curves.npz", hp=hp, hp_names=np.array(["rate", "depth"]), valid=loss[:, None])
    task = Tabulated(tmp_path / "curves.npz")
    path = written(tmp_path, [study(f"t{i}", i) for i in range(3)])
    trials = random_search(task, Informed(prior=path), trials=40)
    rows = set(task.table.rows)
    assert all(t.config in rows for t in trials)
    chosen = [task.table.index(t.config) for t in trials if t.nudge.changed]
    assert len(chosen) > 15 and loss[chosen].mean() < 0.4 * loss.mean()
    assert len(set(chosen)) == len(chosen)  # none twice


def test_decisions_follow_from_history_and_streams_alone(tmp_path):
    policy = Informed(prior=written(tmp_path, [study(f"t{i}", i) for i in range(3)]))
    task, trials = formula(), random_search(formula(), trials=12)
    history = History(9)
    for trial in trials:
        history.append(Started(trial.number, trial.sampled, Nudge(trial.sampled, "none"), 0.0))
        job = Job(trial.number, trial.config, 0, 1)
        history.append(job)
        value = score(trial.config)
        history.append(Report(job, "ok", 0.0, 1.0, (UnitResult(1, 1.0, value, value),), 1.0))
    again = History.replay(history.events, 9)
    sampled = SPACE.sample(Streams(3)("config", 12))
    one, other = (policy(task, sampled, h, Streams(3)) for h in (history, again))
    assert one == other
    assert policy(task, sampled, history, Streams(4)) != one


def test_results_count_where_they_were_first_and_last_compared():
    history = History(9)
    for number in range(6):
        config = Config({"x": float(number)})
        history.append(Started(number, config, Nudge(config, "none"), 0.0))
        for since, until in ((0, 1), (1, 3)) if number < 4 else ((0, 1),):
            job = Job(number, config, since, until)
            history.append(job)
            units = (UnitResult(until, 1.0, float(number), 0.0),)
            history.append(Report(job, "ok", 0.0, 1.0, units, 1.0))
    found = results_of(history, np.ones(6, dtype=bool))
    assert found.trials.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]
    assert found.milestone.tolist() == [1, 3] * 4 + [1, 1] and found.noise.tolist() == [2.0] * 8 + [1.0] * 2
    assert len(results_of(history, np.zeros(6, dtype=bool))) == 0
    error = math.sqrt(0.1 * np.var(np.arange(6)))  # a tenth of the variance of the six scores is noise
    noisy = results_of(history, np.ones(6, dtype=bool), error)
    assert noisy.noise[-2:] == pytest.approx([1 + 0.1 / NOISE] * 2)
    assert noisy.noise[1] > noisy.noise[0] > 2  # and a larger share of that of the four that went on


def test_failures_alone_say_nothing_of_the_past(tmp_path):
    policy = Informed(prior=written(tmp_path, [study(f"t{i}", i) for i in range(3)]))
    broken = formula(scored=lambda config: math.nan)
    assert {t.nudge.measurements[TRANSFER] for t in random_search(broken, policy, trials=8)} == {0.75}


def test_trials_of_other_ranges_are_not_learned_from(tmp_path):
    policy = Informed(prior=written(tmp_path, [study(f"t{i}", i) for i in range(3)]))
    history = History(9)
    for number in range(6):
        config = Config({**SPACE.middle(), "rate": 50.0})
        history.append(Started(number, config, Nudge(config, "none", kind="given"), 0.0))
        job = Job(number, config, 0, 1)
        history.append(job)
        history.append(Report(job, "ok", 0.0, 1.0, (UnitResult(1, 1.0, float(number), 0.0),), 1.0))
    nudge = policy(formula(), SPACE.middle(), history, Streams(0))
    assert nudge.kind in ("prior", "passthrough")


def test_its_own_family_and_those_named_are_left_out(tmp_path):
    path = written(tmp_path, [study("a", 0, family="formula"), study("b", 1, family="f")])
    task = formula()
    with pytest.raises(InvalidArgumentError, match="needs a family that is not left out"):
        Informed(prior=path, exclude_families=("formula", "f"))
    with pytest.raises(InvalidArgumentError, match="include_own_family=True"):
        Informed(prior=path, exclude_families=("f",)).check(SPACE, task)
    Informed(prior=path, exclude_families=("f",), include_own_family=True).check(SPACE, task)
    reason = Informed(prior=path)(task, SPACE.middle(), History(9), Streams(1)).reason
    assert "2 past tasks" not in reason


def test_a_prior_of_another_space_is_refused_before_any_work(tmp_path):
    path = written(tmp_path, [study()])
    space = SearchSpace([Real("dropout", 0.0, 0.5)])
    began = []
    task = formula(space, lambda config: began.append(1) or 0.0)
    with pytest.raises(
        InvalidArgumentError, match=r"prior: must know a hyper-parameter of the space"
    ) as caught:
        random_search(task, Informed(prior=path))
    assert "\n" not in str(caught.value) and not began


def test_what_trees_have_taught_is_not_believed_of_a_network():
    spaces = build_space("mid"), build_space("xgboost")  # `lr` is no second name of `eta`
    with pytest.raises(InvalidArgumentError, match=r"prior: must know a hyper-parameter of the space"):
        Informed(prior="xgboost").check(spaces[0], formula(spaces[0]))
    Informed(prior="xgboost").check(spaces[1], formula(spaces[1]))


def test_a_space_without_a_rate_is_sent_to_past_studies():
    with pytest.raises(InvalidArgumentError, match="prior of past studies"):
        random_search(formula(), build("warm_start", {"name": "informed"}))


def test_the_first_edition_is_reachable_to_the_bit(tmp_path):
    """What recorded studies ran with: the values are those of the code before there were options."""
    path = written(tmp_path, [study(f"t{i}", i) for i in range(3)])
    first = Informed(prior=path, min_results=4, cost_weight=0.0)
    trials = random_search(formula(), first, 0, trials=30)
    depths = [9, 7, 6, 6, 6, 7, 7, 8, 6, 7, 5, 7, 7, 4, 6, 5, 6, 7, 6, 6, 5, 5, 6, 6, 5, 6, 5, 5, 7, 5]
    assert [t.config["depth"] for t in trials] == depths
    rates = [0.0670106, 0.0459673, 0.0538112, 0.0998575, 0.0617894, 0.106179, 0.112665, 0.000433963]
    assert [t.config["rate"] for t in trials[-8:]] == pytest.approx(rates, rel=1e-5)
    kinds = [t.nudge.kind for t in trials]
    assert kinds == ["passthrough", "prior"] * 2 + ["data"] * 25 + ["passthrough"]
    bolder = random_search(formula(), Informed(prior=path), 0, trials=4)
    assert [t.nudge.kind for t in bolder[:4]] == ["passthrough", "prior", "passthrough", "data"]
