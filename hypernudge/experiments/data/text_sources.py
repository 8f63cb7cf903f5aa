"""Sentences and labels of SST-2 and AG News: from local files, or from the Hugging Face hub and its cache."""

from __future__ import annotations

import contextlib
import csv
import gzip
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.experiments.experiment import UnavailableError

AGNEWS_SPLIT_SEED, AGNEWS_VALIDATION = 42, 0.1


@dataclass(frozen=True)
class Texts:
    """One part: equally many texts and labels 0, 1, ..."""

    texts: list[str]
    labels: list[int]

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels) or not self.texts:
            raise InvalidArgumentError(
                f"--dataset-dir: a part must hold at least one text, each with its label, but got "
                f"{len(self.texts)} texts and {len(self.labels)} labels; check the file"
            )


@dataclass(frozen=True)
class TextTask:
    """What the runner knows about a text data set.

    Attributes:
        name: "sst2" or "agnews".
        title: Name of the data set in results.
        classes: Number of labels.
        hub: Repository on the hub, and its configuration.
        column: Name of the text column there.
        files: Local file names by part; `.gz` may follow.
        rows: Published sizes of the parts that a run uses.
        read: Reads one local file.
        split: Whether validation data are split off the training part.
    """

    name: str
    title: str
    classes: int
    hub: tuple[str, str | None]
    column: str
    files: dict[str, str]
    rows: dict[str, int]
    read: Callable[[Path], Texts]
    split: bool


def read_local(task: TextTask, files: Mapping[str, Path]) -> dict[str, Texts]:
    """Read the parts of a data set from `local_files`, packed with gzip or not.

    Raises:
        InvalidArgumentError: A file is not what it must be.
    """
    found = {}
    for part, path in files.items():
        try:
            found[part] = task.read(path)
        except (csv.Error, UnicodeDecodeError, OSError, ValueError) as error:
            raise InvalidArgumentError(f"--dataset-dir: {path.name} cannot be used: {error}") from None
    return found


def local_files(task: TextTask, folder: Path, train_file: str | None = None) -> dict[str, Path]:
    """Return the files of a data set by part.

    Args:
        task: Which data set.
        folder: Holds the files.
        train_file: Name of the training file, if it is not the usual one. Where neither is there, the largest
            of its parts is taken (`train_*.csv`), and named on standard error.

    Raises:
        InvalidArgumentError: One that a run needs is missing.
    """
    require(folder.is_dir(), "--dataset-dir", "must be a folder", str(folder), "check the path")
    found = {}
    for part, usual in task.files.items():
        name = train_file if part == "train" and train_file else usual
        path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
        if path is None and part == "train" and not train_file:
            path = _subset(folder, usual)
        if path is not None:
            found[part] = path
        elif part != "test":
            there = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_file())[:8]) or "no file"
            raise InvalidArgumentError(
                f"--dataset-dir: the {part} part must be in {name}, but {folder} holds {there}; add it"
                + (", or name another with --train-file" if part == "train" else "")
            )
    return found


def _subset(folder: Path, usual: str) -> Path | None:
    """Return the largest part of the training file that is there, `train_*.csv` for `train.csv`; say so."""
    stem, suffix = usual.split(".")
    parts = [*folder.glob(f"{stem}_*.{suffix}"), *folder.glob(f"{stem}_*.{suffix}.gz")]
    chosen = max(sorted(parts), key=lambda path: path.stat().st_size, default=None)
    if chosen is not None:
        sys.stderr.write(f"note: no {usual}, so {chosen.name} is the training part (or --train-file)\n")
    return chosen


def read_hub(
    task: TextTask, *, cache_dir: str | None, local_files_only: bool, token: str | None
) -> dict[str, Texts]:
    """Read a data set from the hub, or from the cache that an earlier call has filled.

    Raises:
        UnavailableError: It is not in the cache and cannot be fetched; the message says what to run.
    """
    from datasets import DownloadConfig, load_dataset

    name, configuration = task.hub
    options = DownloadConfig(local_files_only=local_files_only, token=token)
    try:
        with hub_mode(local_files_only):
            loaded = load_dataset(
                name, configuration, cache_dir=cache_dir, download_config=options, token=token
            )
    except Exception as error:  # the library and its transports raise a dozen kinds of errors here
        raise UnavailableError(
            f"{task.title} is neither in the cache nor can it be fetched ({type(error).__name__}); with a "
            f"network run once `python experiments/task_{task.name}.py --pretokenize-only`, or give local "
            "files with --dataset-dir"
        ) from None
    parts = [part for part in task.files if part in loaded]
    # SST-2's published test labels are withheld (-1), which no accuracy can be computed from.
    return {
        part: Texts(list(loaded[part][task.column]), list(loaded[part]["label"]))
        for part in parts
        if min(loaded[part]["label"]) >= 0
    }


@contextlib.contextmanager
def hub_mode(local_files_only: bool) -> Iterator[None]:
    """Keep the libraries of the hub off the network inside, if `local_files_only`.

    They read their environment once, when they are imported, so that setting it here would come too late; and
    `load_dataset` asks the hub for a data set's files even where downloads are forbidden.
    """
    from huggingface_hub import constants

    places: list[Any] = [constants]
    if "datasets" in sys.modules:
        places.append(sys.modules["datasets"].config)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place, offline in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = local_files_only or offline
        yield
    finally:
        for place, offline in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = offline


def _lines(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        yield from file


def read_glue(path: Path) -> Texts:
    """Read a GLUE file: a header, then `sentence TAB label`, unquoted."""
    rows = csv.DictReader(
        (line.rstrip("\r\n") for line in _lines(path)), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    texts, labels = [], []
    for number, row in enumerate(rows, start=2):
        label = row.get("label")
        if label not in ("0", "1") or row.get("sentence") is None:
            raise ValueError(
                f"line {number} must be `sentence TAB 0 or 1` under such a header, but got {row!r}"
            )
        texts.append(row["sentence"])
        labels.append(int(label))
    return Texts(texts, labels)


def read_agnews(path: Path) -> Texts:
    """Read an AG News file without header: `class 1-4, title, description`, or `text, label 0-3`."""
    texts, labels = [], []
    for number, row in enumerate(csv.reader(_lines(path)), start=1):
        if len(row) == 3 and row[0] in ("1", "2", "3", "4"):
            texts.append(f"{row[1]} {row[2]}")
            labels.append(int(row[0]) - 1)
        elif len(row) == 2 and row[1] in ("0", "1", "2", "3"):
            texts.append(row[0])
            labels.append(int(row[1]))
        else:
            raise ValueError(
                f"line {number} must be `class 1-4, title, description` or `text, label 0-3`, not {row!r:.80}"
            )
    return Texts(texts, labels)


SST2 = TextTask(
    name="sst2",
    title="SST-2",
    classes=2,
    hub=("nyu-mll/glue", "sst2"),
    column="sentence",
    files={"train": "train.tsv", "validation": "dev.tsv"},
    rows={"train": 67_349, "validation": 872},
    read=read_glue,
    split=False,
)
AGNEWS = TextTask(
    name="agnews",
    title="AG News",
    classes=4,
    hub=("fancyzhx/ag_news", None),
    column="text",
    files={"train": "train.csv", "test": "test.csv"},
    rows={"train": 108_000, "validation": 12_000, "test": 7_600},
    read=read_agnews,
    split=True,
)
