"""The experiments as `python -m hypernudge.experiments TASK ...`, where `experiments/` is not at hand."""

import sys

from hypernudge.experiments.runners.tasks import EXPERIMENTS, run_experiment

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in EXPERIMENTS:
        sys.exit(f"error: TASK: must be one of {', '.join(EXPERIMENTS)}, but got {sys.argv[1:2]}; name one")
    sys.exit(run_experiment(sys.argv[1], sys.argv[2:]))
