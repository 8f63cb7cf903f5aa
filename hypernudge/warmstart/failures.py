"""Whether a study's warm start failed, and why: told from its history alone."""

from __future__ import annotations

from hypernudge.trial import History, Nudge, Trial
from hypernudge.warmstart.base import YIELDED

LEFT = ": left as sampled"


def failed(nudge: Nudge) -> bool:
    """Whether a policy tried, and could not nudge.

    What was flagged before a policy was asked, such as values out of bounds, is no failure of it.
    """
    return nudge.flagged and not nudge.changed and nudge.policy != "none"


def failures(history: History) -> list[Trial]:
    """Return the trials whose warm start failed, in order."""
    return [trial for trial in history.trials if failed(trial.nudge)]


def first_cause(history: History) -> str:
    """Return why the first warm start that failed did, and at which trial; empty if none did."""
    for trial in history.trials:
        if failed(trial.nudge):
            return f"at trial {trial.number}: {trial.nudge.reason.removesuffix(LEFT)}"
    return ""


def total_failure(history: History) -> str:
    """Return one line about a warm start that failed wherever it was tried; empty if it ever worked.

    Trials that were not its business, such as those that a user chose, do not count.
    """
    asked = [trial for trial in history.trials if trial.nudge.reason != YIELDED]
    tried = [trial for trial in asked if trial.nudge.flagged or trial.nudge.policy != "none"]
    if not tried or not all(trial.nudge.flagged and not trial.nudge.changed for trial in tried):
        return ""
    first = tried[0]
    count = "the only trial" if len(tried) == 1 else f"each of {len(tried)} trials"
    return (
        f"warm start: failed at {count}, which were trained as sampled; the first, "
        f"at trial {first.number}: {first.nudge.reason.removesuffix(LEFT)}"
    )
