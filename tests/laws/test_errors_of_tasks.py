"""What a task raises surfaces alike in every engine, or fails the trial that it belongs to."""

import pytest

from hypernudge import (
    GradientTask,
    tune,
)
from tests.laws.line import Line, search


class Failing(Line):
    """Fails in one of its functions, also where its cost is counted."""

    step_flops = GradientTask.step_flops

    def __init__(self, function):
        def fail(*args):
            raise RuntimeError(f"{function} is broken")

        super().__init__(**{function: fail})


@pytest.mark.parametrize("engine", ["serial", "population"])
@pytest.mark.parametrize("function", ["init", "batch", "loss", "score"])
def test_errors_of_a_task_surface_alike(function, engine, caplog):
    done = tune(Failing(function), search(), seed=0, engine=engine)
    assert [report.outcome for report in done.reports] == ["failed", "failed"]
    assert all(f"RuntimeError: {function} is broken" in report.error for report in done.reports)
    (warning,) = done.warnings
    assert f"of 2 trials 2 failed; the first, trial 0: RuntimeError: {function} is broken" in warning
    assert warning in caplog.messages
    with pytest.raises(ValueError, match=f"^best: .*RuntimeError: {function} is broken"):
        done.best()


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_a_cost_that_one_configuration_does_not_tell_fails_that_trial(engine):
    def cost(hp):
        if hp["lr"] < 1e-2:
            raise RuntimeError("no such width")
        return 1e6

    done = tune(Line(unit_flops=cost), search(max_trials=8), seed=0, engine=engine)
    failed = {report.job.trial for report in done.reports if report.outcome == "failed"}
    assert failed == {t.number for t in done.history.trials if t.config["lr"] < 1e-2} and 0 < len(failed) < 8
    assert all(report.flops == 0 for report in done.reports if report.outcome == "failed")
