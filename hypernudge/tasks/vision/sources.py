"""Where the images of a part come from: pickled batches, a folder per class, or Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.tasks.data.cache import Chunk, listing_digest
from hypernudge.tasks.data.parquet import batches, open_parquet, parquet_files, subfolders
from hypernudge.tasks.vision.cifar import LAYOUTS, batch_files, read_cifar
from hypernudge.tasks.vision.decode import Decoder, Encoded

SHARD, CHUNK = 2048, 128  # images that are sealed at once, and that are held in memory
SUFFIXES = {".jpeg", ".jpg", ".png"}
PARTS = {"train": ("train",), "test": ("val", "valid", "validation", "test")}
"""Names of a part, the best first: where labels for testing are withheld, validation is the test part."""


@dataclass(frozen=True)
class Source:
    """One part of a data set on disk.

    Attributes:
        layout: `"pickles"`, `"folder"` or `"parquet"`.
        root: The folder that names are relative to.
        files: What it consists of.
        classes: Names of the classes, if the layout knows them.
        shards: Yields the decoded shards from a number on; see `hypernudge.tasks.data.cache`.
    """

    layout: str
    root: Path
    files: Sequence[Path]
    classes: Sequence[str] | None
    shards: Callable[[int, Decoder | None], Iterator[Iterable[Chunk]]]

    def digest(self) -> str:
        """Return what the files are known by."""
        return listing_digest(self.root, self.files)


def find_source(folder: Path, name: str, part: str, argument: str) -> Source | None:
    """Return a part of the data set in `folder`, in whichever layout it is; None if there is none.

    Args:
        folder: Holds the data set.
        name: Of the data set, `"cifar10"` for example; only those of `LAYOUTS` have pickled batches.
        part: `"train"` or `"test"`.
        argument: What the user has named, for errors.

    Raises:
        InvalidArgumentError: The folder holds part of the data set, and not what else belongs to it.
    """
    if name in LAYOUTS:
        files = batch_files(folder, name, part)
        missing = [path.name for path in files if not path.is_file()]
        if len(missing) < len(files):
            whole = not missing
            require(
                whole, argument, f"{files[0].parent} must hold all batches", missing, "add what is missing"
            )
            return _pickles(files, name, argument)
    return _parquet(folder, part, argument) or _class_folders(folder, part, argument)


def _pickles(files: Sequence[Path], name: str, argument: str) -> Source:
    def shards(start: int, decoder: Decoder | None) -> Iterator[Iterable[Chunk]]:
        del decoder
        for path in files[start:]:
            images, labels = read_cifar([path], name, argument)
            yield [{"images": images.transpose(0, 2, 3, 1), "labels": labels}]

    return Source("pickles", files[0].parent, files, None, shards)


def _class_folders(folder: Path, part: str, argument: str) -> Source | None:
    root = next((folder / n for n in PARTS[part] if subfolders(folder / n)), None)
    if root is None:
        return None
    # Numbers of classes are those of the training part, in the other parts as well.
    known = next((folder / n for n in PARTS["train"] if subfolders(folder / n)), root)
    classes = [path.name for path in subfolders(known)]
    strange = [path.name for path in subfolders(root) if path.name not in classes]
    require(
        not strange, argument, f"classes of {root} must be among those of {known}", strange, "remove them"
    )
    entries = [
        (entry, label)
        for label, name in enumerate(classes)
        if (root / name).is_dir()
        for entry in sorted(os.scandir(root / name), key=lambda entry: entry.name)
        if Path(entry.name).suffix.lower() in SUFFIXES and not entry.name.startswith(".")
    ]
    odd = [entry.path for entry, _ in entries if not entry.is_file()]
    require(not odd, argument, f"images of {root} must be files", odd[:3], "remove folders and broken links")
    labelled = [(Path(entry.path), label) for entry, label in entries]
    require(bool(labelled), argument, f"{root} must hold images ({', '.join(SUFFIXES)})", 0, "add them")

    def shards(start: int, decoder: Decoder | None) -> Iterator[Iterable[Chunk]]:
        assert decoder is not None
        for first in range(SHARD * start, len(labelled), SHARD):
            yield _decoded(map(_read, labelled[first : first + SHARD]), decoder)

    return Source("folder", root, [path for path, _ in labelled], classes, shards)


def _read(labelled: tuple[Path, int]) -> Encoded:
    path, label = labelled
    return Encoded(str(path), path.read_bytes(), label)


def _parquet(folder: Path, part: str, argument: str) -> Source | None:
    files = parquet_files(folder, PARTS[part])
    if not files:
        return None
    tables = [open_parquet(path, argument) for path in files]
    columns = [_columns(table, path, argument) for table, path in zip(tables, files, strict=True)]
    image, label = columns[0]
    require(len(set(columns)) == 1, argument, "files must have equal columns", columns, "replace one")
    rows_of_all = sum(table.metadata.num_rows for table in tables)
    require(rows_of_all > 0, argument, f"{files[0]} must hold images", "no row", "replace it")
    groups = [
        (table, path, group)
        for table, path in zip(tables, files, strict=True)
        for group in range(table.num_row_groups)
    ]

    def shards(start: int, decoder: Decoder | None) -> Iterator[Iterable[Chunk]]:
        assert decoder is not None
        for table, path, group in groups[start:]:
            yield _decoded(rows(table, path, group), decoder)

    def rows(table: Any, path: Path, group: int) -> Iterator[Encoded]:
        options = {"batch_size": CHUNK, "row_groups": [group], "columns": [image, label]}
        for batch in batches(table, path, argument, **options):
            for row, (cell, number) in enumerate(zip(batch.column(image), batch.column(label), strict=True)):
                data, where = cell["bytes"].as_py(), f"row {row} of a batch of {path}, row group {group},"
                ok = data is not None and number.is_valid
                require(
                    ok, argument, f"{where} must hold an image and a label", None, "embed the image's bytes"
                )
                yield Encoded(where, data, number.as_py())

    return Source("parquet", folder, files, _class_names(tables[0], label), shards)


def _columns(table: Any, path: Path, argument: str) -> tuple[str, str]:
    """Return the names of the columns of images and labels."""
    schema = table.schema_arrow
    kinds = {field.name: field.type for field in schema}
    image = next((name for name in ("image", "img") if name in kinds), None)
    label = next((name for name in ("label", "fine_label") if name in kinds), None)
    ok = image is not None and label is not None
    if ok:
        inner = [kinds[image].field(i).name for i in range(kinds[image].num_fields)]
        ok = "bytes" in inner and str(kinds[label]).startswith(("int", "uint"))
    rule = f"{path} must have a column image (or img) with bytes, and label (or fine_label) of whole numbers"
    require(ok, argument, rule, {name: str(kind) for name, kind in kinds.items()}, "rewrite it")
    return str(image), str(label)


def _class_names(table: Any, label: str | None) -> list[str] | None:
    """Return the names that Hugging Face's `datasets` writes into the file."""
    described = (table.schema_arrow.metadata or {}).get(b"huggingface")
    if described is None:
        return None
    try:
        names = json.loads(described)["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError):  # written by something else, which names no class
        return None
    return list(names) if isinstance(names, list) else None


def _decoded(encoded: Iterator[Encoded], decoder: Decoder) -> Iterator[Chunk]:
    held: list[Encoded] = []
    for image in encoded:
        held.append(image)
        if len(held) == CHUNK:
            yield decoder(held)
            held = []
    if held:
        yield decoder(held)
