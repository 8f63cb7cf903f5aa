"""`hypernudge compare`: from a file of anybody's results to verdicts and figures.

    verdicts = compare_file(Path("runs.csv"), Request(baseline="asha", target=0.9), emit=events.append)

Same pairing, censoring, correction and rules as a study of our own; only the plan is missing, and the verdict
says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.evidence.loading.fromtable import study_from_table
from hypernudge.evidence.loading.issue import Issue
from hypernudge.evidence.loading.longform import read_long_form
from hypernudge.evidence.loading.study import StudyResults
from hypernudge.evidence.report.summaries import comparison_event, criterion_event
from hypernudge.evidence.verdicts.comparisons import Comparison, compare
from hypernudge.evidence.verdicts.criteria import SHARE, Criterion, judge_criteria
from hypernudge.evidence.verdicts.verdict import LABELS
from hypernudge.results.jsonio import plain

Event = dict[str, Any]

_KNOWN = ("time_to_target", "final_score")
_OF_CELLS = ("overhead", "wall_fee", "memory_ratio", "wall_seconds")


@dataclass(frozen=True)
class Request:
    """What to compare.

    Attributes:
        baseline: Variation that the others are compared with.
        target: Score to reach, one for all or by task.
        methods: Variations to compare; all others where empty.
        budget: Time at which every run is censored; derived from the data where None.
        minimise: Whether smaller scores are better.
        wall_clock: Whether times are seconds of a real clock, comparable only on one kind of hardware.
        clock: Label of time axes, its unit in brackets.
        metric: Name of the score.
        figures: Directory for figures, None for none.
        output: Directory for tables (CSV, Markdown, LaTeX), figures and one HTML page, None for none.
    """

    baseline: str
    target: float | Mapping[str, float]
    methods: Sequence[str] = ()
    budget: float | None = None
    minimise: bool = False
    wall_clock: bool = True
    clock: str = "time [s]"
    metric: str = "score"
    figures: Path | None = None
    output: Path | None = None


def compare_file(path: Path, request: Request, emit: Callable[[Event], None]) -> list[Event]:
    """Compare the variations of a long-form file.

    Args:
        path: CSV, Parquet or JSONL.
        request: What to compare.
        emit: Called with each JSON-able event: problem, comparison, criterion, figure, verdict.

    Returns:
        The verdict events, one per method.

    Raises:
        InvalidArgumentError: The file breaks a rule (with row and column), or the request does not fit it.
    """
    table = read_long_form(path, wall_clock=request.wall_clock)
    study = study_from_table(
        table,
        baseline=request.baseline,
        methods=request.methods,
        target=request.target,
        budget=request.budget,
        minimise=request.minimise,
        metric=f"negative {request.metric}" if request.minimise else request.metric,
        name=path.stem,
        clock=request.clock,
    )
    for option, directory in (("--figures", request.figures), ("--output", request.output)):
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = error.strerror or "it cannot be made"
                require(False, option, f"must be a directory ({reason})", str(directory), "name another")

    def send(event: Event) -> None:
        # Scores that are minimised are negated within; what is said of them is on the scale of the file.
        scaled = {"target": -event["target"]} if request.minimise and "target" in event else {}
        emit({**event, **scaled})

    return compare_study(study, send, request)


def compare_study(study: StudyResults, emit: Callable[[Event], None], request: Request) -> list[Event]:
    """Emit everything about a study that was made from a table; return the verdict events."""

    def send(event: Event) -> Event:
        clean: Event = plain(event)
        emit(clean)
        return clean

    for problem in study.problems:
        send(problem.event())
    comparisons = compare(study)
    for comparison in comparisons:
        send(_known(comparison_event(comparison)))
    criteria = judge_criteria(comparisons, study.plan.criteria, _KNOWN)
    for criterion in criteria:
        send(criterion_event(criterion))
    if request.figures is not None or request.output is not None:
        from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
        from hypernudge.evidence.report.comparison_files import draw, write_all

        evaluated = EvaluatedStudy(study, tuple(comparisons), tuple(criteria))
        if evaluated.left_out():
            send({"event": "left_out", "shows": evaluated.left_out()})
        for option, directory, events in (
            ("--figures", request.figures, draw),
            ("--output", request.output, partial(write_all, minimise=request.minimise)),
        ):
            if directory is None:
                continue
            try:
                for event in events(evaluated, directory):
                    send(event)
            except OSError as error:  # a full disk, say: the verdict is there all the same
                rule = f"cannot be written: {error.strerror or error}"
                send(Issue(f"{option} {directory}", rule, "what comes from here on is missing").event())
    by_method: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_method.setdefault(comparison.method.warm_start, []).append(comparison)
    first = {c.warm_start: c for c in criteria if c.name == "time_to_target"}
    return [send(_verdict(own, first[method])) for method, own in by_method.items()]


def _known(event: Event) -> Event:
    """Without what scores over time cannot tell."""
    return {key: value for key, value in event.items() if key not in _OF_CELLS}


def _verdict(own: Sequence[Comparison], criterion: Criterion) -> Event:
    labels = Counter(comparison.verdict.label for comparison in own)
    single = own[0] if len(own) == 1 else None
    ratio = single.effects.ratio if single else criterion.aggregate
    return {
        "event": "verdict",
        "baseline": own[0].baseline.warm_start,
        "method": own[0].method.warm_start,
        "verdict": single.verdict.label if single else criterion.judgement,
        "reason": single.verdict.reason if single else _reason(criterion),
        "ratio": {"estimate": ratio.estimate, "low": ratio.low, "high": ratio.high},
        "tuples": len(own),
        **{label: labels[label] for label in LABELS},
        "missing_pairs": sum(comparison.missing for comparison in own),
        "declared_before_the_runs": False,
    }


def _reason(criterion: Criterion) -> str:
    """Return the rule and, where it decided nothing, what stood in its way."""
    if criterion.judgement != "inconclusive":
        return criterion.rule
    met = f"{criterion.rule}: met in {criterion.met} of {criterion.planned}"
    if criterion.met < SHARE * criterion.planned:
        return f"{met}, which neither supports nor refutes it"
    high = criterion.aggregate.high
    if not math.isfinite(high):
        return f"{met}, but the ratio over all tasks has no interval"
    return f"{met}, but the interval of the ratio over {criterion.tasks} tasks reaches {high:.2f}"
