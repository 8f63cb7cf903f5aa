"""Run ids: names of variations, and of their folders in a results directory."""

from __future__ import annotations

import re

RESERVED = ("evaluation", "tables", "figures", "quarantine")
"""Names that a results directory uses itself."""
LONGEST = 150  # letters: a file system takes 255, and figures add to a run id
_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FILES = (
    "plan.json",
    "experiment.yaml",
    "evaluation.json",
    "deviations.jsonl",
    "jobs.jsonl",
    "accounting.jsonl",
    "report.html",
    "report.ipynb",
)
_DEVICES = ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))


def broken_rule(run_id: object) -> str | None:
    """Return the rule that a run id breaks, or None: it becomes the name of a folder, on any system."""
    if not isinstance(run_id, str) or _FORM.fullmatch(run_id) is None:
        return "a run id must be a file name of letters, digits and . _ + -, a letter or digit first"
    if len(run_id) > LONGEST:
        return f"a run id must have at most {LONGEST} letters"
    if run_id.endswith("."):
        return "a run id must not end with a dot, which some file systems drop"
    if run_id.lower() in (*RESERVED, *_FILES) or run_id.lower().split(".")[0] in _DEVICES:
        return f"a run id must be a file name other than {(*RESERVED, *_FILES)} and the names of devices"
    return None
