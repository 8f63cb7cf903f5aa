"""Rewards: how an episode is judged from its losses."""

from hypernudge.episodes.rewards.base import Reward as Reward
from hypernudge.episodes.rewards.base import RewardDetails as RewardDetails
from hypernudge.episodes.rewards.ema_log import EmaLogReward as EmaLogReward
from hypernudge.episodes.rewards.standardised import StandardisedReward as StandardisedReward
