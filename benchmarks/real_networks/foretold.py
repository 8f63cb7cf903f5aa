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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hypernudge.harness.cells.build import build_task
from hypernudge.harness.cells.described import facts_of
from hypernudge.harness.inspection.past_prior import build_past
from hypernudge.harness.inspection.prior import UNITS, build_prior, targets
from hypernudge.hypergradient.objectives import gradient
from hypernudge.results.files import write_text
from hypernudge.results.plan import read_manifest
from hypernudge.results.records import cell_path, description_of, read_record
from hypernudge.space import Config
from hypernudge.task import GradientTask
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement.features import features_at
from hypernudge.warmstart.measurement.prior import PriorFile
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


def rows(directory: Path) -> list[dict[str, Any]]:
    """Return the row of each task."""
    manifest, file, past = read_manifest(directory), build_prior([directory]), build_past([str(directory)])
    tables = priors.load(priors.SHIPPED).prior()
    found, offsets = list[dict[str, Any]](), dict[str, list[float]]()
    kept: list[tuple[dict[str, Any], Any]] = []
    for variation in manifest.variations:
        for seed in variation.seeds:
            path = cell_path(directory / variation.run_id, seed)
            record = read_record(path, manifest.planned(variation, seed))
            if record is None:
                continue
            facts = facts_of(description_of(record, path) or {}, len(record["trials"]))
            spec = manifest.spec_of(variation, record)
            assert facts is not None and facts.probe is not None and spec is not None
            y = targets(record["curve"], range(len(record["trials"])), UNITS)
            rates = np.array(facts.nudged, dtype=float)
            best = rates[np.argsort(-y)[: max(len(y) // BEST, 1)]]
            task = build_task({**spec})
            assert isinstance(task, GradientTask)
            config = Config({p.name: p.decode(0.5) for p in task.space})
            row = {"task": variation.task, "family": facts.family, "seed": seed, "probe": facts.probe}
            row |= {"offset": float(np.median(best)) - facts.probe}
            row |= {"shortness": shortness(task, config, seed)}
            offsets.setdefault(variation.task, []).append(row["offset"])
            steps = facts.steps_per_unit * float(max(UNITS))
            configs = [trial["nudged"] for trial in record["trials"]]
            kept.append((row, (variation.task, rates, configs, steps, y, task.space)))
    for row, (name, rates, configs, steps, y, space) in kept:
        own = float(np.mean([value for other, of in offsets.items() if other != name for value in of]))
        scales = {"probe": row["probe"], "probe, later steps": row["probe"] - math.log10(row["shortness"])}
        scales["probe, offset of the others"] = row["probe"] + own
        others = tuple(task for task in file.tasks if task.task != name)
        known = {"tables": tables, "networks": PriorFile(others).prior(optimizer="AdamW")}
        for prior_name, prior in known.items():
            for scale_name, scale in scales.items():
                if prior_name == "networks" and scale_name != "probe":
                    continue  # its own rates are seen from the probe
                foretold = features_at(list(rates), configs, scale, steps) @ prior.mean
                row[f"{prior_name}, {scale_name}"] = _agreement(foretold, y)
        said = transfer(space, [study for study in past.studies if study.task != name])
        row["past studies, no probe"] = _agreement(said.features.of_configs(configs) @ said.chosen_by, y)
        found.append(_rounded(row))
    return found


def _agreement(foretold: np.ndarray, y: np.ndarray) -> dict[str, float]:
    best = np.argsort(-foretold)[: max(len(y) // CHOSEN, 1)]
    correlation = float(np.corrcoef(normal_scores(foretold), y)[0, 1])
    return {"correlation": correlation, "chosen": float(y[best].mean())}


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value)
        if isinstance(value, Mapping)
        else round(value, 3)
        if isinstance(value, float)
        else value
        for name, value in row.items()
    }


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
