"""Which prior speaks, and which files are one: by task, by optimizer, by what was written last."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hypernudge import ASHA, SGD, AdamW, Informed, Real, SearchSpace, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.tasks.language.task import LanguageModel
from hypernudge.trial import History
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.past import file as past_files
from tests.laws.test_informed import FIRST, with_results
from tests.warmstart.pasts import study

OF_TEXTS = ("lm_characters", "lm_pieces")


def starts(task, policy):
    def score(config):
        return -abs(config["momentum"] - 0.7)

    policy = replace(policy, probe=False)
    trials = with_results(task, score, policy=policy).trials[:12]
    return [trial.nudge.config for trial in trials], [trial.nudge.reason for trial in trials]


def test_the_default_is_the_prior_that_a_task_says_fits_it(bowl):
    bowl.optimizer = AdamW()
    without, reasons = starts(bowl, Informed())
    assert without == starts(bowl, Informed(prior="near"))[0] and reasons[0].startswith("prior: best")
    bowl.shipped_prior = LanguageModel.shipped_prior
    found, said = starts(bowl, Informed())
    named, plain = starts(bowl, Informed(prior="language"))
    assert found == named != without and Informed()._prior(bowl).tasks == OF_TEXTS
    assert said[0].startswith("prior (language): best") and plain[0].startswith("prior: best")
    assert said[-1].startswith("data of 11 trials (language): best")
    assert starts(bowl, Informed(prior="near")) == (without, reasons)
    assert FIRST._prior(bowl).tasks == Informed(prior="tables")._prior(bowl).tasks  # what it was


def test_a_task_may_ask_for_the_prior_of_before(bowl):
    bowl.shipped_prior = "tables"  # of which the usual one holds every task
    found, reasons = starts(bowl, Informed())
    assert found == starts(bowl, Informed(prior="tables"))[0]
    assert reasons[0].startswith("prior (tables): best")


def test_a_task_goes_by_the_usual_prior_where_the_prior_that_fits_it_does_not_know_its_rule(bowl):
    bowl.optimizer = SGD()
    found = starts(bowl, Informed())
    bowl.shipped_prior = "language"
    assert starts(bowl, Informed()) == found  # to the letter: no record of SGD is another
    bowl.optimizer = AdamW()
    near = priors.load("near").prior().tasks
    bowl.family = "tinyshakespeare"  # of all that speak for language models
    assert Informed()._prior(bowl).tasks == near
    assert Informed(include_own_family=True)._prior(bowl).tasks == OF_TEXTS


def test_a_prior_that_is_not_shipped_is_refused_before_anything_is_trained(bowl):
    bowl.shipped_prior = "langauge"
    with pytest.raises(InvalidArgumentError, match=r"shipped_prior of the task: .*'language'") as caught:
        Informed().check(bowl.space, bowl)
    assert "\n" not in str(caught.value)
    Informed(prior="tables").check(bowl.space, bowl)


@pytest.mark.parametrize("rule", ["SGD", "Lion", "Muon"])
def test_a_rule_without_rows_of_its_own_borrows_those_of_sgd(rule):
    found, tables = (priors.fitted(name, ("digits",), rule) for name in ("language", "tables"))
    assert found.tasks == tables.tasks and len(found.tasks) == 9
    assert (found.mean == tables.mean).all() and (found.covariance == tables.covariance).all()
    texts = [task for task in priors.load("language").tasks if task.optimizer == "AdamW"]
    assert priors.PriorFile(tuple(texts)).prior(optimizer=rule).tasks == OF_TEXTS  # all there are


def written(tmp_path, **changes):
    """A file of two tasks, the first with `changes`."""
    path = tmp_path / "mine.json"
    priors.PriorFile(priors.load("tables").tasks[:2]).dump(path)
    told = json.loads(path.read_text())
    told["tasks"][0] |= changes
    path.write_text(json.dumps(told))
    return str(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"b": [float("nan")] * 35}, "task 'digits_mlp', b: must be 35 finite numbers"),
        ({"b": [1.0]}, "task 'digits_mlp', b: must be 35 finite numbers"),
        ({"b": "none"}, "task 'digits_mlp', b: must be 35 finite numbers"),
        ({"a": [1.0]}, "task 'digits_mlp', a: must be 630 finite numbers"),
        ({"a": [float("inf")] * 630}, "task 'digits_mlp', a: must be 630 finite numbers"),
        ({"a": [-1.0] * 630}, "task 'digits_mlp', a: must have no negative sum of squares"),
        ({"scale": float("nan")}, "task 'digits_mlp', scale: must be 1 finite number,"),
        ({"task": "digits_cnn"}, "must list each task once, but got .*digits_cnn"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_task_that_says_nothing_or_counts_twice_is_refused(tmp_path, changes, said):
    name = written(tmp_path, **changes)
    with pytest.raises(InvalidArgumentError, match=f"prior '.*mine.json'.*{said}") as caught:
        Informed(prior=name)
    assert "\n" not in str(caught.value) and "hypernudge prior build" in str(caught.value)


def test_a_past_study_that_is_listed_twice_or_holds_no_numbers_is_refused(tmp_path):
    path = tmp_path / "past.json"
    past_files.PastFile((study("t"), study("t"))).dump(path)
    with pytest.raises(InvalidArgumentError, match=r"must list each task once, but got \['t'\]"):
        Informed(prior=str(path))
    past_files.PastFile((study("t"),)).dump(path)
    told = json.loads(path.read_text())
    told["studies"][0]["columns"]["rate"][0] = float("nan")
    path.write_text(json.dumps(told))
    with pytest.raises(InvalidArgumentError, match=r"the values of 't' under \['rate'\] must be finite"):
        Informed(prior=str(path))


def test_a_file_that_is_written_anew_is_read_again_and_a_study_keeps_what_it_began_with(tmp_path, bowl):
    tasks, path = priors.load("tables").tasks, tmp_path / "mine.json"
    priors.PriorFile(tasks[:3]).dump(path)
    before = Informed(prior=str(path))
    assert len(before._prior(bowl).tasks) == 3
    priors.PriorFile(tasks[:5]).dump(path)
    assert len(Informed(prior=str(path))._prior(bowl).tasks) == 5 and len(before._prior(bowl).tasks) == 3
    assert len(priors.load(str(path)).tasks) == 5
    past_files.PastFile((study("t"),)).dump(path)  # of the other kind
    past = Informed(prior=str(path))
    assert past.measures is False and before.measures is True and before._past(bowl.space, bowl) is None
    past_files.PastFile((study("t"), study("u"))).dump(path)
    assert len(past_files.load(str(path)).studies) == 2
    path.unlink()
    assert before(bowl, bowl.space.middle(), History(9), Streams(0)).kind == "prior"
    with pytest.raises(InvalidArgumentError, match="must be readable"):
        Informed(prior=str(path))


@pytest.mark.parametrize("kind", ["rates", "past"])
def test_a_kept_study_does_not_go_on_with_another_prior_of_the_same_name(kind, tmp_path, bowl):
    path, folder = tmp_path / "mine.json", tmp_path / "study"
    rates, past = priors.load("tables").tasks, (study("t"), study("u"))

    def write(count):
        (priors.PriorFile(rates[:count]) if kind == "rates" else past_files.PastFile(past[:count])).dump(path)

    def go_on(trials):
        policy = Informed(prior=str(path), probe=False)
        scheduler = ASHA(bowl.space, max_units=1, max_trials=trials)
        return tune(bowl, scheduler, warm_start=policy, seed=0, study=folder)

    bowl.space = SearchSpace([*bowl.space, Real("rate", 0.1, 1.0)])
    write(2)
    begun = go_on(3)
    assert len(go_on(4).trials) == 4
    write(1)
    with pytest.raises(
        InvalidArgumentError, match=r"begun with other arguments: warm_start\.learned_from was"
    ):
        go_on(5)
    write(2)  # the same is no other
    assert [trial.config for trial in go_on(5).trials[:3]] == [trial.config for trial in begun.trials]


def test_a_kept_study_of_the_default_does_not_go_on_with_another_default(bowl, tmp_path, monkeypatch):
    def go_on(trials, prior, folder):
        policy = Informed(prior=prior, probe=False)
        scheduler = ASHA(bowl.space, max_units=1, max_trials=trials)
        return tune(bowl, scheduler, warm_start=policy, seed=0, study=tmp_path / folder)

    usual = priors.load
    for name in ("shipped", "near"):
        go_on(2, name, name)
    monkeypatch.setattr(priors, "load", lambda name, version=None: usual("tables"))  # as it was before
    with pytest.raises(InvalidArgumentError, match=r"warm_start\.learned_from was '\w+', is '\w+'"):
        go_on(3, "shipped", "shipped")
    assert len(go_on(3, "near", "near").trials) == 3  # the name says which one it is


@pytest.mark.parametrize("name", ["Near", "naer", " near", "NEAR"])
def test_a_name_that_is_nearly_one_is_said(name):
    with pytest.raises(InvalidArgumentError, match=r"must be readable.*did you mean 'near'\?"):
        Informed(prior=name)
    with pytest.raises(InvalidArgumentError) as other:
        Informed(prior="past/of/mine.json")
    assert "did you mean" not in str(other.value)


def test_another_versions_format_is_said_to_be_one(tmp_path):
    path = tmp_path / "mine.json"
    for load in (priors.load, past_files.load):
        path.write_text('{"format": 3, "tasks": [], "studies": []}')
        with pytest.raises(InvalidArgumentError, match=r"must be of format 1 .*2 .*got 3; another version"):
            load(str(path))
        path.write_text("{}")
        with pytest.raises(InvalidArgumentError, match="'shipped', 'language', 'near', 'none', 'xgboost'"):
            load(str(path))
    past_files.PastFile((study("t"),)).dump(path)
    with pytest.raises(InvalidArgumentError, match=r"must be of learning rates, .* holds past studies"):
        priors.load(str(path))


def test_the_default_is_the_third_edition_and_tables_are_what_it_was():
    usual, near, tables = (priors.fitted(name, (), "SGD") for name in ("shipped", "near", "tables"))
    assert usual.tasks == near.tasks and np.array_equal(usual.mean, near.mean)
    assert tables.tasks == near.tasks[:13] and not np.allclose(tables.mean, near.mean, atol=0.1)


def test_the_prior_of_the_third_edition_adds_studies_near_the_probe_to_that_of_tables():
    near, tables = priors.load("near"), priors.load("tables")
    assert near.pooling == priors.HIERARCHICAL and near.provenance["ranks"] == "task"
    old, new = near.tasks[: len(tables.tasks)], near.tasks[len(tables.tasks) :]
    for row, kept in zip(old, tables.tasks, strict=True):
        assert row.task == kept.task and np.array_equal(row.a, kept.a) and np.array_equal(row.b, kept.b)
    family = {row.task: row.family for row in tables.tasks}
    assert new and all(row.family == family[row.task.removesuffix(", near")] for row in new)
    assert all(row.task.endswith(", near") and row.configurations == 480 for row in new)
    left = near.prior(("digits",)).tasks  # of both kinds none is left
    assert len(left) == sum(family[row.task.removesuffix(", near")] != "digits" for row in near.tasks)
    assert not any(task.startswith("digits") for task in left)


def test_a_policy_that_is_made_fits_nothing_and_a_study_once(bowl, monkeypatch):
    calls, plain = [], priors.fit
    monkeypatch.setattr(priors, "fit", lambda *given: calls.append(given) or plain(*given))
    with pytest.raises(InvalidArgumentError, match="needs a family that is not left out"):
        Informed(exclude_families=tuple({task.family for task in priors.load("shipped").tasks}))
    policy = Informed(exclude_families=("nobody has seen this one",))
    assert not calls
    for number in range(3):
        policy(bowl, bowl.space.middle(), History(9 + number), Streams(0))
    assert len(calls) == 1
