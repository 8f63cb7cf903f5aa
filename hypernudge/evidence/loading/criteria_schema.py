"""The schema of `evidence:`, how a study is judged; see `hypernudge.schema`."""

from __future__ import annotations

from hypernudge.renamed import accepts, present_names
from hypernudge.schema import Rules, Schema, whole

CLOCKS = {"virtual": "virtual time [s]", "wall": "wall time [s]", "gpu": "GPU time [s]"}
"""Clocks, and what axes call them."""
FAMILIES = ("all", "warm_start", "task")
CONTROLS = ("random_step", "several_steps", "gradient_free", "placebo")
"""Roles of control variations. The budget-matched placebo needs no runs: it is computed from the records."""
BUDGET_MATCHED = "budget_matched_placebo"


@accepts(gradient_free="rival")
def control_labels(
    *,
    random_step: str = "random_step",
    several_steps: str = "multi_step",
    gradient_free: str | None = None,
    placebo: str = "placebo",
) -> dict[str, str | None]:
    """Return the label that plays each control; None where nothing does.

    Raises:
        InvalidArgumentError: A role is given under two names.
    """
    return dict(zip(CONTROLS, (random_step, several_steps, gradient_free, placebo), strict=True))


LABEL: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "pattern": whole(r"[^\s_\x00-\x1f\x7f]([^\x00-\x1f\x7f\x85\u2028\u2029]*[^\s\x00-\x1f\x7f])?"),
    "rule": "must be one line of text of at most 100 characters, without blanks at its ends or _ in front",
    "description": "What it is called in tables and figures; its name if absent.",
}


def _share(description: str, low: float = 0.0, high: float = 1.0) -> Schema:
    return {
        "type": "number",
        "exclusiveMinimum": low,
        "exclusiveMaximum": high,
        "description": description,
    }


EVIDENCE: Schema = {
    "type": "object",
    "rule": "must be a mapping",
    "additionalProperties": False,
    "properties": {
        "baseline": {**LABEL, "description": "Warm-start label that every other one is compared with."},
        "alpha": _share("Family-wise level of the primary test."),
        "ratio": _share("Largest ratio of times that counts as improved: .85 is 15 % less time."),
        "final_margin": _share("Relative loss of the final score that is still non-inferior."),
        "equivalence_ratio": _share("A ratio inside [1/this, this] is equivalent.", 1.0, 1e6),
        "families": {
            "enum": list(FAMILIES),
            "description": "One Holm family of all, one per warm start, or one per task.",
        },
        "clock": {
            "enum": list(CLOCKS),
            "description": "What time is: declared cost, or measured seconds, on equal hardware only.",
        },
        "bootstrap": {
            "type": "integer",
            "minimum": 100,
            "maximum": 1_000_000,
            "description": "Draws of the bootstrap that a single task is aggregated by.",
        },
        "bootstrap_seed": {
            "type": "integer",
            "minimum": 0,
            "maximum": 2**62,
            "description": "Its seed.",
        },
        "controls": {
            "type": "object",
            "rule": "must map roles to labels",
            "additionalProperties": False,
            "properties": dict.fromkeys((*CONTROLS, *present_names(control_labels)), LABEL),
            "description": "Role of a control -> the label that plays it, where not the usual one.",
        },
        "factorial": {
            "type": "array",
            "rule": "must hold triples of labels, [first, second, both]",
            "maxItems": 100,
            "items": {
                "type": "array",
                "minItems": 3,
                "maxItems": 3,
                "items": LABEL,
                "rule": "must hold triples of labels, [first, second, both]",
            },
            "description": "Two-by-two designs: triples of labels, the first factor, the second, both.",
        },
    },
    "description": "How the study is judged; declared before it runs.",
}

evidence = Rules(EVIDENCE, "evidence")
