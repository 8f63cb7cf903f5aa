"""FLOP accounting of the experiments: counted operator by operator, never a constant per model."""

from hypernudge.flops import count_flops as count_flops
from hypernudge.harness.aees.loop import planned_flops as planned_flops
from hypernudge.harness.aees.problem import StepCosts as StepCosts
