"""Results of runs and their JSON files."""

from hypernudge.harness.aees.results import RunResult as RunResult
from hypernudge.harness.aees.results import load_run_result as load_run_result
from hypernudge.harness.aees.results import save_run_result as save_run_result
from hypernudge.harness.aees.results import schema as schema
