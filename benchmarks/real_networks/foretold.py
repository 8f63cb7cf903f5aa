"""What priors and probes foretell of networks: ranks of random search against what was believed before it.

    HYPERNUDGE_DATA=... python -m benchmarks.real_networks.foretold RESULTS_DIR --output FILE

Of each task of a results directory of random search (`config/prior_language.yaml`), a JSON line: the probe;
how far above it the best sixteenth of the rates lie, median; how short AdamW's later steps will be, by
gradients of a few mini-batches at the start (`shortness`); and for each pair of a prior and a scale, the rank
correlation of what was foretold with the scores (ranks after 1, 3 and 9 units, averaged), and the mean normal
score of the eighth that was foretold best. Priors of networks are built of the other tasks alone: one sees
rates from the probe, one of past studies knows rates as they are.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hypernudge.harness.cells.build import build_task
from hypernudge.harness.cells.described import facts_of
from hypernudge.harness.inspection.past_prior import build_past
from hypernudge.harness.inspection.prior import UNITS, scores_at, targets
from hypernudge.hypergradient.objectives import gradient
from hypernudge.results.files import write_text
from hypernudge.results.plan import read_manifest
from hypernudge.results.records import cell_path, description_of, read_record
from hypernudge.space import Config, SearchSpace
from hypernudge.task import GradientTask
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement.features import features_at
from hypernudge.warmstart.measurement.ranks import normal_scores
from hypernudge.warmstart.past.transfer import transfer

BATCHES = 5  # as many as the probe takes
DECAY = 0.9  # of the first moment, usual
BEST, CHOSEN = 16, 8  # one in so many trials


def shortness(task: GradientTask, config: Config, seed: int) -> float:
    """Return the root mean square of AdamW's later steps over the rate, by a few gradients at the start.

    Of each parameter, the mean of its gradient squared as a share of its mean square is estimated without
    bias; the rest is noise, of which a moving mean of decay .9 leaves a share of `(1 - .9) / (1 + .9)`.
    """
    at = task.at(config)
    params = {name: value.detach() for name, value in at.trained(at.init(seed)).items()}
    found = []
    for step in range(BATCHES):
        tracked = {name: value.clone().requires_grad_(True) for name, value in params.items()}
        grads = gradient(at, tracked, at.batch(seed, step), config)
        found.append(torch.cat([grads[name].detach().flatten() for name in tracked]))
    stacked = torch.stack(found)
    square = (stacked**2).mean(0)
    steady = (BATCHES * stacked.mean(0) ** 2 - square) / (BATCHES - 1)
    share = float((steady[square > 0] / square[square > 0]).mean())
    share = min(max(share, 0.0), 1.0)
    return math.sqrt(share + (1.0 - share) * (1.0 - DECAY) / (1.0 + DECAY))


@dataclass(frozen=True)
class Searched:
    """A task after a random search.

    Attributes:
        name: Of the task.
        seed: Of the search.
        space: Of the search.
        rates: `log10` of the effective rates, `(n,)`.
        configs: What was trained.
        steps: Of the longest training.
        scores: Mean ranks as normal scores, `(n,)`.
        probe: `log10` of it.
        shortness: Of AdamW's later steps.
    """

    name: str
    seed: int
    space: SearchSpace
    rates: np.ndarray
    configs: list[Mapping[str, Any]]
    steps: float
    scores: np.ndarray
    probe: float
    shortness: float

    @property
    def offset(self) -> float:
        """How far above the probe the best rates lie, median, decades."""
        best = np.argsort(-self.scores)[: max(len(self.scores) // BEST, 1)]
        return float(np.median(self.rates[best])) - self.probe

    def features(self, raised: bool) -> np.ndarray:
        """Return features, rates seen from the probe, or from it raised by what later steps are shorter."""
        scale = self.probe - math.log10(self.shortness) if raised else self.probe
        return features_at(list(self.rates), self.configs, scale, self.steps)

    def statistics(self, raised: bool) -> priors.TaskStatistics:
        """Return what it contributes to a prior."""
        phi = self.features(raised)
        of = self.name, self.name, "AdamW", len(phi), self.probe
        return priors.TaskStatistics(*of, phi.T @ phi, phi.T @ self.scores)


def searched(directory: Path) -> Iterator[Searched]:
    """Yield the tasks of a results directory."""
    manifest = read_manifest(directory)
    for variation in manifest.variations:
        for seed in variation.seeds:
            path = cell_path(directory / variation.run_id, seed)
            record = read_record(path, manifest.planned(variation, seed))
            if record is None:
                continue
            trials = record["trials"]
            facts = facts_of(description_of(record, path) or {}, len(trials))
            spec = manifest.spec_of(variation, record)
            assert facts is not None and facts.probe is not None and spec is not None
            task = build_task({**spec})
            assert isinstance(task, GradientTask)
            middle = Config({parameter.name: parameter.decode(0.5) for parameter in task.space})
            yield Searched(
                variation.task,
                seed,
                task.space,
                np.array(facts.nudged, dtype=float),
                [trial["nudged"] for trial in trials],
                facts.steps_per_unit * float(max(UNITS)),
                targets(scores_at(record["curve"], range(len(trials)), UNITS)),
                facts.probe,
                shortness(task, middle, seed),
            )


def rows(directory: Path) -> list[dict[str, Any]]:
    """Return the row of each task."""
    tables = priors.load(priors.TABLES).prior()
    past = build_past([str(directory)])
    tasks, found = list(searched(directory)), list[dict[str, Any]]()
    for task in tasks:
        others = float(np.mean([other.offset for other in tasks if other.name != task.name]))
        scales = {
            "probe": task.probe,
            "probe, later steps": task.probe - math.log10(task.shortness),
            "probe, offset of the others": task.probe + others,
        }
        row: dict[str, Any] = {"task": task.name, "seed": task.seed, "probe": round(task.probe, 3)}
        row |= {"offset": round(task.offset, 3), "shortness": round(task.shortness, 3)}
        for name, scale in scales.items():
            phi = features_at(list(task.rates), task.configs, scale, task.steps)
            row[f"tables, {name}"] = _agreement(phi @ tables.mean, task.scores)
        of_others = [other for other in tasks if other.name != task.name]
        for name, raised in (("probe", False), ("probe, later steps", True)):
            own = priors.fit([other.statistics(raised) for other in of_others], priors.RIDGE)
            row[f"networks, {name}"] = _agreement(task.features(raised) @ own.mean, task.scores)
        said = transfer(task.space, [study for study in past.studies if study.task != task.name])
        foretold = said.features.of_configs(task.configs) @ said.chosen_by
        row["past studies, no probe"] = _agreement(foretold, task.scores)
        found.append(row)
    return found


def _agreement(foretold: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    best = np.argsort(-foretold)[: max(len(scores) // CHOSEN, 1)]
    correlation = float(np.corrcoef(normal_scores(foretold), scores)[0, 1])
    return {"correlation": round(correlation, 3), "chosen": round(float(scores[best].mean()), 3)}


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="RESULTS_DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [json.dumps(row) for row in rows(options.directory)]
    write_text(options.output, "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
