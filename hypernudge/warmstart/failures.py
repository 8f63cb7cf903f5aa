"""Which warm starts of a study failed, why, and when to say so: told from its history alone."""

from __future__ import annotations

from logging import Logger

from hypernudge.trial import History, Nudge, Trial

LEFT = ": left as sampled"
ATTEMPTS = 3  # measurements that may fail before a study goes on without
COUNTED_AT = (ATTEMPTS, 10, 30, 100, 300, 1000, 3000, 10_000)  # failures without a success: say how many


def was_tried(nudge: Nudge) -> bool:
    """Whether a policy was asked for it: not where values lay out of bounds, or somebody chose them."""
    return nudge.policy != "none"


def failed(nudge: Nudge) -> bool:
    """Whether a policy tried, and could not nudge.

    What was flagged before a policy was asked, such as values out of bounds, is no failure of it.
    """
    return changed_nothing(nudge) and was_tried(nudge)


def failures(history: History) -> list[Trial]:
    """Return the trials whose warm start failed, in order."""
    return [trial for trial in history.trials if failed(trial.nudge)]


def first_cause(history: History) -> str:
    """Return why the first warm start that failed did, and at which trial; empty if none did."""
    for trial in history.trials:
        if failed(trial.nudge):
            return f"at trial {trial.number}: {trial.nudge.reason.removesuffix(LEFT)}"
    return ""


def attempts(history: History) -> list[Nudge]:
    """Return the nudges that were tried: not of trials that a user or a scheduler's model chose."""
    return [trial.nudge for trial in history.trials if _is_attempt(trial.nudge)]


def _is_attempt(nudge: Nudge) -> bool:
    return nudge.kind != "model_based_pick" and (nudge.flagged or was_tried(nudge))


def changed_nothing(nudge: Nudge) -> bool:
    """Whether something kept a nudge from being made; finite differences may be zero, and have not failed."""
    return nudge.flagged and not nudge.changed and nudge.kind != "finite_differences"


def total_failure(history: History, coming: Nudge | None = None) -> str:
    """Return one line about a warm start that failed wherever it was tried; empty if it ever worked.

    Args:
        history: The study's.
        coming: The nudge of the trial after those of the history, where there is one.
    """
    nudges = dict(enumerate([trial.nudge for trial in history.trials] + ([coming] if coming else [])))
    tried = {number: nudge for number, nudge in nudges.items() if _is_attempt(nudge)}
    if not tried or not all(map(changed_nothing, tried.values())):
        return ""
    first = min(tried)
    count = "the only trial" if len(tried) == 1 else f"each of {len(tried)} trials"
    cause = tried[first].reason.removesuffix(LEFT)
    return f"warm start: failed at {count}, trained as sampled; the first, at trial {first}: {cause}"


def log_failure(logger: Logger, nudge: Nudge, history: History) -> None:
    """Log a flagged nudge of the next trial: one by one at first, by the count where nothing else happens."""
    number, tried = len(history.trials), attempts(history)
    count = len(tried) + 1
    always = count >= ATTEMPTS and all(map(changed_nothing, [nudge, *tried]))
    say = logger.info if always and count > ATTEMPTS else logger.warning
    say("warm start of trial %d: %s", number, nudge.reason)
    if always and count in COUNTED_AT:
        cause = (tried or [nudge])[0].reason.removesuffix(LEFT)
        what = "warm start: failed at each of the %d trials so far, trained as sampled; the first: %s"
        logger.warning(what, count, cause)
