"""Final regret of BOHB and DyHPO beside their references, 20 seeds on shared learning curves.

    python -m benchmarks.schedulers.regret run ours-bohb --units 400 --output ours.json
    SYNE_PYTHON -m benchmarks.schedulers.regret run syne-bohb --units 400 --output syne.json  # 0.14.2
    python -m benchmarks.schedulers.regret run ours-dyhpo --units 60 --output dyhpo.json
    PYTHON -m benchmarks.schedulers.regret run authors-dyhpo --units 60 --code FOLDER --output authors.json
    python -m benchmarks.schedulers.regret compare ours.json syne.json [--output FILE.md]

All propose points of one unit cube, which belong to the nearest configuration of the table, and learn from
that configuration. The regret is the best validation loss that was seen minus the best of the table, both
within 27 units, after so many units of training in all. `--code` is a checkout of releaunifreiburg/DyHPO; it
knows how to maximise only, and is given losses scaled to [0, 1] and turned round. DyHPO trains one trial at a
time, BOHB four. Only `ours-*` and `compare` need this library's dependencies; the rest needs NumPy and the
reference.
"""

import argparse
import heapq
import json
import logging
import math
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import DATA

MAX_UNITS = 27
CURVES = DATA / "hpo_taskset"
FILES = (
    "patch32_GRU128_bs128",
    "patch32_LSTM128_bs128",
    "patch32_VRNN128_tanh_bs128",
    "patch128_LSTM128_avg_bs64",
)


class Table:
    """Losses `(n, 27)`, and the rows' coordinates in the unit cube `(n, d)`."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.hp, self.losses = file["hp"].astype(float), file["valid"][:, :MAX_UNITS].astype(float)
        middle = (self.hp.min(0) + self.hp.max(0)) / 2
        self.log = (self.hp.min(0) > 0) & ((self.hp < middle).mean(0) > 0.8)
        warped = np.where(self.log, np.log(np.maximum(self.hp, 1e-300)), self.hp)
        self.units = (warped - warped.min(0)) / (warped.max(0) - warped.min(0))
        self.best = np.nanmin(self.losses)

    def nearest(self, point: Any) -> int:
        return int(((self.units - point) ** 2).sum(1).argmin())


def race(method: Any, table: Table, units: int, workers: int) -> float:
    """Return the best loss that a method with `decide()` and `report(...)` saw within so many units."""
    heap: list[Any] = []
    now, order, spent, running, best = 0, 0, 0, 0, math.inf
    while True:
        while running < workers and spent < units:
            trial, row, since, until = method.decide()
            values = table.losses[row, since:until]
            finite = np.isfinite(values)
            values = values if finite.all() else values[: int(np.argmin(finite)) + 1]
            values = values[: units - spent]
            running, order, spent = running + 1, order + 1, spent + len(values)
            heapq.heappush(heap, (now + len(values), order, trial, since, until, values.tolist()))
        if not heap:
            return best
        now, _, trial, since, until, values = heapq.heappop(heap)
        running -= 1
        best = min([best, *[value for value in values if math.isfinite(value)]])
        if since + len(values) == until or not math.isfinite(values[-1]):
            method.report(trial, since, until, values)


class Ours:
    """This library's scheduler, on its own view of the table."""

    def __init__(self, name: str, path: Path, seed: int) -> None:
        from hypernudge.random import Streams
        from hypernudge.registry import resolve
        from hypernudge.tasks.curves.tabulated import Tabulated
        from hypernudge.trial import History

        self.space = Tabulated(path).table
        self.scheduler = resolve("scheduler", name)(self.space, max_units=MAX_UNITS)
        self.history, self.streams = History(), Streams(seed)
        self.jobs: dict[int, Any] = {}

    def decide(self) -> tuple[int, int, int, int]:
        from hypernudge.schedulers.base import Resume
        from hypernudge.trial import Job, Nudge, Started

        decision = self.scheduler(self.history, self.streams)
        if isinstance(decision, Resume):
            trial = self.history.trials[decision.trial]
            job = Job(trial.number, trial.config, trial.until, decision.until)
        else:
            number = len(self.history.trials)
            self.history.append(Started(number, decision.config, Nudge(decision.config, "none"), 0.0))
            job = Job(number, decision.config, 0, decision.until)
        self.history.append(job)
        self.jobs[job.trial] = job
        return job.trial, self.space.index(job.config), job.since, job.until

    def report(self, trial: int, since: int, until: int, values: list[float]) -> None:
        from hypernudge.trial import Report, UnitResult

        units = tuple(UnitResult(unit, 0.0, -loss, -loss) for unit, loss in enumerate(values, since + 1))
        outcome: Any = "ok" if math.isfinite(values[-1]) else "diverged"
        self.history.append(Report(self.jobs.pop(trial), outcome, 0.0, float(len(values)), units, 0.0))


class SyneBOHB:
    """Synchronous Hyperband with the KDE searcher of Syne Tune 0.14.2."""

    def __init__(self, table: Table, seed: int) -> None:
        from syne_tune.config_space import uniform
        from syne_tune.optimizer.legacy_baselines import SyncBOHB

        self.table, self.number = table, 0
        self.trials: dict[int, Any] = {}
        self.row: dict[int, int] = {}
        self.names = [f"x{i}" for i in range(table.units.shape[1])]
        self.scheduler = SyncBOHB(
            {name: uniform(0.0, 1.0) for name in self.names},
            metric="loss",
            mode="min",
            resource_attr="epoch",
            max_resource_level=MAX_UNITS,
            grace_period=1,
            reduction_factor=3,
            points_to_evaluate=[],
            search_options={"debug_log": False},
            random_seed=seed,
        )

    def decide(self) -> tuple[int, int, int, int]:
        suggestion = self.scheduler.suggest(self.number)
        if suggestion.spawn_new_trial_id:
            trial, self.number = self.number, self.number + 1
            self.row[trial] = self.table.nearest([suggestion.config[name] for name in self.names])
            config = dict(zip(self.names, self.table.units[self.row[trial]].tolist(), strict=True))
            self.scheduler._trial_to_config[trial] = config  # it learns from what is trained
            self.trials[trial] = types.SimpleNamespace(trial_id=trial, config=config)
            self.scheduler.on_trial_add(self.trials[trial])
        else:
            trial = int(suggestion.checkpoint_trial_id)
        bracket, slot = self.scheduler._trial_to_pending_slot[trial]
        since = self.scheduler.bracket_manager.level_to_prev_level(bracket, slot.level)
        return trial, self.row[trial], since, slot.level

    def report(self, trial: int, since: int, until: int, values: list[float]) -> None:
        if not math.isfinite(values[-1]):
            self.scheduler.on_trial_error(self.trials[trial])
            return
        for epoch, value in enumerate(values, since + 1):
            self.scheduler.on_trial_result(self.trials[trial], {"loss": value, "epoch": epoch})


class AuthorsDyHPO:
    """The authors' DyHPO, with its own settings.

    As it stands it proposes a diverged configuration again and again, and cannot go on where the very first
    one diverges. Here diverged ones are taken from its candidates, and another first one is drawn.
    """

    def __init__(self, table: Table, seed: int, code: str) -> None:
        if code not in sys.path:
            sys.path.insert(0, code)
        from hpo_method import DyHPOAlgorithm

        worst = float(np.nanquantile(table.losses, 0.95))
        self.scores = np.clip((worst - table.losses) / (worst - table.best), 0.0, 1.0)
        self.method = DyHPOAlgorithm(
            table.hp,
            table.log.tolist(),
            seed=seed,
            max_benchmark_epochs=MAX_UNITS,
            minimization=False,
            total_budget=10**9,
            device="cpu",
            output_path=tempfile.mkdtemp(),
            verbose=False,
        )
        self.rng = np.random.default_rng(seed)
        self.all_candidates = self.method.generate_candidate_configurations
        self.method.generate_candidate_configurations = self.candidates

    def candidates(self) -> tuple[list[Any], ...]:
        """Return its candidates without those that diverged."""
        columns = self.all_candidates()
        lost = self.method.diverged_configs
        kept = [i for i, row in enumerate(columns[1]) if row not in lost]
        return tuple([column[i] for i in kept] for column in columns)

    def decide(self) -> tuple[int, int, int, int]:
        row, until = (int(value) for value in self.method.suggest())
        return row, row, until - 1, until

    def report(self, row: int, since: int, until: int, values: list[float]) -> None:
        del since
        curve = self.scores[row, :until].tolist() if math.isfinite(values[-1]) else [math.nan] * until
        self.method.observe(row, until, curve)
        if self.method.model is None:
            left = [i for i in range(len(self.scores)) if i not in self.method.diverged_configs]
            self.method.init_conf_indices = np.append(self.method.init_conf_indices, self.rng.choice(left))
            self.method.init_budgets.append(1)


def run(options: argparse.Namespace) -> None:
    """Run a method on all files, seed by seed; what is in the output already is kept."""
    logging.disable(logging.CRITICAL)
    found = json.loads(options.output.read_text()) if options.output.is_file() else {}
    new = 0
    for seed in range(*options.seeds):
        for file in FILES[: options.files]:
            key = f"{file}/{seed}"
            if key in found or new == options.most:
                continue
            new += 1
            path = options.data / f"{file}.npz"
            table = Table(path)
            method: Any
            if options.method == "syne-bohb":
                method = SyneBOHB(table, seed)
            elif options.method == "authors-dyhpo":
                method = AuthorsDyHPO(table, seed, options.code)
            else:
                method = Ours(options.method.removeprefix("ours-"), path, seed)
            workers = 1 if options.method.endswith("dyhpo") else 4
            found[key] = float(race(method, table, options.units, workers) - table.best)
            options.output.write_text(json.dumps(found, indent=0) + "\n")


def compare(options: argparse.Namespace) -> None:
    """Print medians, and the paired tests of both directions, by file and in all."""
    from scipy.stats import wilcoxon

    ours, theirs = (json.loads(path.read_text()) for path in (options.ours, options.theirs))
    shared = [key for key in ours if key in theirs]
    lines = [
        "| curves | pairs | median regret, ours | reference | ours better | p, ours worse | p, ours better |",
        "|---|---|---|---|---|---|---|",
    ]
    for file in (*dict.fromkeys(key.split("/")[0] for key in shared), "all"):
        keys = [key for key in shared if file in (key.split("/")[0], "all")]
        a, b = np.array([ours[key] for key in keys]), np.array([theirs[key] for key in keys])
        worse, better = (float(wilcoxon(a, b, alternative=side).pvalue) for side in ("greater", "less"))
        lines.append(
            f"| {file} | {len(keys)} | {np.median(a):.5f} | {np.median(b):.5f} | {np.mean(a < b):.0%} "
            f"| {worse:.3f} | {better:.3f} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run")
    one.add_argument("method", choices=["ours-bohb", "syne-bohb", "ours-dyhpo", "authors-dyhpo"])
    one.add_argument("--units", type=int, default=600)
    one.add_argument("--seeds", type=int, nargs=2, default=(0, 20), metavar=("FIRST", "END"))
    one.add_argument("--files", type=int, default=len(FILES), help="how many of the curve files")
    one.add_argument("--most", type=int, help="stop after so many runs; the same command goes on from there")
    one.add_argument("--data", type=Path, default=CURVES)
    one.add_argument("--code", help="checkout of releaunifreiburg/DyHPO")
    one.add_argument("--output", type=Path, required=True)
    one.set_defaults(work=run)
    two = commands.add_parser("compare")
    two.add_argument("ours", type=Path)
    two.add_argument("theirs", type=Path)
    two.add_argument("--output", type=Path)
    two.set_defaults(work=compare)
    options = parser.parse_args()
    options.work(options)


if __name__ == "__main__":
    main()
