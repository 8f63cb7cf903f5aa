"""A study in a few lines, for a terminal and for a notebook."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from hypernudge.study.results import shown_status

if TYPE_CHECKING:
    from hypernudge.study.results import TrialResult
    from hypernudge.study.study import Study

_BEST = 10  # trials in a notebook's table


def text(study: Study) -> str:
    """Return what a terminal shows."""
    return "\n  ".join([title(study), *(f"{name}: {value}" for name, value in facts(study))])


def html(study: Study) -> str:
    """Return what a notebook shows: facts, and the best trials."""
    known = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts(study))
    scored = [trial for trial in study.trials if trial.best is not None]
    sign = study.about.sign
    scored.sort(key=lambda trial: -sign * trial.value)
    rows = "".join(
        f"<tr><td>{t.number}</td><td>{t.value:.6g}</td><td>{len(t.units)}</td>"
        f"<td>{escape(status(study, t))}</td><td>{escape(values(t.config))}</td></tr>"
        for t in scored[:_BEST]
    )
    head = "".join(f"<th>{name}</th>" for name in ("trial", study.about.metric, "units", "status", "values"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    return f"<p><b>{escape(title(study))}</b></p><table>{known}</table>{table}"


def title(study: Study) -> str:
    """Return what a study is of, in a line."""
    about = study.about
    parts = [part for part in (about.task, about.scheduler) if part]
    if about.warm_start not in ("", "none"):
        parts.append(f"warm start {about.warm_start}")
    return f"Study of {', '.join([*parts, f'seed {study.seed}'])}"


def facts(study: Study) -> list[tuple[str, str]]:
    """Return what is to be known of a study: names and values."""
    counts = Counter(status(study, trial) for trial in study.trials)
    listed = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    units = sum(len(trial.units) for trial in study.trials)
    found = [("trials", f"{len(study.trials)} ({listed})" if listed else "none yet"), ("units", str(units))]
    best = study._best_unit()
    if best is not None:
        number, unit = best
        where = f"trial {number}, unit {unit.unit}"
        found.append((f"best {study.about.metric}", f"{unit.validation:.6g} ({where}, {study.direction})"))
        found.append(("best values", values(study.trials[number].config)))
    found.append(("state", f"ended by its {study.ended}" if study.ended else "can go on"))
    if study.folder is not None:
        found.append(("kept in", str(study.folder)))
    found += [("warning", warning) for warning in study.warnings]
    return found


def status(study: Study, trial: TrialResult) -> str:
    """Return the status of a trial for people: "finished" once it was trained to the end."""
    return shown_status(trial.status, trial.units[-1].unit if trial.units else 0, study.about.max_units)


def values(config: Any) -> str:
    """Return a configuration as `lr=0.01, width=32`."""
    return ", ".join(f"{name}={_value(value)}" for name, value in config.items())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    # Classes and functions by their names, as the study's file has them.
    return str(getattr(value, "__qualname__", repr(value)))
