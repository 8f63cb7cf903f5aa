"""One worker of NePS; several share a directory. A promoted configuration goes on from its checkpoint."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import neps
import torch

from benchmarks.libraries.job import ETA, SPACE, TRIALS, UNITS, Training


class Space(neps.PipelineSpace):
    """The space of the job, and the number of units as fidelity."""

    units = neps.IntegerFidelity(1, UNITS)


for name, low, high, log in SPACE:
    setattr(Space, name, neps.Float(low, high, log=log))


def main(directory: Path) -> None:
    def evaluate(
        pipeline_directory: Path, previous_pipeline_directory: Path | None, units: int, **config: float
    ) -> float:
        training, done = Training(config, 0), 0
        if previous_pipeline_directory is not None:
            saved = torch.load(Path(previous_pipeline_directory) / "state.pt", weights_only=True)
            training.load(saved["state"])
            done = saved["units"]
        score = 0.0
        for _ in range(done, units):
            score = training.epoch()
            with (directory / "scores").open("a") as file:
                file.write(json.dumps({"config": config, "score": score}, sort_keys=True) + "\n")
        torch.save({"state": training.state(), "units": units}, Path(pipeline_directory) / "state.pt")
        return -score

    logging.disable(logging.WARNING)
    neps.run(
        evaluate_pipeline=evaluate,
        pipeline_space=Space(),
        root_directory=directory / "neps",
        optimizer=("asha", {"eta": ETA}),
        total_evaluations_to_spend=evaluations(),
    )


def evaluations() -> int:
    """Return how many jobs ASHA has on 64 configurations: all of them, and a third at every rung above."""
    total = survivors = TRIALS
    while (survivors := survivors // ETA) and total < TRIALS * 2:
        total += survivors
    return total


if __name__ == "__main__":
    main(Path(sys.argv[1]))
