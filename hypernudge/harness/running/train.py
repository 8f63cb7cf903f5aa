"""Train one variation, or all of a plan in one pool; what is said of each is `variation_run`'s."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from hypernudge import console
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.launchers.choose import check_launcher, launcher_of
from hypernudge.harness.planning.plan import Plan
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.declare import check_directory
from hypernudge.harness.running.dry_build import check_buildable
from hypernudge.harness.running.interruption import die_with_parent, orderly
from hypernudge.harness.running.local import start_server
from hypernudge.harness.running.pool import REFUSED, run_cells
from hypernudge.harness.running.progress import Progress
from hypernudge.harness.running.tee import Tee
from hypernudge.harness.running.variation_run import VariationRun
from hypernudge.results.attempts import REMEDY
from hypernudge.results.plan import Variation


@console.forgiving()
def main(arguments: Sequence[str] | None = None, program: str = "train") -> int:
    """Run a variation; return the exit code: 0 if every cell has a record and one ran to its end, else 1.

    2 if refused; 130 and 143 after SIGINT and SIGTERM.
    """
    parser = argparse.ArgumentParser(prog=program, description="Run one variation of an experiment.")
    parser.add_argument("--run-id", required=True, help="which variation of the file")
    parser.add_argument("--config-file", required=True, type=Path, help="experiment YAML")
    parser.add_argument("--run-dir", required=True, type=Path, help="where its records and results go")
    options = parser.parse_args(arguments)
    die_with_parent()
    return orderly(partial(exit_code, partial(_train, options), options.run_dir, sys.stderr))


def _train(options: argparse.Namespace) -> int:
    start_server()  # it imports while the plan is read
    plan = load_plan(options.config_file)
    chosen = plan[options.run_id]
    check_directory(options.run_dir, "--run-dir")
    check_launcher(plan)
    check_buildable(replace(plan, variations=(chosen,)))
    return train(plan, chosen, options.run_dir)


def exit_code(step: Callable[[], int | None], run_dir: Path, err: IO[str]) -> int:
    """Return what `step` returns, or 0; whatever it raises is said, and makes it 2 if refused, else 1."""
    try:
        return step() or 0
    except InvalidArgumentError as error:
        err.write(f"error: {error}\n")
        return REFUSED
    except OSError as error:  # every record that was sealed is there
        err.write(f"error: {error.filename or run_dir}: {error.strerror}; then {REMEDY}\n")
    except Exception:
        traceback.print_exc(file=err)
    return 1


def train(plan: Plan, variation: Variation, run_dir: Path) -> int:
    """Run what is missing of a variation, report everything, write `results.json` last."""
    run = VariationRun(plan, variation, run_dir)
    run.begin()
    if run.missing:
        with launcher_of(plan, run_dir.parent) as launcher:
            run_cells([run], launcher, plan.attempts)
    return run.finish()


def train_all(plan: Plan, results_dir: Path, progress: Progress, over: Callable[[str, int], None]) -> None:
    """Train all variations of a plan, each into a folder of its own; what fails stops no other."""
    begun: deque[_InTurn] = deque()  # the first is shown, the others wait

    def show_next() -> None:
        while begun and begun[0].over:
            run = begun.popleft()
            over(run.variation.run_id, run.code)
            if begun:
                begun[0].show()

    def begin() -> Iterator[_InTurn]:
        for index in range(len(plan.variations)):
            run = _InTurn(plan, index, results_dir, progress, show_next)
            begun.append(run)
            if len(begun) == 1:
                run.show()
            run.attempt(run.begin)
            if run.code == 0 and run.missing:
                yield run
            else:
                run.end()

    try:
        with launcher_of(plan, results_dir) as launcher:
            run_cells(begin(), launcher, plan.attempts)
    finally:  # if interrupted: the processes are gone
        for run in begun:
            run.tee.close()


class _InTurn(VariationRun):
    """One of several variations; what it says is held until its turn comes."""

    def __init__(
        self, plan: Plan, index: int, results_dir: Path, progress: Progress, at_end: Callable[[], None]
    ) -> None:
        variation = plan.variations[index]
        self.tee = Tee(results_dir / variation.run_id, progress)
        super().__init__(plan, variation, results_dir / variation.run_id, self.tee.streams())
        self._progress, self._title = progress, f"[{index + 1}/{len(plan.variations)}] {variation.run_id}"
        self.code, self.over, self._at_end = 0, False, at_end

    def show(self) -> None:
        """Its turn has come."""
        self._progress.running(self._title)
        self.tee.show()

    def attempt(self, step: Callable[[], int | None]) -> None:
        """Do a step; what it raises is said, and the variation fails."""
        self.code = exit_code(step, self.run_dir, self.streams.err) or self.code

    def done(self, seed: int, record: dict[str, Any] | None) -> None:
        """Report a cell that has ended."""
        self.attempt(partial(super().done, seed, record))
        if self.ended == len(self.missing):
            self.end()

    def refused(self) -> None:
        """Fail: it cannot be built."""
        self.code = REFUSED
        self.end()

    def end(self) -> None:
        """Finish, unless something has failed."""
        if self.code == 0:
            self.attempt(self.finish)
        self.tee.close()
        self.over = True
        self._at_end()
