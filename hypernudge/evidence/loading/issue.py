"""Something that is not as it should be: where, which rule, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Issue:
    """Something that was kept or set aside, and that a reader of the verdict must know.

    Attributes:
        where: File, row and column, or cell concerned.
        rule: What is wrong.
        consequence: What the evaluation did about it.
        run_id: The variation concerned, None where there is more than one.
    """

    where: str
    rule: str
    consequence: str
    run_id: str | None = None

    def event(self) -> dict[str, Any]:
        """Return the problem as a JSON-able event."""
        run = {"run_id": self.run_id} if self.run_id else {}
        what = {"where": self.where, "rule": self.rule, "consequence": self.consequence}
        return {**run, "event": "problem", **what}
