"""Closed episodes as columns, under the names of the published implementation."""

from collections.abc import Callable, Sequence
from typing import Any

from hypernudge.episodes.records import EpisodeRecord
from hypernudge.episodes.rewards.base import RewardDetails


def _part(pick: Callable[[RewardDetails], float]) -> Callable[[EpisodeRecord], float | None]:
    return lambda record: None if record.reward is None else pick(record.reward)


COLUMNS: dict[str, Callable[[EpisodeRecord], Any]] = {
    "selected_lr_indices": lambda record: record.selection.arms[0],
    "selected_noise_indices": lambda record: record.selection.arms[1],
    "selected_lr_values": lambda record: record.selection.values[0],
    "selected_noise_values": lambda record: record.selection.values[1],
    "selected_combined_names": lambda record: record.selection.name,
    "episode_rewards": _part(lambda reward: reward.value),
    "episode_start_steps": lambda record: record.start_step,
    "episode_end_steps": lambda record: record.end_step,
    "episode_start_losses": lambda record: record.loss_start,
    "episode_end_losses": lambda record: record.loss_end,
    "episode_ema_loss_starts": _part(lambda reward: reward.ema_start),
    "episode_ema_loss_ends": _part(lambda reward: reward.ema_end),
    "reward_base": _part(lambda reward: reward.base),
    "reward_instability": _part(lambda reward: reward.instability),
    "reward_penalty": _part(lambda reward: reward.penalty),
    "reward_final_unclipped": _part(lambda reward: reward.unclipped),
    "reward_final_clipped": _part(lambda reward: reward.value),
    "mean_update_norms": lambda record: record.update_norm,
}


def episode_logs(records: Sequence[EpisodeRecord], *, context: bool) -> dict[str, list[Any]]:
    """Turn records of the axes (learning rate, noise) into a dict of equally long lists.

    Args:
        records: Closed episodes in order.
        context: Also list the context bucket of each episode.

    Returns:
        One list per quantity; entries that were not measured are None.
    """
    logs = {name: [pick(record) for record in records] for name, pick in COLUMNS.items()}
    if context:
        logs["context_buckets"] = [record.selection.bucket for record in records]
    return logs
