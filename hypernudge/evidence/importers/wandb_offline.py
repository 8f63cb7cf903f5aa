"""Offline runs of W&B, read from their `.wandb` files: name, configuration, history.

The file is a log in the format of LevelDB: blocks of 32 KiB, each a sequence of chunks with checksum, length
and kind; a record that does not fit its block goes on in the next. Records are protocol buffers, described by
W&B itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.runs import line, parse_json
from hypernudge.evidence.importers.wandb_tables import Table, table_of

_BLOCK = 32_768
_FILE_HEADER, _CHUNK_HEADER = 7, 7  # bytes
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass(frozen=True)
class OfflineRun:
    """One run.

    Attributes:
        title: Its display name.
        identity: The identifier that W&B gave it.
        config: Its configuration, as text.
        table: Its history, one row per logged step.
        crashed: Whether it ended in an error; None where the file says nothing of its end.
    """

    title: str
    identity: str
    config: dict[str, str]
    table: Table
    crashed: bool | None


def offline_runs(files: Sequence[Path]) -> list[OfflineRun]:
    """Return the runs of some files; the files of one run, taken up again, are one.

    Raises:
        InvalidArgumentError: W&B is not installed, or a file is damaged or none of its runs.
    """
    if not files:
        return []
    try:
        from wandb.proto import wandb_internal_pb2
    except ImportError:
        raise InvalidArgumentError(
            "TOOL: reading offline runs of W&B needs wandb, which is not installed; "
            "install hypernudge[trackers], or export the histories as CSV"
        ) from None
    found: dict[str, OfflineRun] = {}
    for file in files:  # their folders are named after when they began
        run = _offline_run(file, wandb_internal_pb2)
        before = found.get(run.identity)
        if before is not None:
            names = list(dict.fromkeys([*before.table.names, *run.table.names]))
            rows = [
                dict(zip(table.names, row, strict=True))
                for table in (before.table, run.table)
                for row in table.rows
            ]
            table = table_of(before.table.where, [{**dict.fromkeys(names), **row} for row in rows])
            run = replace(run, config={**before.config, **run.config}, table=table)
        found[run.identity] = run
    return list(found.values())


def _offline_run(path: Path, described: Any) -> OfflineRun:
    title, identity = path.stem.removeprefix("run-"), path.stem.removeprefix("run-")
    config: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    crashed: bool | None = None
    for data in _records(path):
        record = described.Record()
        try:
            record.ParseFromString(data)
        except Exception as error:  # protobuf's own class of error lies elsewhere in every version
            reason = line(error)
            raise InvalidArgumentError(
                f"SOURCE: {path} must be intact, but: {reason}; copy it again"
            ) from None
        kind = record.WhichOneof("record_type")
        if kind == "run":
            title, identity = record.run.display_name or title, record.run.run_id or identity
            config |= {item.key: _text(item.value_json, path) for item in record.run.config.update}
        elif kind == "config":
            config |= {item.key: _text(item.value_json, path) for item in record.config.update if item.key}
        elif kind == "history":
            items = record.history.item
            rows.append(
                {
                    "/".join(i.nested_key) or i.key: parse_json(i.value_json, str(path), "copy it again")
                    for i in items
                }
            )
        elif kind == "exit":
            crashed = record.exit.exit_code != 0
    return OfflineRun(title, identity, config, table_of(str(path), rows), crashed)


def _text(value: str, path: Path) -> str:
    loaded = parse_json(value, str(path), "copy it again")
    return loaded if isinstance(loaded, str) else value


def _records(path: Path) -> Iterator[bytes]:
    """Yield the records of a log; what an interrupted run wrote last and incompletely is left out."""
    parts: list[bytes] = []
    data, at = path.read_bytes(), _FILE_HEADER  # an OSError names the file
    require(data[:4] == b":W&B", "SOURCE", "must be a .wandb file", str(path), "check the path")
    while at + _CHUNK_HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _CHUNK_HEADER:  # too little for a header: the rest of the block is padding
            at += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        chunk = data[at + _CHUNK_HEADER : at + _CHUNK_HEADER + length]
        if kind == 0 or len(chunk) < length:
            return
        whole = zlib.crc32(chunk, zlib.crc32(bytes([kind]))) == checksum and kind <= _LAST
        require(whole, "SOURCE", f"{path} must be intact", f"a damaged record at byte {at}", "copy it again")
        at += _CHUNK_HEADER + length
        if kind in (_FULL, _FIRST):
            parts = []
        parts.append(chunk)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
