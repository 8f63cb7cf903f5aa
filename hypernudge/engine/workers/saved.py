"""What an attempt writes: the state of its trial after every unit, and what is known of the units.

attempt-2/progress.json      units of the present job, what they took, which may be the study's best
attempt-2/state.json, .pt    the state, where the task keeps none itself
attempt-2/weights-00003.pt   weights of the unit that may be the best

Each is replaced in one step. A file that is missing or damaged costs time only: the trial is trained again,
to the same bits on a CPU.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypernudge.engine.scored import Scored
from hypernudge.engine.workers.messages import Candidate, Row
from hypernudge.engine.workers.states import content_of, restored
from hypernudge.errors import InvalidArgumentError, NotSavedError, one_line
from hypernudge.results.files import replacing
from hypernudge.results.resources import Resources
from hypernudge.trial import Job

FORMAT = 1
logger = logging.getLogger("hypernudge")


class GivenUpError(Exception):
    """The driver has given this attempt up: its folder is gone, and nobody wants its result."""


@dataclass
class Progress:
    """What is known of a job.

    Attributes:
        since: Units that the trial had before it.
        rows: Its units, in order.
        used: What they took, in all attempts.
        best: The unit that may be the study's best.
    """

    since: int
    rows: list[Row] = field(default_factory=list)
    used: Resources = field(default_factory=Resources)
    best: Candidate | None = None


class Attempt:
    """The folder of an attempt.

    Args:
        folder: It; the driver has made it.
        of: What determines the training. Files of anything else are not read.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self.folder, self._of = folder, of

    def read_progress(self, since: int) -> Progress:
        """Return what earlier attempts at the job that begins after `since` units have done."""
        found = self._read_json("progress.json")
        try:
            if found is None or (found["since"], found["of"]) != (since, self._of):
                return Progress(since)
            rows = [_row(entry) for entry in found["rows"]]
            if [row.unit for row in rows] != list(range(since + 1, since + 1 + len(rows))):
                raise ValueError("its units are not in order")
            best = None if found["best"] is None else _candidate(found["best"], self.folder)
            return Progress(since, rows, Resources.from_data(found["used"]), best)
        except (KeyError, TypeError, ValueError) as error:
            self._lost("progress.json", error)
            return Progress(since)

    def write_progress(self, progress: Progress) -> None:
        """Write what is known of the units: a power cut may lose it, a kill does not.

        Raises:
            NotSavedError: If it cannot be written.
            GivenUpError: If the attempt was given up.
        """
        best = None
        if progress.best is not None:
            name = None if progress.best.path is None else Path(progress.best.path).name
            best = {**vars(progress.best), "path": name}
        content = {
            "format": FORMAT,
            "of": self._of,
            "since": progress.since,
            "rows": [vars(row) for row in progress.rows],
            "used": progress.used.as_data(),
            "best": best,
        }
        self._write("progress.json", json.dumps(content).encode(), durable=False)
        kept = best["path"] if best else None
        for path in self.folder.glob("weights-*.pt"):
            if path.name != kept:
                path.unlink(missing_ok=True)

    def read_state(self, task: Any, seed: int) -> tuple[Any, int]:
        """Return a trial's state and how many units it has had: a new one where nothing usable is there."""
        content = self._read_json("state.json") or self._read_tensors("state.pt")
        state = task.start(seed)
        if content is None:
            return state, 0
        try:
            unit = int(content["unit"])
            if (content["format"], content["of"]) != (FORMAT, self._of):
                raise ValueError("it is of another trial")
            return restored(task, content, state), unit
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            self._lost("its state", error)
            return task.start(seed), 0

    def write_state(self, task: Any, state: Any, fresh: Any, unit: int, durable: bool) -> None:
        """Write a trial's state, which survives a power cut with `durable`; `fresh` is a new one.

        Raises:
            NotSavedError, GivenUpError: As `write_progress`.
            InvalidArgumentError: If the state cannot be said.
        """
        content = {"format": FORMAT, "of": self._of, "unit": unit, **content_of(task, state, fresh)}
        if _is_json(content):
            self._write("state.json", json.dumps(content).encode(), durable)
            return
        self._save("state.pt", content, durable)

    def write_weights(self, unit: int, weights: Mapping[str, Any]) -> str:
        """Write weights that may be the best; return where.

        Raises:
            NotSavedError, GivenUpError: As `write_progress`.
        """
        name = f"weights-{unit:05d}.pt"
        self._save(name, {"format": FORMAT, "weights": dict(weights)}, durable=False)
        return str(self.folder / name)

    def check(self) -> None:
        """Raise `GivenUpError` if the attempt was given up."""
        if not self.folder.is_dir():
            raise GivenUpError

    def _save(self, name: str, content: Mapping[str, Any], durable: bool) -> None:
        import torch

        self.check()
        try:
            with replacing(self.folder / name, durable=durable, make_folder=False) as file:
                torch.save(dict(content), file)
        except (OSError, RuntimeError) as error:  # PyTorch's writer turns one into the other
            raise _not_saved(error) from error

    def _write(self, name: str, data: bytes, durable: bool) -> None:
        self.check()
        try:
            with replacing(self.folder / name, durable=durable, make_folder=False) as file:
                file.write(data)
        except OSError as error:
            raise _not_saved(error) from error

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._lost(name, error)
            return None

    def _read_tensors(self, name: str) -> Any:
        path = self.folder / name
        if not path.exists():
            return None
        import torch

        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in many ways
            self._lost(name, error)
            return None

    def _lost(self, what: str, error: Exception) -> None:
        reason = one_line(error) or type(error).__name__
        logger.warning("%s: %s cannot be read (%s): the trial is trained again", self.folder, what, reason)


def scored_of(job: Job, best: Candidate) -> Scored:
    """Return what a worker has kept of the unit of a job that may be the best; it is read when asked for."""

    def weights() -> Any:
        return None if best.path is None else _read_weights(best.path)

    return Scored(job.trial, best.unit, best.score, weights, lambda: best.test, lasting=True)


def _read_weights(path: str) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)["weights"]


def _is_json(value: Any) -> bool:
    """Whether JSON gives back exactly this."""
    if type(value) is dict:
        return all(type(key) is str and _is_json(entry) for key, entry in value.items())
    if type(value) is list:
        return all(map(_is_json, value))
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _row(data: Mapping[str, Any]) -> Row:
    scores = float(data["validation"]), float(data["test"])
    return Row(int(data["unit"]), float(data["seconds"]), int(data["attempt"]), *scores)


def _candidate(data: Mapping[str, Any], folder: Path) -> Candidate | None:
    path = None if data["path"] is None else folder / Path(str(data["path"])).name
    if path is not None and not path.exists():
        return None
    return Candidate(
        int(data["unit"]), float(data["score"]), float(data["test"]), None if path is None else str(path)
    )


def _not_saved(error: Exception) -> Exception:
    cause = error.__context__ if isinstance(error.__context__, OSError) else error
    if isinstance(cause, InvalidArgumentError) or not isinstance(cause, OSError):
        return error
    return NotSavedError(cause.errno, cause.strerror or str(cause), cause.filename)


@contextlib.contextmanager
def kept_by(task: Any, folder: Path) -> Any:
    """Have a task that keeps trials on disk itself keep them there; yield whether it does."""
    if not hasattr(task, "kept_in"):
        yield False
        return
    with task.kept_in(folder) as keeps:
        yield bool(keeps)
