"""What past studies say about a space: ranks, features, transfer, files."""

import dataclasses
import json
import math

import numpy as np
import pytest

from hypernudge import Categorical, Integer, Real, SearchSpace
from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.spaces import SPACES
from hypernudge.warmstart.past.axes import axis_of
from hypernudge.warmstart.past.file import PastFile, load, transferred
from hypernudge.warmstart.past.studies import ABSENT, SHARES, PastTrial, joined, past_study
from hypernudge.warmstart.past.transfer import Transfer, believed, features_of, transfer
from tests.harness.tools import ROOT
from tests.warmstart.pasts import BEST, SPACE, opposite, score, study, tried


def said(found: Transfer, space=SPACE, n=400):
    """Foretold and true scores of draws of the space, correlated."""
    rng = np.random.default_rng(99)
    units = space.draw(rng, n)
    true = [score(space.decode(unit), space=space) for unit in units]
    return float(np.corrcoef(found.features.of_units(units) @ found.chosen_by, true)[0, 1])


def test_trials_are_ranked_where_they_stopped_and_the_lost_are_last():
    curves = [{1: 0.9, 3: math.nan}, {1: 0.1}, {1: 0.5, 3: 0.4, 9: 0.3}, {1: 0.4, 3: 0.6, 9: 0.2}, {1: 0.3}]
    trials = [PastTrial({"x": float(i)}, curve) for i, curve in enumerate(curves)]
    found = past_study("t", trials * 2, max_units=9)
    first, _, third, last = (row[:5] for row in found.scores)
    assert np.argsort(first).tolist() == [1, 4, 3, 2, 0]  # after one unit
    assert np.argsort(third).tolist() == [
        0,
        1,
        4,
        2,
        3,
    ]  # the diverged below the dropped, those below the rest
    assert np.argsort(last).tolist() == [0, 1, 4, 3, 2]
    assert past_study("t", trials, max_units=9) is None  # too few
    assert past_study("t", [PastTrial({"x": 1.0}, {1: 0.5})] * 20) is None  # nothing to rank


def test_shares_take_the_nearest_unit_that_was_recorded():
    trials = [PastTrial({"x": float(i)}, {1: float(i), 27: -float(i)}) for i in range(10)]
    found = past_study("t", trials)
    assert len(found.scores) == len(SHARES)
    assert (np.sign(found.scores[:, -1]) == [1, 1, -1, -1]).all()
    only_last = past_study("t", [PastTrial(t.config, {5: t.scores[27]}) for t in trials])
    assert (only_last.scores == only_last.scores[0]).all()


def test_a_number_has_hats_on_its_own_scale_in_its_own_range():
    axis = axis_of(SPACE["rate"], "rate", [study()])
    assert axis.log and all(axis.inside) and len(axis.knots) == 7
    units = np.linspace(0, 1, 7)
    assert np.allclose(axis.columns(axis.of_units(SPACE["rate"], units)), np.eye(7))
    assert np.allclose(axis.columns(axis.read([1e-4, None, "text", True]))[1:], 0.0)
    depth = axis_of(SPACE["depth"], "depth", [study()])
    whole = [SPACE["depth"].encode(value) for value in range(2, 13)]
    assert np.allclose(depth.of_units(SPACE["depth"], np.array(whole)), np.arange(2, 13))
    few = axis_of(Integer("depth", 3, 5), "depth", [study()])
    assert np.allclose(np.array(few.knots)[list(few.inside)], [3, 4, 5])


@pytest.mark.parametrize(
    ("parameter", "log"),
    [
        (Real("rate", 1e-4, 1.0, log=True), True),
        (Real("rate", 1e-4, 1.0), True),  # the past says so
        (Real("rate", 0.0, 1.0), False),  # zero has no logarithm
        (Real("share", 0.3, 1.0), False),
    ],
)
def test_a_scale_is_logarithmic_where_space_or_past_say_so(parameter, log):
    assert axis_of(parameter, parameter.name, [study()]).log is log


def test_a_scale_that_nobody_declared_is_told_from_wide_ranges():
    untold = study(log=())
    assert axis_of(Real("rate", 1e-4, 1.0), "rate", [untold]).log
    assert not axis_of(Real("share", 0.3, 1.0), "share", [untold]).log


def test_the_past_outside_the_range_has_hats_of_its_own():
    axis = axis_of(Real("rate", 1e-2, 10.0, log=True), "rate", [study()])
    inside = np.array(axis.inside)
    outer = axis.columns(axis.read([1e-4, 1e-3]))
    assert not inside.all() and np.allclose(outer[:, inside], 0.0) and np.allclose(outer.sum(1), 1.0)


def test_choices_that_are_numbers_lie_on_a_scale_and_others_are_indicators():
    past = past_study("t", [PastTrial({"batch": 2 ** (4 + i % 5), "act": "relu"}, {1: i}) for i in range(20)])
    batch = axis_of(Categorical("batch", (32, 128, 512)), "batch", [past])
    assert batch.log and np.allclose(np.exp(np.array(batch.knots)[list(batch.inside)]), [32, 128, 512])
    half = batch.columns(batch.read([64]))[0][list(batch.inside)]
    assert np.allclose(half, [0.5, 0.5, 0.0])
    act = axis_of(Categorical("act", ("tanh", "relu", None)), "act", [past])
    assert act.columns(act.read(["relu", "gelu", ABSENT, None])).tolist() == [
        [0, 1, 0],
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
    ]
    assert axis_of(Categorical("act", ("tanh", "elu")), "act", [past]) is None  # nothing of these was tried


def test_flags_and_none_are_known_by_their_text_too():
    axis = axis_of(
        Categorical("flag", (True, False, None)),
        "flag",
        [past_study("t", [PastTrial({"flag": str(i % 2 == 0)}, {1: i}) for i in range(9)])],
    )
    assert axis.read([True, "False", "None", 1]).tolist() == [0, 1, 2, -1]


def test_a_past_of_the_kind_is_found_and_grows():
    found = {n: transfer(SPACE, [study(f"t{i}", i) for i in range(n)]) for n in (1, 3, 10)}
    assert [round(f.probability, 2) for f in found.values()] == [0.5, 0.75, 0.91]
    qualities = [said(f) for f in found.values()]
    assert qualities[0] > 0.8 and qualities[2] > 0.95 and qualities[2] > qualities[0]
    own = [np.trace(f.own) for f in found.values()]
    assert own[0] > own[1] > own[2]


def test_ranks_that_follow_no_rule_say_nothing():
    rng = np.random.default_rng(0)
    noise = [study(f"t{i}", i, scored=lambda config: rng.random()) for i in range(4)]
    found = transfer(SPACE, noise)
    assert found.probability == 0.0 and "contradict" in found.why
    assert transfer(SPACE, noise[:1]).probability == 0.0


def test_studies_that_contradict_each_other_say_nothing():
    found = transfer(SPACE, [study("a", 0), study("b", 1, scored=opposite)])
    assert found.probability == 0.0 and found.agreement["a"] < 0 and found.agreement["b"] < 0


def test_one_odd_study_among_many_leaves_the_others_believed():
    many = [study(f"t{i}", i) for i in range(8)] + [study("odd", 9, scored=opposite)]
    found = transfer(SPACE, many)
    assert 0.7 < found.probability < 0.9 and found.agreement["odd"] < 0 < found.agreement["t0"]


def test_belief_needs_more_than_chance():
    assert believed([0.5])[0] == 0.5 and believed([0.05])[0] == 0.0
    assert believed([0.9, -0.5])[0] == 0.0  # a mean within its own error of nothing
    assert believed([0.5] * 9)[0] == 0.9
    assert believed([0.9, 0.9, 0.05, 0.05, 0.05, 0.05, 0.05, 0.9])[0] == pytest.approx(3 / 9)


def test_pairs_are_features_where_the_past_shows_that_they_matter():
    with_pair = [study(f"t{i}", i, scored=lambda c: score(c, pair=12.0)) for i in range(8)]
    found = transfer(SPACE, with_pair)
    assert (0, 1) in found.features.pairs
    assert len(found.chosen_by) == found.features.of_units(SPACE.draw(np.random.default_rng(0), 1)).shape[1]
    assert transfer(SPACE, [study(f"t{i}", i) for i in range(8)]).features.pairs == ()


def test_a_part_of_the_range_is_used_and_the_rest_is_unknown():
    upper = SearchSpace([Real("rate", 1e-2, 100.0, log=True), *SPACE.parameters[1:]])
    found = transfer(upper, [study(f"t{i}", i) for i in range(4)])
    axis = found.features.axes[0]
    weights = found.chosen_by[: len(axis.knots)]
    known = np.array(axis.knots) <= math.log(1.0) + 1e-9
    inside = np.array(axis.inside)
    assert (weights[inside & known] != 0).any()
    assert np.allclose(weights[inside & ~known][1:], 0.0)  # the first neighbours what was tried
    assert np.allclose(weights[~inside], 0.0)


def test_a_past_of_another_range_says_nothing_of_that_hyper_parameter():
    above = SearchSpace([Real("rate", 1e2, 1e4, log=True), *SPACE.parameters[1:]])
    found = transfer(above, [study(f"t{i}", i) for i in range(4)])
    axis = found.features.axes[0]
    assert np.allclose(found.chosen_by[: len(axis.knots)], 0.0)
    assert np.abs(found.chosen_by[len(axis.knots) :]).max() > 0.1  # of the others it does
    alone = SearchSpace(above.parameters[:1])
    assert transfer(alone, [study(f"t{i}", i) for i in range(4)]).probability == 0.0


def test_other_names_are_known_by_aliases():
    renamed = SearchSpace([Real("learning_rate", 1e-4, 1.0, log=True)])
    found = features_of(renamed, [study()], {"rate": ("learning_rate",)})
    assert found.names == ["learning_rate"] and found.past_names == ("rate",)
    assert features_of(renamed, [study()], {}).axes == ()


def test_several_seeds_of_a_task_are_one_study_with_the_ranks_of_each():
    one, other = study("t", 0, n=20), study("t", 1, n=30)
    both = joined(one, other)
    assert len(both) == 50 and np.array_equal(both.scores[:, :20], one.scores)
    assert list(transfer(SPACE, [one, other]).agreement) == ["t"]
    with pytest.raises(InvalidArgumentError, match="must be of one family"):
        joined(one, study("t", 1, family="other"))


def test_features_of_units_are_those_of_configurations():
    conditional = SearchSpace([*SPACE, Real("extra", 0.0, 1.0, only_if=("kind", ("a",)))])
    for space in (SPACE, conditional):
        past = [past_study("t", tried(0, 40, lambda c: score(c), space))]
        features = features_of(space, past, {})
        units = space.draw(np.random.default_rng(3), 30)
        configs = [space.decode(unit) for unit in units]
        assert np.allclose(features.of_units(units), features.of_configs(configs))
        assert features.names == list(space.names)


def test_a_file_is_what_was_written(tmp_path):
    kind = Categorical("kind", (None, "a", 3, True))
    space = SearchSpace([SPACE["rate"], kind])
    trials = [PastTrial(dict(c), {1: float(i)}) for i, c in enumerate(_draws(space, 20))]
    trials.append(PastTrial({"rate": 0.1}, {1: 3.0}))  # it lacks the other
    first = past_study("t", trials, family="f", log=("rate",))
    file = PastFile((first, study("u")), {"by": "a test"}, {"rate": ("lr",)})
    file.dump(tmp_path / "past.json")
    again = load(str(tmp_path / "past.json"))
    assert again.provenance == {"by": "a test"} and again.aliases == {"rate": ("lr",)}
    assert again.studies[0].columns["kind"] == first.columns["kind"]
    assert again.studies[0].columns["kind"][-1] == ABSENT and again.studies[0].family == "f"
    assert np.allclose(again.studies[0].scores, first.scores, atol=5e-4)
    assert json.loads((tmp_path / "past.json").read_text())["format"] == 2
    assert [s.task for s in again.without(["f"])] == ["u"]
    with pytest.raises(InvalidArgumentError, match=r"prior: needs a family that is not left out.*'f', 'u'"):
        again.without(["f", "u"])


def _draws(space, n):
    rng = np.random.default_rng(5)
    return [space.sample(rng) for _ in range(n)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2}',
        '{"format": 2, "studies": [{"task": "t"}]}',
        '{"format": 2, "studies": [{"task": "t", "family": "t", "log": [], "columns": {}, "scores": [[1]]}]}',
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=r"prior: .* must be readable") as caught:
        load(str(path))
    assert "\n" not in str(caught.value) and "hypernudge prior build" in str(caught.value)


def test_a_prior_of_another_space_is_refused_with_both_names(tmp_path):
    PastFile((study(),)).dump(tmp_path / "past.json")
    space = SearchSpace([Real("dropout", 0.0, 0.5)])
    with pytest.raises(InvalidArgumentError, match=r"prior: must know .*\['dropout'\].*'rate'") as caught:
        transferred(str(tmp_path / "past.json"), (), space)
    assert "\n" not in str(caught.value)


def test_the_best_of_the_past_is_where_it_was(tmp_path):
    found = transfer(SPACE, [study(f"t{i}", i) for i in range(6)])
    units = SPACE.draw(np.random.default_rng(1), 4000)
    best = SPACE.decode(units[int(np.argmax(found.features.of_units(units) @ found.chosen_by))])
    assert best["kind"] == "b"
    assert all(abs(SPACE[name].encode(best[name]) - place) < 0.2 for name, place in BEST.items())


def test_the_shipped_past_of_trees_knows_their_space_under_both_names():
    file = load("xgboost")
    assert len(file.studies) == 21 and all(len(study) == 64 for study in file.studies)
    assert file.provenance["sources"][0]["trials"] == 21 * 64
    found = transferred("xgboost", ("adult",), SPACES["xgboost"])
    assert "adult" not in found.agreement and len(found.agreement) == 20
    assert found.probability > 0.8 and np.median(list(found.agreement.values())) > 0.7
    renamed = {
        "eta": "learning_rate",
        "lambda": "reg_lambda",
        "alpha": "reg_alpha",
        "gamma": "min_split_loss",
    }
    theirs = SearchSpace(
        [dataclasses.replace(p, name=renamed.get(p.name, p.name)) for p in SPACES["xgboost"]]
    )
    other = transferred("xgboost", ("adult",), theirs)
    assert np.allclose(other.chosen_by, found.chosen_by)
    units = theirs.draw(np.random.default_rng(0), 2000)
    best = theirs.decode(units[int(np.argmax(other.features.of_units(units) @ other.chosen_by))])
    assert 0.03 < best["learning_rate"] < 0.9


def test_the_shipped_past_is_what_is_built_from_its_table():
    pytest.importorskip("pandas", reason="extra harness")
    from hypernudge.harness.inspection.past_prior import build_past
    from hypernudge.harness.inspection.past_sources import Reading

    table = ROOT / "benchmarks" / "results" / "priors" / "xgboost_past.csv.gz"
    built, shipped = build_past([str(table)], Reading(mode="max")).studies, load("xgboost").studies
    for one, other in zip(built, shipped, strict=True):
        assert (one.task, one.family, one.columns) == (other.task, other.family, other.columns)
        assert np.allclose(one.scores, other.scores, atol=5e-4)


def test_a_rate_that_grows_with_the_batch_is_learned_as_a_pair():
    # Linear scaling (Goyal et al. 2017): four times the samples, four times the rate.
    sizes = Categorical("batch_size", (16, 64, 256))
    space = SearchSpace([Real("lr", 1e-4, 1.0, log=True), sizes])

    def scored(config):
        return -((math.log10(config["lr"] / config["batch_size"]) + 3.8) ** 2)

    found = transfer(space, [study(f"t{i}", i, 256, scored, space, log=("lr",)) for i in range(3)])
    rates = np.linspace(-4, 0, 81)
    best = []
    for size in sizes.choices:
        configs = [{"lr": 10.0**rate, "batch_size": size} for rate in rates]
        best.append(rates[np.argmax(found.features.of_configs(configs) @ found.chosen_by)])
    assert np.allclose(np.diff(best), math.log10(4), atol=0.1)
