"""Episodic adaptation of a running optimizer (AEES): axes, rewards, bandits, hooks."""

from hypernudge.episodes.axes import Axis as Axis
from hypernudge.episodes.axes import CustomAxis as CustomAxis
from hypernudge.episodes.axes import GradientNoise as GradientNoise
from hypernudge.episodes.axes import LearningRate as LearningRate
from hypernudge.episodes.axes import Momentum as Momentum
from hypernudge.episodes.axes import WeightDecay as WeightDecay
from hypernudge.episodes.bandits import Bandit as Bandit
from hypernudge.episodes.bandits import BucketedUCB as BucketedUCB
from hypernudge.episodes.bandits import DiscountedUCB as DiscountedUCB
from hypernudge.episodes.bandits import Exp3 as Exp3
from hypernudge.episodes.bandits import ThompsonSampling as ThompsonSampling
from hypernudge.episodes.bandits import UniformBandit as UniformBandit
from hypernudge.episodes.context import TREND_BUCKETS as TREND_BUCKETS
from hypernudge.episodes.context import TrendContext as TrendContext
from hypernudge.episodes.controllers.alignment import Alignment as Alignment
from hypernudge.episodes.controllers.bandit_controller import BanditController as BanditController
from hypernudge.episodes.controllers.controller import Controller as Controller
from hypernudge.episodes.pulseopt.aees import AEES as AEES
from hypernudge.episodes.records import CandidateConfig as CandidateConfig
from hypernudge.episodes.records import EpisodeRecord as EpisodeRecord
from hypernudge.episodes.records import Selection as Selection
from hypernudge.episodes.rewards import EmaLogReward as EmaLogReward
from hypernudge.episodes.rewards import Reward as Reward
from hypernudge.episodes.rewards import RewardDetails as RewardDetails
from hypernudge.episodes.rewards import StandardisedReward as StandardisedReward
from hypernudge.episodes.scheduler import EpisodicScheduler as EpisodicScheduler
