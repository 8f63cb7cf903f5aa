"""FLOP accounting of the experiments: counted operator by operator, never a constant per model."""

from hypernudge.experiments.task_data import StepCosts as StepCosts
from hypernudge.experiments.training.trainer import planned_flops as planned_flops
from hypernudge.flops import count_flops as count_flops
