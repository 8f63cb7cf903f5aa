"""Where the text of a part comes from: published files, packed or not, or Parquet files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.tasks.data.cache import listing_digest
from hypernudge.tasks.data.catalogue import TEXTS, KnownData
from hypernudge.tasks.data.files import data_directory, find_folder
from hypernudge.tasks.data.parquet import batches, open_parquet, parquet_files

PARTS = {"train": ("train",), "validation": ("valid", "validation"), "test": ("test",)}
NAMES = ("wiki.{}.tokens", "wiki.{}.raw", "{}.txt", "{}.tokens", "{}.raw")
WHOLE = ("input.txt", "text.txt")  # one file that is to be split


@dataclass(frozen=True)
class Text:
    """Text of some files, from one share of its characters to another, in whole lines.

    Attributes:
        files: Read one after the other.
        start: Share of the characters before the first line.
        stop: Share of the characters that the last line begins before.
    """

    files: Sequence[Path]
    start: float = 0.0
    stop: float = 1.0

    def digest(self) -> str:
        """Return what its files are known by."""
        return listing_digest(self.files[0].parent, self.files)

    def lines(self) -> Iterator[str]:
        """Yield its lines, each with the end of line it has.

        Raises:
            InvalidArgumentError: A file is not UTF-8, or cannot be unpacked.
        """
        if (self.start, self.stop) == (0.0, 1.0):
            yield from self._all()
            return
        total = sum(map(len, self._all()))
        first, last, at = round(self.start * total), round(self.stop * total), 0
        for line in self._all():
            if first <= at < last:
                yield line
            at += len(line)

    def _all(self) -> Iterator[str]:
        for path in self.files:
            try:
                if path.suffix == ".parquet":
                    yield from _rows(path)
                else:
                    with _opened(path) as file:
                        yield from file
            except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise InvalidArgumentError(
                    f"folder: {path} must be a text in UTF-8, packed by gzip or not, but {error}; replace it"
                ) from None


def find_text(name: str, folder: str | Path | None) -> dict[str, Text]:
    """Return the parts of a text that are there; one file that is to be split is "whole".

    Args:
        name: A key of `hypernudge.tasks.data.catalogue.TEXTS`, or any name for a text in `folder`.
        folder: Where it lies; looked for in the working directory and `$HYPERNUDGE_DATA` if absent.

    Raises:
        InvalidArgumentError: There is none; the line says what was looked for, where, and how to get it.
    """
    known = TEXTS.get(name, KnownData((name,), "name the folder that holds it"))
    folders, how = known.folders, known.how
    if folder is None:
        place = find_folder(folders, name, "its text", how)
    else:
        require(isinstance(folder, str | Path), "folder", "must be text", folder, how)
        places = [Path(folder), data_directory() / folder]
        found = next((path for path in places if path.is_dir()), None)
        require(found is not None, name, "folder must exist, here or in $HYPERNUDGE_DATA", str(folder), how)
        place = cast(Path, found)
    parts = {part: Text(files) for part in PARTS if (files := _files(place, part))}
    if not parts:
        whole = _first(place, WHOLE)
        there = ", ".join(sorted(path.name for path in place.iterdir())[:6]) or "nothing"
        at = place.resolve()
        rule = f"its files in {at} must be wiki.train.tokens, wiki.train.raw, train.txt, train-*.parquet"
        require(bool(whole), name, f"{rule} (likewise valid, test) or input.txt", there, how)
        parts = {"whole": Text(whole)}
    return parts


def _files(place: Path, part: str) -> list[Path]:
    for spelled in PARTS[part]:
        found = _first(place, [name.format(spelled) for name in NAMES])
        if found:
            return found
    return parquet_files(place, PARTS[part])


def _first(place: Path, names: Sequence[str]) -> list[Path]:
    for name in names:
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return [path]
    return []


def _opened(path: Path) -> IO[str]:
    # Only "\n" ends a line, and stays what it is.
    if path.suffix == ".gz":
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8", newline="\n"))
    return path.open(encoding="utf-8", newline="\n")


def _rows(path: Path) -> Iterator[str]:
    table = open_parquet(path, "folder")
    names = table.schema_arrow.names
    require("text" in names, "folder", f"{path} must have the column text", names, "rename it")
    for batch in batches(table, path, "folder", columns=["text"]):
        for row in batch.column("text").to_pylist():
            require(isinstance(row, str), "folder", f"each text in {path} must be one", row, "replace it")
            yield row if row.endswith("\n") else row + "\n"
