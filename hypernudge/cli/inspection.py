"""The commands that look closely: explain, doctor, prior, plot, simulate.

Parsers only; the work is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hypernudge.cli.assignments import assignments
from hypernudge.errors import require, require_between, require_whole
from hypernudge.registry import REGISTRY, build, check_name
from hypernudge.results.attempts import REMEDY
from hypernudge.results.reading import check_output
from hypernudge.results.studies import refuse_kept_study

OF_RATES = ("pooling", "ranks", "suffix")
"""Options of `prior build` that priors of learning rates alone have."""


def add_commands(commands: Any) -> None:
    """Add the parsers to the sub-commands of `hypernudge`."""
    prior = commands.add_parser("prior", help="learn the prior of `informed` from finished studies")
    actions = prior.add_subparsers(required=True, metavar="ACTION")
    learn = actions.add_parser("build", help="write a prior from recorded studies")
    learn.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="results directory, kept study, storage of Optuna, experiment of Ray Tune or Syne Tune, or a "
        "table with columns config.NAME",
    )
    learn.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON, for `prior: FILE`")
    learn.add_argument(
        "--features",
        choices=("auto", "probe", "space"),
        default="auto",
        help="probe: learning rates as seen from a probe, from results directories alone; space: any "
        "hyper-parameters by name and range (default: probe where it can be, or as --add-to has them)",
    )
    learn.add_argument("--task", metavar="NAME", help="task of all trials, where sources name it otherwise")
    learn.add_argument("--family", metavar="NAME", help="what is left out of a comparison together")
    learn.add_argument("--metric", metavar="NAME", help="which metric, where a tool recorded several")
    learn.add_argument("--mode", choices=("min", "max"), help="what is better, where a source does not say")
    learn.add_argument(
        "--alias",
        action="append",
        default=[],
        metavar="NAME=OTHER",
        help="another name that spaces may use for a hyper-parameter of the past",
    )
    learn.add_argument("--add-to", metavar="PRIOR", help="a shipped one or a file: keep its tasks, add these")
    learn.add_argument(
        "--replace", action="store_true", help="new tasks take the place of those with their name in --add-to"
    )
    learn.add_argument(
        "--pooling",
        choices=("hierarchical", "ridge"),
        help="how studies of learning rates are pooled: hierarchical (default), or as those of `tables` are",
    )
    among = "among what learning rates are ranked: their study (default), or all studies of a task"
    learn.add_argument("--ranks", choices=("study", "task"), help=among)
    learn.add_argument("--suffix", metavar="TEXT", help="of new tasks' names, beside namesakes in --add-to")
    learn.set_defaults(run=_build)

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

    plot = commands.add_parser("plot", help="draw a picture of a study, also while it runs")
    plot.add_argument("study", type=Path, metavar="DIR", help="a study's folder, or the record of a cell")
    plot.add_argument(
        "--kind", required=True, metavar="NAME", help=f"one of {', '.join(REGISTRY['picture'])}"
    )
    plot.add_argument("--output", type=Path, required=True, metavar="FILE", help="PDF, SVG or PNG")
    plot.set_defaults(run=_plot, extra="harness")

    simulate = commands.add_parser(
        "simulate", aliases=["replay"], help="run a scheduler on known learning curves"
    )
    simulate.add_argument(
        "--scheduler", required=True, metavar="NAME", help="registry name or module:attribute"
    )
    source = simulate.add_mutually_exclusive_group(required=True)
    source.add_argument("--curves", type=Path, metavar="FILE", help="npz with hp, hp_names and valid")
    source.add_argument(
        "--lcbench", type=Path, metavar="DIR", help="YAHPO's lcbench folder (extra surrogates)"
    )
    simulate.add_argument("--instance", default="3945", help="OpenML task of --lcbench (default 3945)")
    simulate.add_argument("--workers", type=int, default=1, help="simulated workers (default 1)")
    simulate.add_argument("--seed", type=int, default=0)
    simulate.add_argument(
        "--max-units", type=int, help="units of the longest training (default: the curves')"
    )
    simulate.add_argument(
        "--budget", type=float, help="units in all (default: --max-units times 20 or twice the workers)"
    )
    simulate.add_argument(
        "--sampler", metavar="NAME", help="what proposes configurations: uniform, kde, gp or module:attribute"
    )
    simulate.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="options",
        help="scheduler option, as YAML",
    )
    simulate.add_argument("--json", action="store_true", help="JSON lines")
    simulate.set_defaults(run=_simulate)


def _doctor(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.doctor import as_dict, examine, fix
    from hypernudge.results.printable import counted, printable
    from hypernudge.results.studies import is_kept_study

    look, mend = examine, fix
    if is_kept_study(options.results_dir):
        from hypernudge.harness.inspection import kept_studies

        look, mend = kept_studies.examined, kept_studies.mended
    findings = (mend if options.fix else look)(options.results_dir)
    faults = sum(finding.is_fault for finding in findings)
    if options.json:
        sys.stdout.write(json.dumps(as_dict(findings)) + "\n")
        return 1 if faults else 0
    for found in findings:
        done = f"; {found.done}" if found.done else ""
        sys.stdout.write(printable(f"{found.kind}: {found.path}: {found.rule}{done}") + "\n")
    missing = sum(finding.cells for finding in findings)
    if missing:
        sys.stdout.write(f"{counted(missing, 'cell')} missing: {REMEDY}\n")
    mendable = sum(finding.is_fault and finding.fix != "none" for finding in findings)
    advice = f"; {mendable} can be mended with --fix" if mendable and not options.fix else ""
    sys.stdout.write(f"{counted(faults, 'fault')}{advice}\n" if faults else "healthy\n")
    return 1 if faults else 0


def _build(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.past_prior import features_for

    require(not options.output.exists(), "--output", "must not exist yet", str(options.output), "move it")
    for source in options.sources:
        if "://" not in source and Path(source).is_dir():
            check_output(options.output, Path(source))
    features = options.features
    if features == "auto":
        features = features_for(options.sources, options.add_to)
    rows = _build_probe(options) if features == "probe" else _build_space(options)
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    return 0


def _build_probe(options: argparse.Namespace) -> list[dict[str, Any]]:
    from hypernudge.harness.inspection.prior import build_prior

    for name in ("task", "family", "metric", "mode", "alias"):
        value = getattr(options, name)
        rule = "is for priors on the features of the space"
        require(not value, f"--{name}", rule, value, "leave it out, or pass --features space")
    directories = [Path(source) for source in options.sources]
    for directory in directories:
        refuse_kept_study(directory, "DIR", "pass --features space, which reads studies, too")
    how = {name: value for name in OF_RATES if (value := getattr(options, name)) is not None}
    file = build_prior(directories, options.add_to, replace_tasks=options.replace, **how)
    file.dump(options.output)
    return [
        {
            "task": task.task,
            "family": task.family,
            "optimizer": task.optimizer,
            "configurations": task.configurations,
            "log10_probe": round(task.scale, 3),
        }
        for task in file.tasks
    ]


def _build_space(options: argparse.Namespace) -> list[dict[str, Any]]:
    from hypernudge.harness.inspection.past_prior import build_past, summary
    from hypernudge.harness.inspection.past_sources import Reading

    rule = "is for priors of learning rates; past studies of any space have one way"
    for name in OF_RATES:
        given = getattr(options, name)
        require(given is None, f"--{name}", rule, given, "leave it out")
    how = Reading(options.task, options.family, options.metric, options.mode)
    aliases: dict[str, list[str]] = {}
    for text in options.alias:
        name, equals, other = text.partition("=")
        rule = "must be NAME=OTHER"
        require(bool(name and equals and other), "--alias", rule, text, "eta=learning_rate, say")
        aliases.setdefault(name, []).append(other)
    file = build_past(options.sources, how, options.add_to, options.replace, aliases)
    file.dump(options.output)
    return summary(file)


def _explain(options: argparse.Namespace) -> int:
    from hypernudge.harness.inspection.explain import LEGEND, draw_cells, explanations, sentence
    from hypernudge.results.studies import is_kept_study

    tell = explanations
    if is_kept_study(options.results_dir):
        from hypernudge.harness.inspection.kept_studies import explained as tell
    rows = tell(options.results_dir, options.run_id, options.seed, options.trial)
    for row in rows:
        sys.stdout.write((json.dumps(row) if options.json else sentence(row)) + "\n")
    if not options.json and any(row["z"] is not None for row in rows):
        sys.stdout.write(LEGEND + "\n")
    for path in draw_cells(rows, options.figures, options.results_dir) if options.figures is not None else ():
        sys.stderr.write(f"figure: {path}\n")
    return 0


def _plot(options: argparse.Namespace) -> int:
    from hypernudge.study.analysis.pictures import draw
    from hypernudge.study.study import Study

    check_name("picture", options.kind, "--kind")
    draw(options.kind, Study.open(options.study), check_output(options.output, options.study, follows=True))
    sys.stderr.write(f"figure: {options.output}\n")
    return 0


def _simulate(options: argparse.Namespace) -> int:
    import yaml

    from hypernudge.harness.inspection.simulate import simulate
    from hypernudge.harness.planning.experiment_schema import MAX_UNITS, MAX_WORKERS
    from hypernudge.results.jsonio import emit
    from hypernudge.tasks.curves.lcbench import LCBench
    from hypernudge.tasks.curves.tabulated import Tabulated

    given = {}
    for key, value in assignments(options.options, "KEY").items():
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            require(False, "--set", "values must be YAML", f"{key}={value}", "quote it")
    if options.curves is not None:
        task: Tabulated | LCBench = Tabulated(options.curves)
    else:
        task = LCBench(options.lcbench, options.instance)
    longest = task.max_units if options.max_units is None else options.max_units
    rule = f"must be in [1, {task.max_units}], the length of the curves"
    require(1 <= longest <= task.max_units, "--max-units", rule, longest, "lower it")
    require_whole("--workers", options.workers, 1, MAX_WORKERS)
    require_whole("--seed", options.seed, 0)
    # Many workers share the budget: each should be able to finish a training.
    enough = longest * max(20.0, 2.0 * options.workers)
    units = enough if options.budget is None else options.budget
    require_between("--budget", units, 0, MAX_UNITS, ends=False)
    check_name("scheduler", options.scheduler, "--scheduler")
    for option, instead in (("max_units", "--max-units"), ("space", "the file")):
        require(option not in given, "--set", f"must leave {option} to {instead}", given, "remove it")
    spec = {"name": options.scheduler, "max_units": longest, **given}
    if options.sampler is not None:
        spec["sampler"] = check_name("sampler", options.sampler, "--sampler")
    scheduler = build("scheduler", spec, space=task.space)
    show = emit if options.json else _show
    simulate(task, scheduler, options.workers, options.seed, units, show)
    return 0


def _show(event: dict[str, Any]) -> None:
    time = f"{event['time']:10.2f}  "
    if event["event"] == "decision":
        text = f"{event['action']:7}trial {event['trial']:<5} to unit {event['until']}"
    elif event["event"] == "incumbent":
        text = f"best   {event['score']:.6g}, trial {event['trial']} after unit {event['unit']}"
    else:
        best = "none" if event["score"] is None else f"{event['score']:.6g}"
        spent = f"{event['trials']} trials, {event['units']} units of {event['task']}"
        text = f"end    best {best}, {spent}"
    sys.stdout.write(time + text + "\n")
