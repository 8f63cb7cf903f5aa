"""W&B: one offline run per cell, in a folder; `wandb sync FOLDER/wandb/offline-run-*` uploads them.

Nothing is sent from here: runs are always offline, whatever the environment says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.exporters.cells import CellRun

_COMPLETE = "hypernudge-digest.txt"


class WandbTracker:
    """Writes cells as offline runs of W&B.

    Args:
        study: Name of the project.
        destination: Folder; W&B makes its `wandb/` in there.

    Raises:
        InvalidArgumentError: W&B is not installed, or the destination is a file.
    """

    def __init__(self, study: str, destination: Path) -> None:
        try:
            import wandb
        except ImportError:
            raise InvalidArgumentError(
                "--to: exporting to W&B needs wandb, which is not installed; install hypernudge[trackers]"
            ) from None
        folder = not destination.exists() or destination.is_dir()
        require(folder, "--store", "must be a folder", str(destination), "choose another")
        destination.mkdir(parents=True, exist_ok=True)
        self._wandb, self._study, self._root = wandb, study, destination

    def known(self) -> set[str]:
        """Return the digests of the runs that were finished."""
        return {path.read_text().strip() for path in self._root.glob(f"wandb/offline-run-*/{_COMPLETE}")}

    def write(self, run: CellRun) -> None:
        """Write one run; what an earlier attempt left unfinished of it is removed."""
        identity = run.digest[:16]
        for left in self._root.glob(f"wandb/offline-run-*-{identity}"):
            shutil.rmtree(left)
        writer = self._wandb.init(
            mode="offline",
            dir=self._root,
            project=self._study,
            name=run.name,
            id=identity,
            group=run.group,
            config={**run.parameters, **run.tags},
            # Neither this machine nor this source tree is the one that the cell ran on.
            settings=self._wandb.Settings(
                silent=True, disable_git=True, save_code=False, console="off", x_disable_stats=True
            ),
        )
        try:
            for step, point in enumerate(run.points):
                writer.log({**point.logged, "time": point.time}, step=step)
            for key, value in run.summary.items():
                writer.summary[f"final/{key}"] = value
        except BaseException:
            writer.finish(exit_code=1)
            raise
        writer.finish()
        (folder,) = self._root.glob(f"wandb/offline-run-*-{identity}")
        (folder / _COMPLETE).write_text(run.digest + "\n")
