"""Bandits: one algorithm per file, all answering to `Bandit`."""

from hypernudge.episodes.bandits.base import Bandit as Bandit
from hypernudge.episodes.bandits.base import BanditFactory as BanditFactory
from hypernudge.episodes.bandits.base import ContextualBandit as ContextualBandit
from hypernudge.episodes.bandits.bucketed import BucketedUCB as BucketedUCB
from hypernudge.episodes.bandits.exp3 import Exp3 as Exp3
from hypernudge.episodes.bandits.thompson import ThompsonSampling as ThompsonSampling
from hypernudge.episodes.bandits.ucb import DiscountedUCB as DiscountedUCB
from hypernudge.episodes.bandits.uniform import UniformBandit as UniformBandit
