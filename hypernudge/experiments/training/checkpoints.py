"""Checkpoints of a run in progress: written atomically, plain data, refused where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hypernudge.episodes.lifecycle.persistence import differences, plain
from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.config import RunConfig
from hypernudge.results.files import replacing

FORMAT = 1


def checkpoint_path(output: Path) -> Path:
    """Where the checkpoint of the run that will write `output` is."""
    return output.with_suffix(".checkpoint.pt")


def save_checkpoint(path: Path, config: RunConfig, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a reader sees the old one or the new one."""
    with replacing(path) as file:
        torch.save({"format": FORMAT, "config": plain(config.as_dict()), "state": state}, file)


def load_checkpoint(path: Path, config: RunConfig, device: torch.device) -> dict[str, Any] | None:
    """Return the state of a checkpoint, None if there is none.

    Raises:
        InvalidArgumentError: It cannot be read, or belongs to a run with other settings.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch.load fails in many ways on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidArgumentError(
            f"--resume: {path} must be a checkpoint, but {reason}; remove it to start anew"
        ) from None
    if saved.get("format") != FORMAT:
        raise InvalidArgumentError(
            f"--resume: {path} must have format {FORMAT}, but has {saved.get('format')!r}; "
            "remove it to start anew"
        )
    found = differences(saved["config"], plain(config.as_dict()))
    if found:
        raise InvalidArgumentError(
            f"--resume: {path} belongs to a run with other settings ({'; '.join(found)}); "
            "choose another --output, or remove it"
        )
    state: dict[str, Any] = saved["state"]
    return state
