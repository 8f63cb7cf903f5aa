"""Command lines around results: prior, explain, doctor. Parsers only; the work is imported when asked for."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.results.attempts import REMEDY
from hypernudge.results.reading import check_output


def add_commands(commands: Any) -> None:
    """Add the parsers to the sub-commands of `hypernudge`."""
    prior = commands.add_parser("prior", help="learn the prior of `informed` from finished studies")
    actions = prior.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="write a prior from results directories")
    build.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="of `hypernudge run`")
    build.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON, for `prior: FILE`")
    build.add_argument("--add-to", metavar="PRIOR", help="'shipped' or a file: keep its tasks, add these")
    build.set_defaults(run=_build)

    explain = commands.add_parser("explain", help="what a warm start did to each trial, and why")
    explain.add_argument("results_dir", type=Path, metavar="DIR")
    explain.add_argument("--run-id", metavar="ID", help="all variations with a warm start if absent")
    explain.add_argument("--seed", type=int, help="the first seed that has a record if absent")
    explain.add_argument("--trial", type=int, metavar="N", help="all trials if absent")
    explain.add_argument("--figures", type=Path, metavar="DIR", help="draw each cell's decisions (PDF)")
    explain.add_argument("--json", action="store_true", help="one JSON object per trial")
    explain.set_defaults(run=_explain)

    doctor = commands.add_parser("doctor", help="what is damaged, foreign, missing or left over; --fix")
    doctor.add_argument("results_dir", type=Path, metavar="DIR")
    doctor.add_argument(
        "--fix", action="store_true", help="remove leftovers, move what is not believed to DIR/quarantine"
    )
    doctor.add_argument("--json", action="store_true", help="one JSON object")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.doctor import as_dict, examine, fix
    from hypernudge.results.printable import printable

    findings = fix(options.results_dir) if options.fix else examine(options.results_dir)
    faults = sum(finding.is_fault for finding in findings)
    if options.json:
        sys.stdout.write(json.dumps(as_dict(findings)) + "\n")
        return 1 if faults else 0
    for found in findings:
        done = f"; {found.done}" if found.done else ""
        sys.stdout.write(printable(f"{found.kind}: {found.path}: {found.rule}{done}") + "\n")
    missing = sum(finding.kind == "missing" for finding in findings)
    if missing:
        sys.stdout.write(f"{missing} cells missing: {REMEDY}\n")
    mendable = sum(finding.is_fault and finding.fix != "none" for finding in findings)
    advice = f"; {mendable} can be mended with --fix" if mendable and not options.fix else ""
    sys.stdout.write(f"{faults} faults{advice}\n" if faults else "healthy\n")
    return 1 if faults else 0


def _build(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.prior import build_prior

    require(not options.output.exists(), "--output", "must not exist yet", str(options.output), "move it")
    for directory in options.directories:
        check_output(options.output, directory)
    file = build_prior(options.directories, options.add_to)
    file.dump(options.output)
    for task in file.tasks:
        row = {
            "task": task.task,
            "family": task.family,
            "optimizer": task.optimizer,
            "configurations": task.configurations,
            "log10_probe": round(task.scale, 3),
        }
        sys.stdout.write(json.dumps(row) + "\n")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.explain import draw_cells, explanations, sentence

    rows = explanations(options.results_dir, options.run_id, options.seed, options.trial)
    for row in rows:
        sys.stdout.write((json.dumps(row) if options.json else sentence(row)) + "\n")
    for path in draw_cells(rows, options.figures, options.results_dir) if options.figures is not None else ():
        sys.stderr.write(f"figure: {path}\n")
    return 0
