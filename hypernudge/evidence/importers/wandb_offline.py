"""An offline run of W&B, read from its `.wandb` file: name, configuration, history.

The file is a log in the format of LevelDB: blocks of 32 KiB, each a sequence of chunks with checksum, length
and kind; a record that does not fit its block goes on in the next. Records are protocol buffers, described by
W&B itself.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from hypernudge.errors import InvalidArgumentError, require

_BLOCK = 32_768
_FILE_HEADER, _CHUNK_HEADER = 7, 7  # bytes
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def offline_run(path: Path) -> tuple[str, dict[str, str], pd.DataFrame]:
    """Return the name of a run, its configuration as text, and its history, one row per logged step.

    Raises:
        InvalidArgumentError: W&B is not installed, or the file is damaged or none of its runs.
    """
    try:
        from wandb.proto import wandb_internal_pb2
    except ImportError:
        raise InvalidArgumentError(
            "TOOL: reading offline runs of W&B needs wandb, which is not installed; "
            "install hypernudge[trackers], or export the histories as CSV"
        ) from None
    described: Any = wandb_internal_pb2  # its classes are made when it is imported
    title = path.stem.removeprefix("run-")
    config: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for data in _records(path):
        record = described.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            title = record.run.display_name or title
            config |= {item.key: _text(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            rows.append(
                {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            )
    return title, config, pd.DataFrame(rows)


def _text(value: str) -> str:
    loaded: Any = json.loads(value)
    return loaded if isinstance(loaded, str) else value


def _records(path: Path) -> Iterator[bytes]:
    """Yield the records of a log; what an interrupted run wrote last and incompletely is left out."""
    parts: list[bytes] = []
    data, at = path.read_bytes(), _FILE_HEADER
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
