"""The commands of the evidence: report, compare, import, export.

Parsers only; the work is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hypernudge import console
from hypernudge.cli.stages import Stages
from hypernudge.errors import require

_LINES_ALONE = console.Output(json=True, quiet=True)

TOOLS = ("optuna", "syne-tune", "ray-tune", "mlflow", "wandb")


def add_commands(commands: Any) -> None:
    """Add the parsers to the sub-commands of `hypernudge`."""
    evaluation = commands.add_parser("report", help="evaluate a results directory: verdicts, tables, figures")
    _add_report_options(evaluation)
    evaluation.add_argument("--json", action="store_true", help="JSON lines on stdout, also on a terminal")
    evaluation.add_argument(
        "--quiet", action="store_true", help="the verdicts alone; with --json the lines alone"
    )
    evaluation.set_defaults(run=partial(_report_and_conclude, evaluation), extra="harness")

    compare = commands.add_parser("compare", help="a verdict on anybody's results: CSV, Parquet or JSONL")
    compare.add_argument(
        "file", type=Path, metavar="FILE", help="columns task, variation, seed, time, score [trial, hardware]"
    )
    compare.add_argument("--baseline", required=True, metavar="A", help="variation to compare with")
    compare.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="B",
        help="variation to compare; all others if absent",
    )
    compare.add_argument(
        "--target",
        action="append",
        required=True,
        metavar="[TASK=]T",
        help="score to reach; may be repeated, one per task",
    )
    compare.add_argument("--budget", type=float, metavar="TIME", help="every run is censored there")
    compare.add_argument("--minimise", "--minimize", action="store_true", help="smaller scores are better")
    compare.add_argument(
        "--clock",
        choices=("wall", "declared"),
        default="wall",
        help="wall: seconds, comparable on one kind of hardware only; declared: work such as FLOPs or epochs",
    )
    compare.add_argument(
        "--time-unit", metavar="UNIT", help="for axes (default: s, or - with --clock declared)"
    )
    compare.add_argument("--metric", default="score", metavar="NAME", help="name of the score, for axes")
    compare.add_argument("--figures", type=Path, metavar="DIR", help="draw the figures into DIR (PDF)")
    compare.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write DIR/tables (CSV, Markdown, LaTeX), DIR/figures (PDF) and DIR/report.html",
    )
    compare.add_argument("--json", action="store_true", help="one JSON object per line")
    compare.set_defaults(run=_compare, extra="harness")

    importer = commands.add_parser("import", help="results of another tool, written in long form")
    importer.add_argument("tool", choices=TOOLS)
    importer.add_argument("source", metavar="SOURCE", help="storage address, file or directory of that tool")
    importer.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help=".csv, .parquet or .jsonl"
    )
    importer.add_argument("--metric", metavar="NAME", help="which metric, where the tool recorded several")
    importer.add_argument(
        "--name",
        default="{task}-{variation}-{seed}",
        metavar="TEMPLATE",
        help="how names of runs are read where they carry no attributes task, variation, seed; "
        "without {seed}, runs that say none are numbered (default: %(default)s)",
    )
    importer.add_argument("--task", metavar="NAME", help="task of all runs, where names do not say it")
    importer.add_argument(
        "--time",
        default="wall",
        metavar="CLOCK",
        help="wall (seconds), count (number of scores so far), or a value that the runs logged as their time",
    )
    importer.add_argument(
        "--configurations",
        action="store_true",
        help="a column config.NAME for each hyper-parameter: what `hypernudge prior build` learns from",
    )
    importer.set_defaults(run=_import)

    exporter = commands.add_parser("export", help="sealed records, copied into an experiment tracker")
    exporter.add_argument("results_dir", type=Path, metavar="DIR", help="results directory; only read")
    exporter.add_argument("--to", required=True, metavar="TRACKER", help="mlflow or wandb (offline)")
    exporter.add_argument(
        "--store",
        metavar="WHERE",
        help="mlflow: sqlite:///FILE or a folder (default sqlite:///mlflow.db); wandb: a folder (default .)",
    )
    exporter.set_defaults(run=_export)


def _compare(options: argparse.Namespace) -> int:
    from hypernudge.evidence.report.compare_file import Request, compare_file
    from hypernudge.evidence.report.text import comparison_text

    unit = options.time_unit or ("s" if options.clock == "wall" else "-")
    request = Request(
        baseline=options.baseline,
        target=_targets(options.target),
        methods=options.method,
        budget=options.budget,
        minimise=options.minimise,
        wall_clock=options.clock == "wall",
        clock=f"time [{unit}]",
        metric=options.metric,
        figures=options.figures,
        output=options.output,
    )
    events: list[dict[str, Any]] = []
    stages = Stages("compare")

    def emit(event: dict[str, Any]) -> None:
        events.append(event)
        stages.note(event)
        if options.json:
            sys.stdout.write(json.dumps(event, allow_nan=False) + "\n")

    with stages:
        compare_file(options.file, request, emit)
    if not options.json:
        sys.stdout.write(comparison_text(events))
    unwritten = any(
        e["event"] == "problem" and e["where"].startswith(("--figures", "--output")) for e in events
    )
    return 1 if unwritten else 0


def _targets(given: list[str]) -> float | dict[str, float]:
    by_task: dict[str, float] = {}
    for text in given:
        task, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        rule = "must be a finite number, or TASK=number"
        require(math.isfinite(number), "--target", rule, text, "name the score to reach")
        require(task not in by_task, "--target", "must be given once, or once per task", given, "drop one")
        by_task[task] = number
    if "" not in by_task:
        return by_task
    require(len(by_task) == 1, "--target", "must be one for all, or one per task", given, "do not mix them")
    return by_task[""]


def _export(options: argparse.Namespace) -> int:
    from hypernudge.evidence.exporters import export_results
    from hypernudge.results.jsonio import emit
    from hypernudge.results.plan import ResultsError
    from hypernudge.results.studies import refuse_kept_study

    refuse_kept_study(options.results_dir, "DIR", "`Study.open(DIR).to_frame()` has all of it")
    store = options.store or ("sqlite:///mlflow.db" if options.to == "mlflow" else ".")
    try:
        return 0 if export_results(options.results_dir, options.to, store, emit) else 1
    except ResultsError as error:
        require(False, "DIR", "must hold a study", str(options.results_dir), str(error))
    return 2


def _import(options: argparse.Namespace) -> int:
    from hypernudge.evidence.importers import import_results
    from hypernudge.evidence.importers.naming import Naming

    naming = Naming(options.name, options.task)
    summary = import_results(
        options.tool,
        options.source,
        options.output,
        naming=naming,
        metric=options.metric,
        clock=options.time,
        configurations=options.configurations,
    )
    sys.stderr.write(summary + "\n")
    return 0


@console.forgiving()
def report(arguments: Sequence[str] | None = None, program: str = "evaluate") -> int:
    """Evaluate a results directory; return the exit code: 0 if nothing was missing or unreadable."""
    parser = argparse.ArgumentParser(prog=program, description="Evaluate saved results; train nothing.")
    _add_report_options(parser)
    return _report(parser, parser.parse_args(arguments))


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="directory that holds plan.json"
    )
    parser.add_argument("--results-dir", type=Path, metavar="DIR", help="the same, as an option")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write one self-contained HTML report")
    figures = parser.add_mutually_exclusive_group()
    figures.add_argument(
        "--all-figures", action="store_true", help="draw every setting by itself, however many there are"
    )
    figures.add_argument("--no-figures", action="store_true", help="draw none, which takes most of the time")
    parser.add_argument(
        "--notebook", type=Path, metavar="FILE", help="also write a notebook that regenerates everything"
    )


def _report_and_conclude(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    return _report(parser, options, console.Output.chosen(json=options.json, quiet=options.quiet))


def _report(
    parser: argparse.ArgumentParser, options: argparse.Namespace, output: console.Output = _LINES_ALONE
) -> int:
    from hypernudge.evidence.report.evaluate import evaluate
    from hypernudge.evidence.report.text import evaluation_text
    from hypernudge.harness.running.interruption import die_with_parent
    from hypernudge.results import jsonio
    from hypernudge.results.printable import printable
    from hypernudge.results.reading import read_json
    from hypernudge.results.studies import is_kept_study

    stages = Stages("report", quiet=output.quiet)  # also beside lines of JSON: they may go into a file
    left_out: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        stages.note(event)
        if event["event"] == "left_out":
            left_out.append(event["shows"])
        if output.json:
            jsonio.emit(event)

    given = [place for place in (options.directory, options.results_dir) if place is not None]
    if len(given) != 1:
        parser.error("needs one results directory: DIR, or --results-dir DIR")
    (results_dir,) = given
    if is_kept_study(results_dir):
        return _report_on_study(results_dir, options, output)
    die_with_parent()
    try:
        with stages:
            evaluation = evaluate(
                results_dir,
                emit,
                figures=not options.no_figures,
                html=options.html,
                all_settings=options.all_figures,
            )
        if options.notebook is not None:
            from hypernudge.evidence.report.notebook import write_notebook

            write_notebook(results_dir, options.notebook)
            emit({"event": "notebook", "file": str(options.notebook), "shows": "all of it, from the records"})
        output.conclude(evaluation_text(read_json(evaluation.path)))
        output.conclude("".join(f"{line}\n" for line in left_out))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {printable(' '.join(str(error).split()))}\n")
        return 2
    return 0 if evaluation.status == "complete" and not evaluation.crashed else 1


def _report_on_study(folder: Path, options: argparse.Namespace, output: console.Output) -> int:
    """Show a kept study; there is no verdict on one."""
    from hypernudge.harness.inspection.kept_studies import TO_COMPARE, page_of, status_of, text_of
    from hypernudge.results.files import write_text
    from hypernudge.results.jsonio import json_line
    from hypernudge.results.printable import printable

    remedy = "leave it out, or take a results directory"
    require(options.notebook is None, "--notebook", "needs results of `hypernudge run`", folder, remedy)
    try:
        if output.json:
            sys.stdout.write(json_line(status_of(folder)))
        lines = [*text_of(folder).splitlines(), TO_COMPARE]
        output.conclude("\n".join(map(printable, lines)) + "\n")
        if options.html is not None:
            write_text(options.html, page_of(folder))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {printable(' '.join(str(error).split()))}\n")
        return 2
    return 0
