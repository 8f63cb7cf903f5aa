"""Runtime metrics and hardware of a run."""

from hypernudge.experiments.training.hardware import hardware as hardware
from hypernudge.experiments.training.runtime_metrics import runtime_metrics as runtime_metrics
