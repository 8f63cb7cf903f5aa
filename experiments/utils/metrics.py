"""Runtime metrics and hardware of a run."""

from hypernudge.harness.aees.hardware import hardware as hardware
from hypernudge.harness.aees.measures import runtime_metrics as runtime_metrics
