"""Checkpoints: comparing settings, refusing what does not fit before anything is changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.kinds import present_kinds
from hypernudge.episodes.records import Selection, selection_from_plain
from hypernudge.errors import InvalidArgumentError

FORMAT = 1
EPISODE_KEYS = ("losses", "current", "steps", "start", "step_count", "norm", "records")
KEYS = ("format", "settings", "seed", "controller", "noise", *EPISODE_KEYS)


def differences(saved: Any, own: Any, path: str = "") -> list[str]:
    """List where two nested settings differ, as `path: saved X, here Y`."""
    if isinstance(saved, dict) and isinstance(own, dict):
        found: list[str] = []
        for key in sorted({*saved, *own}):
            found += differences(saved.get(key), own.get(key), f"{path}.{key}" if path else str(key))
        return found
    return [] if _same(saved, own) else [f"{path}: saved {saved!r}, here {own!r}"]


def check_state(state: dict[str, Any], fingerprint: dict[str, Any]) -> None:
    """Refuse a checkpoint of another format or of other settings.

    Args:
        state: What `state_dict` returned.
        fingerprint: Settings of the object that is to load it.

    Raises:
        ValueError: The checkpoint does not fit; every differing setting is named.
    """
    saved = state.get("format") if isinstance(state, Mapping) else state
    if saved is True or saved != FORMAT:
        rule = f"must come from state_dict() of this class (format {FORMAT})"
        checks.refuse("state", rule, saved, "load what was saved there")
    checks.state(state, KEYS, "state")
    found = other_settings(state, fingerprint)
    if found:
        raise InvalidArgumentError(
            f"state: was saved under other settings: {'; '.join(found)}; "
            "construct the scheduler as it was then"
        )


def other_settings(
    state: dict[str, Any], fingerprint: dict[str, Any], besides: str | None = None
) -> list[str]:
    """List where the settings of a checkpoint differ from `fingerprint`, `besides` one; none if it fits."""
    found = differences(present_kinds(state["settings"]), fingerprint)
    return [line for line in found if besides is None or not line.partition(":")[0].endswith(besides)]


def selection(plain: dict[str, Any] | None, axes: Sequence[Axis]) -> Selection | None:
    """Rebuild the selection of the open episode, None for none.

    Raises:
        ValueError: It does not choose among the candidates of `axes`.
    """
    if plain is None:
        return None
    found = selection_from_plain(plain)
    arms = [len(axis.candidates) for axis in axes]
    if len(found.arms) != len(arms) or not all(
        0 <= arm < count for arm, count in zip(found.arms, arms, strict=True)
    ):
        checks.refuse("current", f"must choose for {len(axes)} axes", found.arms, "load it unchanged")
    return found


def plain(value: Any) -> Any:
    """Turn tuples into lists, at any depth, so that saved and loaded states compare equal."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def _same(saved: Any, own: Any) -> bool:
    if isinstance(saved, list) and isinstance(own, list):
        return len(saved) == len(own) and all(_same(a, b) for a, b in zip(saved, own, strict=True))
    return bool(saved == own) or (saved != saved and own != own)
