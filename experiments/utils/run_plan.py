"""Run plans and manifests; as a script, `status`, `run` and `commands` of a plan."""

import sys

from hypernudge.harness.aees.plans import load_run_plan as load_run_plan
from hypernudge.harness.aees.plans import main as main
from hypernudge.harness.aees.plans import manifest as manifest
from hypernudge.harness.aees.plans import run_missing as run_missing

if __name__ == "__main__":
    sys.exit(main())
