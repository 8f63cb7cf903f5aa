"""Behind `scripts/tables/`, `scripts/plots/` and `scripts/report_*.py`: saved results in, files out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hypernudge import console
from hypernudge.evidence.report.formats import to_markdown, write_table
from hypernudge.evidence.report.gallery import draw_all
from hypernudge.evidence.report.tables import Table
from hypernudge.experiments.report.figures import FIGURES
from hypernudge.experiments.report.runs import Runs, load_runs
from hypernudge.experiments.report.tables import TABLES
from hypernudge.results.files import write_text
from hypernudge.results.printable import for_markdown


@console.forgiving()
def table_command(topic: str, arguments: Sequence[str] | None = None) -> int:
    """Write one table as CSV, Markdown and LaTeX, and print it; returns the exit code."""
    options = _parser(TABLES[topic].__doc__, "table").parse_args(arguments)
    return _run(options, [topic], [])


@console.forgiving()
def plot_command(topic: str, arguments: Sequence[str] | None = None) -> int:
    """Draw one topic as PDF; returns the exit code."""
    options = _parser(FIGURES[topic].__doc__, "figure").parse_args(arguments)
    return _run(options, [], [topic])


@console.forgiving()
def report_command(task: str, arguments: Sequence[str] | None = None) -> int:
    """Write every table and figure of one task, and `report.md` over them; returns the exit code."""
    description = f"Every table and figure of the {task} runs, and report.md over them."
    options = _parser(description, "report").parse_args(arguments)
    return _run(options, list(TABLES), list(FIGURES), task, report=True)


@console.forgiving()
def clean_tables_command(task: str, arguments: Sequence[str] | None = None) -> int:
    """Write every table of one task's runs on clean labels; returns the exit code."""
    options = _parser(f"Every table of the {task} runs on clean labels.", "tables").parse_args(arguments)
    return _run(options, [topic for topic in TABLES if topic != "noisy"], [], task, clean=True)


@console.forgiving()
def all_plots_command(task: str, arguments: Sequence[str] | None = None) -> int:
    """Draw every figure of one task's runs; returns the exit code."""
    options = _parser(f"Every figure of the {task} runs.", "figures").parse_args(arguments)
    return _run(options, [], list(FIGURES), task)


def _parser(description: str | None, what: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=f"{description} Reads saved results; never trains.")
    parser.add_argument("results", type=Path, nargs="+", help="result files, or folders that hold them")
    parser.add_argument("--output-dir", type=Path, default=Path("results/report"), help=f"for the {what}")
    parser.add_argument("--svg", action="store_true", help="figures as SVG too, for pages that show no PDF")
    return parser


def _run(
    options: argparse.Namespace,
    tables: Sequence[str],
    figures: Sequence[str],
    task: str | None = None,
    *,
    clean: bool = False,
    report: bool = False,
) -> int:
    """Exit code 0: all is well; 1: written, but files were left out; 2: nothing to read."""
    runs = load_runs(options.results)
    if task is not None:
        runs = runs.where(run for run in runs.runs if run.result.task_name == task)
    if clean:
        runs = runs.where(run for run in runs.runs if run.noise == "clean")
    for line in runs.problems:
        sys.stderr.write(f"left out: {line}\n")
    if not runs.runs:
        of = (f" of {task}" if task else "") + (" on clean labels" if clean else "")
        sys.stderr.write(
            f"error: results: must hold at least one result{of}, but got none; run an experiment first\n"
        )
        return 2
    made = [table for table in (TABLES[topic](runs) for topic in tables) if len(table.frame)]
    for table in made:
        write_table(table, options.output_dir)
    topics = [FIGURES[topic] for topic in figures]
    drawings = draw_all(runs, options.output_dir, topics, svg=options.svg)
    drawn = [(path.name, caption) for path, caption in drawings]
    if report:
        write_text(options.output_dir / "report.md", _report(runs, made, drawn))
    for table in made:
        sys.stdout.write(f"{table.name}: {table.caption}\n{to_markdown(table.frame)}\n")
    for name, caption in drawn:
        sys.stdout.write(f"figure {name}: {caption}\n")
    return 1 if runs.problems else 0


def _report(runs: Runs, tables: Sequence[Table], figures: Sequence[tuple[str, str]]) -> str:
    """Return the report: where the results come from, what was left out, tables, list of figures."""
    results = [run.result for run in runs.runs]
    places = sorted(
        {f"{r.provenance['cpu']}, {r.runtime_metrics['hardware']['threads']} thread(s)" for r in results}
    )
    dates = sorted(str(r.provenance["date"])[:10] for r in results)
    commits = sorted({str(r.provenance["commit"]) for r in results})
    versions = sorted({f"PyTorch {r.provenance['packages'].get('torch')}" for r in results})
    lines = [
        f"# {for_markdown(results[0].dataset_name)}: {len(results)} runs",
        "",
        for_markdown(f"Run {dates[0]} to {dates[-1]} on {'; '.join(places)}."),
        for_markdown(f"{', '.join(versions)}; commit {', '.join(commits)}."),
        "",
    ]
    for line in runs.problems:
        lines.append(f"- left out: {for_markdown(line)}")
    for table in tables:
        lines += ["", f"## {table.name}", "", f"{table.caption}.", "", to_markdown(table.frame)]
    lines += ["## Figures", "", *(f"- `{name}`: {caption}" for name, caption in figures)]
    return "\n".join(lines) + "\n"
