"""Results of runs and their JSON files."""

from hypernudge.experiments.training.results import RunResult as RunResult
from hypernudge.experiments.training.results import load_run_result as load_run_result
from hypernudge.experiments.training.results import save_run_result as save_run_result
from hypernudge.experiments.training.results import schema as schema
