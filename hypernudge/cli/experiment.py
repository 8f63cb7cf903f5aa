"""The commands of an experiment: init, run, derive, plan, pilot, status, cancel.

Parsers only; the work is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hypernudge.cli.assignments import assignments
from hypernudge.console import Output
from hypernudge.errors import require, require_whole

SELF = [sys.executable, "-m", "hypernudge.cli"]
FILE = "experiment YAML, or the name of a shipped one (smoke_test, template, studies/workers, ...)"


def add_commands(commands: Any) -> None:
    """Add the parsers to the sub-commands of `hypernudge`."""
    init = commands.add_parser("init", help="copy the experiment files of the package, to edit them")
    init.add_argument("directory", type=Path, metavar="DIR", help="new, or without files of these names")
    init.set_defaults(run=_init)

    run = commands.add_parser(
        "run", help="run an experiment, with KEY=VALUE overrides: all variations, then the evaluation"
    )
    run.add_argument("config_file", type=Path, metavar="FILE", help=FILE)
    run.add_argument("--results-dir", type=Path, required=True, help="where everything is written")
    run.add_argument("--deviate", metavar="REASON", help="run a plan other than the declared one, on record")
    run.add_argument(
        "--no-figures",
        action="store_true",
        help="verdicts and tables alone; `hypernudge report` draws them later",
    )
    run.add_argument("--json", action="store_true", help="JSON lines on stdout, also on a terminal")
    run.add_argument("--quiet", action="store_true", help="the verdicts alone; with --json the lines alone")
    run.set_defaults(run=_run, overrides=[], extra="harness")

    derive = commands.add_parser("derive", help="fill all placeholders of a template")
    derive.add_argument("config_file", type=Path, metavar="FILE", help=FILE)
    derive.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="values")
    derive.add_argument("--output", type=Path, help="new file; stdout if absent")
    derive.set_defaults(run=_derive, extra="harness")

    plan = commands.add_parser(
        "plan", help="write, hash and weigh a plan before anything runs (takes KEY=VALUE too)"
    )
    plan.add_argument("config_file", type=Path, metavar="FILE", help=f"{FILE}; targets may be `pilot`")
    plan.add_argument("--results-dir", type=Path, required=True, help="empty; the plan is written there")
    plan.add_argument(
        "--pilot-seeds",
        type=int,
        nargs=2,
        default=(100_000, 10),
        metavar=("FIRST", "COUNT"),
        help="for targets that are `pilot` (default: 100000 10)",
    )
    plan.add_argument("--log-sd", type=float, default=0.4, help="of the paired log time ratio, for the power")
    plan.add_argument("--exploratory", action="store_true", help="accept a plan that can show nothing")
    plan.add_argument("--json", action="store_true", help="the manifest on one line")
    plan.set_defaults(run=_plan, overrides=[], extra="harness")

    pilot = commands.add_parser(
        "pilot", help="targets from pilot seeds of the baselines (takes KEY=VALUE too)"
    )
    pilot.add_argument("config_file", type=Path, metavar="FILE", help=FILE)
    pilot.add_argument("--first-seed", type=int, default=100_000, help="first pilot seed (default 100000)")
    pilot.add_argument("--count", type=int, default=10, help="number of pilot seeds (default 10)")
    pilot.set_defaults(run=_pilot, overrides=[], extra="harness")

    status = commands.add_parser("status", help="what is done, queued, running (where), failed and missing")
    status.add_argument("results_dir", type=Path, metavar="DIR")
    status.add_argument("--json", action="store_true", help="one JSON line per variation")
    status.set_defaults(run=_status)

    cancel = commands.add_parser("cancel", help="end the run of a directory, and its jobs on a cluster")
    cancel.add_argument("results_dir", type=Path, metavar="DIR")
    cancel.set_defaults(run=_cancel)


def _init(options: argparse.Namespace) -> int:
    from shlex import quote

    from hypernudge.harness.planning.shipped import FILES, FOLDERS, copy_shipped
    from hypernudge.results.printable import printable

    count = len(copy_shipped(options.directory))
    listed = ", ".join([*FILES, *(f"{folder}/" for folder in FOLDERS)])
    smoke, template = (quote(str(options.directory / name)) for name in (FILES[0], FILES[2]))
    filled = {"DATASET": "digits", "MODEL": "mlp", "SPECIFIC_CONFIG": "0.95"}
    fill = " ".join(f"--set {name}_PLACEHOLDER={value}" for name, value in filled.items())
    lines = [
        f"wrote {count} files to {options.directory}: {listed}",
        "next, a minute:",
        f"  hypernudge run {smoke} --results-dir results/smoke",
        "then a study of your own:",
        f"  hypernudge derive {template} {fill} --output {quote(str(options.directory / 'mine.yaml'))}",
    ]
    sys.stdout.write("".join(printable(line) + "\n" for line in lines))
    return 0


def _run(options: argparse.Namespace) -> int:
    from hypernudge.harness.planning.shipped import experiment_file
    from hypernudge.harness.running.run import run_experiment

    return run_experiment(
        experiment_file(options.config_file),
        options.results_dir,
        options.overrides,
        None,
        [*SELF, "report", "--json", "--quiet", *(["--no-figures"] if options.no_figures else [])],
        options.deviate,
        Output.chosen(json=options.json, quiet=options.quiet),
    )


def _plan(options: argparse.Namespace) -> int:
    import json

    from hypernudge.harness.planning.experiment_schema import MAX_SEED, MAX_SEEDS
    from hypernudge.harness.planning.resolve import load_plan
    from hypernudge.harness.planning.shipped import experiment_file
    from hypernudge.harness.running.declare import declare
    from hypernudge.harness.running.dry_build import check_buildable

    first, count = options.pilot_seeds
    require_whole("--pilot-seeds: FIRST", first, 0, MAX_SEED)
    require_whole("--pilot-seeds: COUNT", count, 1, MAX_SEEDS, "10 is usual")
    plan = load_plan(experiment_file(options.config_file), options.overrides)
    check_buildable(plan)
    manifest = declare(
        plan,
        options.results_dir,
        pilot_seeds=range(first, first + count),
        log_sd=options.log_sd,
        exploratory=options.exploratory,
    )
    if options.json:
        sys.stdout.write(json.dumps(manifest) + "\n")
        return 0
    for row in manifest["declared"]["power"]["comparisons"]:
        power = ", ".join(f"{share:.0%} at ratio {ratio}" for ratio, share in row["power_at_ratio"].items())
        sys.stdout.write(
            f"{row['run_id']}: {row['pairs']} pairs, family of {row['family_size']}, "
            f"least Holm p {row['least_p_holm']:.2g}, power {power}\n"
        )
    for row in manifest["declared"]["controls"]:
        if row["missing"]:
            sys.stdout.write(f"control {row['role']} is missing in {', '.join(row['missing'])}\n")
    sys.stdout.write(f"plan {manifest['hash']} written to {options.results_dir / 'plan.json'}\n")
    return 0


def _pilot(options: argparse.Namespace) -> int:
    import tempfile

    from hypernudge.harness.launchers.choose import shared_place
    from hypernudge.harness.planning.experiment_schema import MAX_SEED, MAX_SEEDS
    from hypernudge.harness.planning.resolve import load_plan
    from hypernudge.harness.planning.shipped import experiment_file
    from hypernudge.harness.running.dry_build import check_buildable
    from hypernudge.harness.running.pilot import pilot
    from hypernudge.results.jsonio import emit

    require_whole("--first-seed", options.first_seed, 0, MAX_SEED)
    require_whole("--count", options.count, 1, MAX_SEEDS, "10 is usual")
    plan = load_plan(experiment_file(options.config_file), options.overrides)
    check_buildable(plan)
    seeds = range(options.first_seed, options.first_seed + options.count)
    with tempfile.TemporaryDirectory(dir=shared_place(plan.launcher)) as folder:
        for event in pilot(plan, seeds, Path(folder)):
            emit(event)
    return 0


def _derive(options: argparse.Namespace) -> int:
    from hypernudge.harness.planning.derive import check_derived, check_place, derived_text
    from hypernudge.harness.planning.shipped import experiment_file
    from hypernudge.harness.planning.yaml_text import read_text
    from hypernudge.results.files import write_text

    template = experiment_file(options.config_file)
    text = derived_text(read_text(template, "FILE"), assignments(options.values, "NAME"))
    check_derived(text, template)
    if options.output is None:
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError as error:
            rule = f"standard output ({error.encoding}) must know every letter"
            require(False, "--output", rule, error.object[error.start], "name a file, which is UTF-8")
        sys.stdout.write(text)
        return 0
    free = not options.output.exists()
    require(free, "--output", "must not exist yet", str(options.output), "choose another name")
    check_place(text, template, options.output)
    write_text(options.output, text)
    return 0


def _status(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.status import as_json, print_table, status
    from hypernudge.results.jsonio import json_line
    from hypernudge.results.studies import is_kept_study

    if is_kept_study(options.results_dir):
        from hypernudge.harness.inspection.kept_studies import status_of, status_text
        from hypernudge.results.printable import printable

        found = status_of(options.results_dir)
        lines = [printable(line) + "\n" for line in status_text(found).splitlines()]
        sys.stdout.write(json_line(found) if options.json else "".join(lines))
        return 0
    rows = status(options.results_dir)
    if options.json:
        sys.stdout.write(as_json(rows) + "\n")
    else:
        print_table(rows)
    return 0


def _cancel(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.cancel import cancel
    from hypernudge.results.printable import counted, printable

    ended = cancel(options.results_dir)
    said = [f"run {process}" for process in ended.runs]
    said += [f"{counted(len(ended.jobs), 'job')} of Slurm"] if ended.jobs else []
    line = f"ended: {', '.join(said)}" if said else "nothing runs here"
    sys.stdout.write(f"{line}; what has a record stays, and the same command goes on\n")
    for other in ended.elsewhere:
        sys.stdout.write(printable(f"still at work: {other}; end it there") + "\n")
    return 1 if ended.elsewhere else 0
