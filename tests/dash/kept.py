"""Kept studies on disk without any training: events of a synthetic study, written as `tune` writes them."""

import math

from hypernudge.study.events import EventCodec, number
from hypernudge.study.header import describe_space
from hypernudge.study.log import Lines, LogWriter
from hypernudge.study.store import FILE


class Writer:
    """Writes a study's file, a part at a time.

    Args:
        folder: Of the study.
        study: Whose events are written.
    """

    def __init__(self, folder, study):
        about = study.about
        arguments = {
            "task": {"name": about.task, "metric": about.metric},
            "space": describe_space(about.space),
            "direction": about.direction,
            "budget": number(math.inf),
            "seed": study.seed,
        }
        names = {"scheduler": about.scheduler, "warm_start": about.warm_start, "max_units": about.max_units}
        self._codec = EventCodec(about.space, about.sign)
        self._log = LogWriter(folder / FILE, Lines([], [], [], 0), 0)
        created = "2026-01-01T00:00:00+00:00"
        head = {"event": "study", "format": 1, "arguments": arguments, "names": names, "created": created}
        self._log.append(head)
        self._events = list(study.history.events)
        self.written = 0

    def write(self, count=None):
        """Append the next events, all that are left if absent."""
        stop = len(self._events) if count is None else self.written + count
        for event in self._events[self.written : stop]:
            self._log.append(self._codec.encode(event))
        self.written = min(stop, len(self._events))

    def end(self, reason="scheduler"):
        self._log.append({"event": "ended", "reason": reason})

    def close(self):
        self._log.close()


def keep(folder, study, ended="scheduler"):
    """Write a whole study; return its folder."""
    writer = Writer(folder, study)
    writer.write()
    if ended:
        writer.end(ended)
    writer.close()
    return folder
