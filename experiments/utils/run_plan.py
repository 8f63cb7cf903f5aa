"""Run plans and manifests; as a script, `status`, `run` and `commands` of a plan."""

import sys

from hypernudge.experiments.runners.plans import load_run_plan as load_run_plan
from hypernudge.experiments.runners.plans import main as main
from hypernudge.experiments.runners.plans import manifest as manifest
from hypernudge.experiments.runners.plans import run_missing as run_missing

if __name__ == "__main__":
    sys.exit(main())
