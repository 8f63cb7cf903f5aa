"""A notebook that regenerates everything from the records: numbers, tables, figures, verdicts, files.

`hypernudge report DIR --notebook FILE.ipynb` writes it, without outputs. It trains nothing, and every number
in it comes from the functions that `hypernudge report` calls; its last cell holds itself to that.
"""

from __future__ import annotations

import json
from pathlib import Path

from hypernudge.results.files import write_text
from hypernudge.results.reading import check_output

_CELLS = (
    (
        "# Evidence, regenerated from the records",
        "Every cell reads the sealed records of one results directory; nothing is trained. Name another",
        "directory in the environment variable `RESULTS_DIR`, or below.",
    ),
    """
import json
import os
from pathlib import Path

import pandas as pd
from IPython.display import SVG, Markdown, display

from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.study import load_study
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.evidence.report.gallery import draw_svgs
from hypernudge.evidence.report.summaries import summarise
from hypernudge.evidence.report.tables import all_tables
from hypernudge.evidence.verdicts.comparisons import compare
from hypernudge.evidence.verdicts.criteria import judge_criteria
from hypernudge.results.printable import for_markdown

RESULTS = Path(os.environ.get("RESULTS_DIR", @RESULTS@))
pd.set_option("display.max_columns", None)
""",
    (
        "## What was planned, and what deviates from it",
        "`cells` has a row for every planned cell; a damaged or missing record is named, not skipped.",
    ),
    """
study = load_study(RESULTS)
print(f"{study.plan.name}, plan {study.plan.hash[:16]}")
print(study.plan.criteria)
display(study.cells.groupby(["run_id", "status"], sort=False).size().rename("cells").to_frame())
display(pd.DataFrame([vars(problem) for problem in study.problems]))
""",
    (
        "## Verdicts",
        "One per (task, scheduler, method), by rules fixed before the runs; then the success criteria.",
    ),
    """
comparisons = compare(study)
criteria = judge_criteria(comparisons, study.plan.criteria)
lines = []
for c in comparisons:
    what = for_markdown(f"{c.method.warm_start} on {c.method.task}, {c.method.scheduler}: {c.verdict.label}")
    lines.append(f"- **{what}** ({for_markdown(c.verdict.reason)})")
lines += [f"- **{k.judgement}**: {for_markdown(f'{k.warm_start}, {k.rule}')}" for k in criteria]
display(Markdown("\\n".join(lines)))
""",
    ("## Tables", "The frames behind the CSV, Markdown and LaTeX files; the last is the sensitivity to tau."),
    """
summaries = [summarise(study, variation) for variation in study.plan.variations]
for table in all_tables(study, comparisons, criteria, summaries):
    display(Markdown(f"**{table.name}**: {table.caption}"), table.frame)
""",
    ("## Figures", "Each with one line on what to see in it."),
    """
for drawing, svg in draw_svgs(EvaluatedStudy(study, tuple(comparisons), tuple(criteria))):
    display(Markdown(f"**{drawing.name}**: {for_markdown(drawing.caption)}"), SVG(svg))
""",
    (
        "## Every file again",
        "Writes `evaluation.json`, `tables/` and `figures/` beside the records, as `hypernudge report` does,",
        "and makes sure that what was shown above is what they say.",
    ),
    """
events = []
evaluation = evaluate(RESULTS, events.append)
written = json.loads(evaluation.path.read_text())
assert written["plan_hash"] == study.plan.hash
assert written["verdicts"] == {c.method.run_id: c.verdict.label for c in comparisons}
print(f"{evaluation.status}: {len(evaluation.tables)} tables, {len(evaluation.figures)} figures")
""",
)


def notebook(results: str) -> str:
    """Return the notebook as text, in nbformat 4.5, for a results directory."""
    cells = []
    for number, cell in enumerate(_CELLS):
        text = cell if isinstance(cell, str) else "\n\n".join([cell[0], "\n".join(cell[1:])])
        lines = text.strip().replace("@RESULTS@", json.dumps(results)).splitlines(keepends=True)
        entry = {"id": f"cell-{number:02d}", "metadata": {}, "source": lines}
        if isinstance(cell, str):
            cells.append({"cell_type": "code", "execution_count": None, "outputs": [], **entry})
        else:
            cells.append({"cell_type": "markdown", **entry})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1) + "\n"


def write_notebook(results_dir: Path, path: Path) -> None:
    """Write the notebook for a results directory, replacing the file if it exists."""
    write_text(check_output(path, results_dir), notebook(str(results_dir)))
