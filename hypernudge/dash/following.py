"""A kept study that is read as it grows: each line of its file once."""

from __future__ import annotations

from pathlib import Path

from hypernudge.study.events import EventCodec, read_number
from hypernudge.study.log import DamagedStudyError, LineReader
from hypernudge.study.reading import about_in
from hypernudge.study.store import cut_short, header_in
from hypernudge.study.study import Study
from hypernudge.trial import History


class StudyFollower:
    """Follows the file of a study.

    Args:
        path: `study.jsonl`.

    Attributes:
        study: As far as it has come; None before its first line is whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._restart()

    def _restart(self) -> None:
        self._reader = LineReader(self._path)
        self._codec: EventCodec | None = None
        self.study: Study | None = None

    def update(self) -> bool:
        """Read what was appended; return whether there was anything.

        Raises:
            DamagedStudyError: If the file is damaged, or is no study's.
            OSError: If it cannot be read.
        """
        seen = self._reader.count
        try:
            return self._advance()
        except DamagedStudyError:
            if seen == 0:
                raise
        # A run that goes on cuts off what was decided and not begun, and writes other lines there.
        self._restart()
        self._advance()
        return True

    def _advance(self) -> bool:
        lines = self._reader.read()
        first = self._reader.count - len(lines.entries) + 1
        for offset, entry in enumerate(lines.entries):
            try:
                if self.study is None:
                    header_in(self._path, lines)
                    self._begin(entry)
                else:
                    self._apply(self.study, entry)
            except DamagedStudyError:
                raise
            except (KeyError, TypeError, ValueError, LookupError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise DamagedStudyError(
                    self._path, f"line {first + offset} is no event of it ({reason})"
                ) from None
        return bool(lines.entries)

    def _begin(self, header: dict[str, object]) -> None:
        about = about_in(header)
        assert about.space is not None  # it was read from there
        arguments = header["arguments"]
        assert isinstance(arguments, dict)
        budget, seed = read_number(arguments["budget"]), int(arguments["seed"])
        self._codec = EventCodec(about.space, about.sign)
        self.study = Study(History(about.max_units), seed, budget, about, self._path.parent)

    def _apply(self, study: Study, entry: dict[str, object]) -> None:
        assert self._codec is not None  # there is a study
        kind = entry["event"]
        if kind == "opened":
            arguments = entry["arguments"]
            assert isinstance(arguments, dict)
            study.budget, study.ended = read_number(arguments["budget"]), None
        elif kind == "withdrawn":  # the budget grew: what it had cut short goes on
            events = [event for event in study.history.events if not cut_short(event)]
            study.history = History.replay(events, study.about.max_units)
        elif kind == "ended":
            study.ended = str(entry["reason"])
        else:
            study.history.append(self._codec.decode(entry))
