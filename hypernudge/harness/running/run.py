"""Run a whole experiment: every variation, in one pool or as a command each, then the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hypernudge.console import Output, keep_quiet, tell
from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.cells.leftovers import RUN_LOCK, folders, is_occupied, sweep
from hypernudge.harness.cells.records import note_holder
from hypernudge.harness.launchers.choose import check_launcher
from hypernudge.harness.planning.plan import Plan
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.children import Command, run_child
from hypernudge.harness.running.declare import (
    changes,
    check_directory,
    is_recorded,
    power_rows,
    record_deviation,
    runnable,
)
from hypernudge.harness.running.dry_build import check_buildable
from hypernudge.harness.running.progress import Progress
from hypernudge.harness.running.train import train_all
from hypernudge.registry import REGISTRY
from hypernudge.results.attempts import REMEDY
from hypernudge.results.files import lock, write_text
from hypernudge.results.jsonio import write_json
from hypernudge.results.plan import EVALUATION, FILE, ResultsError, read_manifest
from hypernudge.results.printable import counted
from hypernudge.results.reading import read_json
from hypernudge.results.records import cell_path


def run_experiment(
    config_file: Path,
    results_dir: Path,
    overrides: Sequence[str],
    train_command: Sequence[str] | None,
    evaluate_command: Sequence[str],
    deviate: str | None = None,
    output: Output | None = None,
) -> int:
    """Run an experiment into `results_dir`; return 0 only if every variation and the evaluation ran.

    Where `results_dir` holds a declared plan, that plan is what is run and judged; where it is empty and
    targets are `pilot`, the plan is declared first, as `hypernudge plan` does. `deviate`, a reason, lets
    a changed one run all the same: the change is recorded, and every report shows it. Variations are trained
    by `train_command`, one after the other, or, without one, in a pool of processes over all their cells.
    With an `output` it ends with the verdicts; without one, all that is said of variations is passed on, and
    no more.

    Raises:
        InvalidArgumentError: Before any work, if the configuration is invalid or `results_dir` holds the
            results of another plan.
    """
    plan = load_plan(config_file, overrides)
    check_directory(results_dir)
    check_launcher(plan)
    check_buildable(plan)
    plan = runnable(plan, results_dir, keep_quiet if output is not None and output.quiet else tell)
    _claim_directory(plan, results_dir, deviate)
    with lock(results_dir / RUN_LOCK, shared=True):
        note_holder(results_dir / RUN_LOCK)
        return _run(plan, results_dir, train_command, evaluate_command, output)


def _run(
    plan: Plan,
    results_dir: Path,
    train_command: Sequence[str] | None,
    evaluate_command: Sequence[str],
    output: Output | None,
) -> int:
    _warn(plan)
    _own_tasks(plan)
    for folder in list(folders(results_dir)):
        sweep(folder)
    write_text(results_dir / "experiment.yaml", plan.as_yaml())
    failed: list[str] = []
    cells = sum(len(variation.seeds) for variation in plan.variations)
    with Progress(cells, output=output or Output()) as progress:

        def over(what: str, code: int) -> None:
            if code != 0:
                failed.append(what)
                log = results_dir / what / "stderr.log"
                progress.say(f"{what}: FAILED with exit code {code}, see {log}")

        if train_command is None:
            train_all(plan, results_dir, progress, over)
        else:
            for index, variation in enumerate(plan.variations):
                run_dir = results_dir / variation.run_id
                progress.running(f"[{index + 1}/{len(plan.variations)}] {variation.run_id}")
                own = run_dir / "config.yaml"  # hundreds of others need not be read for every one
                write_text(own, plan.as_yaml(variation))
                command = [*train_command, "--run-id", variation.run_id]
                command += ["--config-file", str(own), "--run-dir", str(run_dir)]
                over(variation.run_id, run_child(partial(Command, command), run_dir, progress))
        progress.running("evaluation")
        command = [*evaluate_command, "--results-dir", str(results_dir)]
        before = _written(results_dir)
        over("evaluation", run_child(partial(Command, command), results_dir / "evaluation", progress))
    if output is not None and _written(results_dir) != before:  # else it is of an earlier run
        from hypernudge.evidence.report.text import evaluation_text  # which no earlier step needs

        output.conclude(evaluation_text(read_json(results_dir / EVALUATION)))
    if not failed:
        if output is None or not output.quiet:
            tell(f"done: results in {results_dir}")
        return 0
    tell("failed: " + ", ".join(failed))
    missing = sum(
        not cell_path(results_dir / variation.run_id, seed).exists()
        for variation in plan.variations
        for seed in variation.seeds
        if variation.run_id in failed
    )
    if missing:
        tell(f"{counted(missing, 'cell')} missing: {REMEDY}")
    return 1


def _written(results_dir: Path) -> int | None:
    """Return when the evaluation was written, None where there is none."""
    path = results_dir / EVALUATION
    return path.stat().st_mtime_ns if path.is_file() else None


def _warn(plan: Plan) -> None:
    """Say what no result of this plan could show, before it costs anything."""
    for row in power_rows(plan):
        if row["least_p_holm"] >= plan.evidence["alpha"]:
            tell(
                f"warning: {row['run_id']} cannot be significant: {row['pairs']} pairs give a Holm p "
                f"of {row['least_p_holm']:.3g} at best in a family of {row['family_size']}"
            )


def _own_tasks(plan: Plan) -> None:
    """Say what a plan states of its users' own tasks and they cannot see."""
    for name in sorted({v.spec["task"]["name"] for v in plan.variations} - set(REGISTRY["task"])):
        tell(f"note: task {name!r} has its own search space and model: `space:` and `model:` are not used")


def _claim_directory(plan: Plan, results_dir: Path, deviate: str | None) -> None:
    """Write the manifest, or make sure that the one there is of the same plan."""
    manifest = results_dir / FILE
    if manifest.exists():
        try:
            found = read_manifest(results_dir)
        except ResultsError as error:
            raise InvalidArgumentError(f"--results-dir: holds a plan that cannot be read: {error}") from None
        if found.hash == plan.hash or is_recorded(results_dir, plan):
            return
        listed = changes(found, plan)
        shown = "; ".join(f"{c['path']}: {c['planned']!r} -> {c['run']!r}" for c in listed[:4])
        more = f"; and {len(listed) - 4} more" if len(listed) > 4 else ""
        remedy = (
            "choose an empty directory, or pass --deviate REASON to have the change recorded and reported"
        )
        rule = f"holds another plan ({shown}{more})"
        require(deviate is not None, "--results-dir", rule, str(results_dir), remedy)
        record_deviation(results_dir, found, plan, str(deviate))
        return
    free, rule = not is_occupied(results_dir), "must be empty or hold this plan"
    require(free, "--results-dir", rule, str(results_dir), "choose another")
    write_json(manifest, plan.as_dict(), indent=2)
