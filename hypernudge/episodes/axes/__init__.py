"""Axes: what an episode may change about a step."""

from hypernudge.episodes.axes.base import Axis as Axis
from hypernudge.episodes.axes.custom import CustomAxis as CustomAxis
from hypernudge.episodes.axes.group_value import Momentum as Momentum
from hypernudge.episodes.axes.group_value import WeightDecay as WeightDecay
from hypernudge.episodes.axes.learning_rate import LearningRate as LearningRate
from hypernudge.episodes.axes.noise import GradientNoise as GradientNoise
