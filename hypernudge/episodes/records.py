"""Frozen records: what is in force during an episode, and what became of it."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.rewards.base import RewardDetails


@dataclass(frozen=True)
class CandidateConfig:
    """The pair in force during an episode of the `AEES` front.

    Attributes:
        name: `lr{multiplier}_n{std}` with `-` written `m` and `.` written `p`.
        lr_multiplier: Factor on the base learning rate, above 0.
        noise_std: Standard deviation of the gradient noise, in units of the gradient.
    """

    name: str
    lr_multiplier: float = 1.0
    noise_std: float = 0.0


@dataclass(frozen=True)
class Selection:
    """One decision of a controller.

    Attributes:
        name: Readable name, the axis tags and values joined by `_`.
        arms: Index of the chosen candidate per axis.
        values: Value of the chosen candidate per axis.
        bucket: Context bucket the decision was made in, or `search` or `anneal` where the length of the
            training is known; else None.
    """

    name: str
    arms: tuple[int, ...]
    values: tuple[float, ...]
    bucket: str | None = None


@dataclass(frozen=True)
class EpisodeRecord:
    """A closed episode.

    Attributes:
        index: Running number from 0.
        selection: What was in force.
        start_step: First optimizer step of the episode.
        end_step: Last optimizer step of the episode (inclusive).
        loss_start: First loss, or None if no usable loss was seen.
        loss_end: Last loss, or None.
        reward: The reward and its parts, or None where the controller uses none or none was defined.
        update_norm: Mean Euclidean norm of the parameter update per step, or None if not requested.
    """

    index: int
    selection: Selection
    start_step: int
    end_step: int
    loss_start: float | None
    loss_end: float | None
    reward: RewardDetails | None
    update_norm: float | None

    def to_plain(self) -> dict[str, Any]:
        """Return the record in plain types (loads with `weights_only=True`)."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "EpisodeRecord":
        """Rebuild a record from what `to_plain` returned, `plain`.

        Raises:
            ValueError: A part lacks, is unknown or of the wrong kind.
        """
        kept = checks.state(plain, (field.name for field in fields(cls)), "record")
        reward = kept["reward"]
        if reward is not None:
            names = [field.name for field in fields(RewardDetails)]
            parts = checks.state(reward, names, "reward")
            reward = RewardDetails(*checks.state_list("reward", [parts[name] for name in names], len(names)))
        numbers = [kept[name] for name in ("loss_start", "loss_end", "update_norm") if kept[name] is not None]
        checks.state_list("losses", numbers, len(numbers))
        for name in ("index", "start_step", "end_step"):
            checks.at_least(name, kept[name], 0)
        return cls(**{**kept, "selection": selection_from_plain(kept["selection"]), "reward": reward})


def selection_to_plain(selection: Selection) -> dict[str, Any]:
    """Return a `selection` in plain types, with lists in place of tuples, as it is when it is loaded."""
    return {**asdict(selection), "arms": list(selection.arms), "values": list(selection.values)}


def selection_from_plain(plain: dict[str, Any]) -> Selection:
    """Rebuild a `Selection` from its `asdict` form.

    Raises:
        ValueError: A part lacks, is unknown or of the wrong kind.
    """
    kept = checks.state(plain, (field.name for field in fields(Selection)), "selection")
    values = checks.state_list("values", kept["values"], len(kept["values"]))
    arms = checks.state_list("arms", kept["arms"], len(values), int)
    name, bucket = kept["name"], kept["bucket"]
    if not isinstance(name, str) or not (bucket is None or isinstance(bucket, str)):
        checks.refuse("selection", "must have a name, and a bucket or None", kept, "load it unchanged")
    return Selection(name, tuple(arms), tuple(values), bucket)


def value_text(value: float) -> str:
    """Write a value so that it fits an identifier: `1e-05` becomes `1em05`, `0.05` `0p05`."""
    return f"{value:.12g}".replace("-", "m").replace(".", "p")
