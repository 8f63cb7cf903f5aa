"""One way a warm start is applied: in a study of our own and in another tool's."""

import logging

import pytest

from hypernudge import ASHA, RandomSearch, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._adapter import WarmStartAdapter
from hypernudge.integrations._external_space import ExternalSpace
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.trial import NUDGE_KINDS, History, Nudge, Started
from hypernudge.warmstart.failures import attempts, total_failure
from hypernudge.warmstart.runner import WarmStartRunner, name_of

NAMED = (
    "literal",
    "multi_step",
    "random_step",
    "curvature_band",
    "newton",
    "probe_band",
    "placebo",
    "informed",
)


def own_study(bowl, policy, n=3):
    search = RandomSearch(bowl.space, max_units=1, max_trials=n)
    return [trial.nudge for trial in tune(bowl, search, seed=0, warm_start=policy).history.trials]


def tools_study(bowl, policy, n=3):
    adapter = WarmStartAdapter(bowl, ExternalSpace({p.name: p for p in bowl.space}), policy)
    history = History()
    for number in range(n):
        sampled = bowl.space.sample(Streams(0)("config", number))
        _, nudge = adapter(sampled, history)
        history.append(Started(number, sampled, nudge, 0.0))
    return [trial.nudge for trial in history.trials]


STUDIES = pytest.mark.parametrize("study", [own_study, tools_study])


@STUDIES
@pytest.mark.parametrize("name", NAMED)
def test_an_error_is_recorded_under_the_policys_own_name(bowl, study, name):
    def init(seed):
        raise RuntimeError("no memory")

    bowl.init, bowl.start = init, lambda seed: type(bowl)().start(seed)
    bowl.unit_flops = lambda hp: 1.0
    nudges = study(bowl, name)
    assert nudges[0].reason == "the warm start raised RuntimeError: no memory: left as sampled"
    for nudge in nudges:
        assert (nudge.policy, nudge.flagged, nudge.changed) == (name, True, False)
        assert nudge.kind == "error" and nudge.wall_seconds > 0


@STUDIES
def test_policies_of_ones_own_have_names_too(bowl, study):
    def doubtful(task, sampled, history, streams):
        raise RuntimeError("not today")

    class Doubtful:
        def __call__(self, task, sampled, history, streams):
            raise RuntimeError("not today")

    class Named(Doubtful):
        name = "doubts"

    for policy, name in ((doubtful, "doubtful"), (Doubtful(), "Doubtful"), (Named(), "doubts")):
        assert {nudge.policy for nudge in study(bowl, policy)} == {name} == {name_of(policy)}


@STUDIES
def test_leaving_the_space_leaves_the_trial_as_sampled_and_is_paid_for(bowl, study):
    def leaves(task, sampled, history, streams):
        far = sampled.replace(label_smoothing=7.0) if len(history.trials) else sampled
        return Nudge(far, "leaves", changed=far != sampled, flops=5.0, measurements={"seen": 1.0})

    nudges = study(bowl, leaves)
    assert (nudges[0].kind, nudges[0].flagged) == ("unchanged", False)
    for nudge in nudges:
        assert nudge.flops == 5.0 and nudge.measurements == {"seen": 1.0}
        bowl.space.check(nudge.config)
    # A tool's continuous values are clipped, as its steps are snapped: only ours may leave.
    outside = nudges[1:] if study is own_study else []
    for nudge in outside:
        assert nudge.flagged and not nudge.changed and nudge.kind == "error"
        assert "left the space (label_smoothing: " in nudge.reason


def test_misuse_at_the_first_trial_is_raised_where_nobody_checked_before(bowl):
    def misused(task, sampled, history, streams):
        raise InvalidArgumentError("loss: must return a scalar")

    runner = WarmStartRunner(misused, bowl, Streams(0))
    sampled = bowl.space.sample(Streams(0)("config", 0))
    with pytest.raises(InvalidArgumentError, match="must return a scalar"):
        runner(sampled, History(), refuse_misuse=True)
    assert runner(sampled, History()).kind == "error"
    later = History()
    later.append(Started(0, sampled, Nudge(sampled, "misused"), 0.0))
    assert runner(sampled, later, refuse_misuse=True).kind == "error"


def test_only_policies_that_say_so_skip_what_a_schedulers_model_picked(bowl):
    sampled = bowl.space.sample(Streams(0)("config", 0))

    def always(task, sampled, history, streams):
        return Nudge(sampled, "always", reason="asked")

    class Skips:
        name, skip_model_based_picks = "skips", True
        __call__ = staticmethod(always)

    assert (
        WarmStartRunner(always, bowl, Streams(0))(sampled, History(), model_based_pick=True).reason == "asked"
    )
    skipped = WarmStartRunner(Skips(), bowl, Streams(0))(sampled, History(), model_based_pick=True)
    assert (skipped.policy, skipped.kind, skipped.config) == ("skips", "model_based_pick", sampled)
    history = History()
    history.append(Started(0, sampled, skipped, 0.0))
    assert attempts(history) == [] and total_failure(history) == ""


def test_why_is_data(bowl):
    """Every kind that a policy has, from the trial that it belongs to."""
    found = {}
    for name in ("none", *NAMED, "fixed_band", "density"):
        spec = {"name": name, **({"min_results": 4} if name == "density" else {})}
        search = ASHA(bowl.space, max_units=9, max_trials=24)
        study = tune(bowl, search, seed=0, warm_start=build("warm_start", spec))
        kinds = [trial.nudge.kind for trial in study.history.trials]
        found[name] = set(kinds)
        for trial in study.history.trials:
            text = trial.nudge.reason
            for word in ("guard", "prior", "data"):
                assert text.startswith(word) == (trial.nudge.kind == word), text
            assert ("redrawn" in text) <= (trial.nudge.kind == "redrawn")
    assert found["none"] == found["placebo"] == {"unchanged"}
    assert found["literal"] == found["multi_step"] == found["random_step"] == {"moved"}
    assert found["newton"] == {"redrawn"}
    assert found["density"] == {"passthrough", "warm_up", "redrawn"}
    assert found["informed"] <= {"guard", "prior", "data"} and "data" in found["informed"]
    for name in ("curvature_band", "probe_band", "fixed_band"):
        assert found[name] == {"unchanged", "redrawn"}
    assert set().union(*found.values()) <= set(NUDGE_KINDS)


@pytest.mark.parametrize("name", sorted(set(NAMED) - {"literal", "multi_step", "random_step"}))
def test_what_was_not_finite_and_what_was_given_up_are_told_apart(bowl, name):
    init = bowl.init
    bowl.init = lambda seed: {"w": init(seed)["w"] * float("nan")}
    kinds = [nudge.kind for nudge in tools_study(bowl, name, 5)]
    assert kinds[0] == "not_finite" and kinds[-1] == "gave_up"


def test_a_tools_study_tells_what_never_was_the_policys(bowl, caplog):
    adapter = WarmStartAdapter(bowl, ExternalSpace({p.name: p for p in bowl.space}), "fixed_band")
    sampled = dict(bowl.space.sample(Streams(0)("config", 0)))
    with caplog.at_level(logging.WARNING, "hypernudge.integrations"):
        _, nudge = adapter({**sampled, "lr": 1e9}, History())
    assert nudge.kind == "out_of_bounds" and nudge.policy == "none" and nudge.reason in caplog.text
