"""Tokenised text: made once, kept on disk, used by every run after.

A folder holds one cache of arrays per part (`hypernudge.tasks.data.cache`), and `tokenization.json`, written
last, which says what the tokens are of. A measured run that finds it loads no tokenizer and reads no text.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.experiments.data.text_sources import AGNEWS_SPLIT_SEED, AGNEWS_VALIDATION, Texts, TextTask
from hypernudge.results.files import write_text
from hypernudge.tasks.data.cache import Chunk, Field, cached_arrays, open_arrays

DESCRIPTION = "tokenization.json"
FORMAT = 2
FIELDS = {"tokens": Field("int64"), "lengths": Field("int64"), "labels": Field("int64")}
HUB = "hub"


@dataclass(frozen=True)
class Tokenization:
    """What a folder of tokens is of.

    Attributes:
        task: Name of the task.
        model_name: Whose tokenizer.
        max_length: Tokens at most.
        pad_token_id: What batches are padded with.
        rows: Samples by part.
        source: Where the texts come from: the hub, or the SHA-256 of the local files.
        digest: SHA-256 over all tokens and labels.
        format: Version of this description.
    """

    task: str
    model_name: str
    max_length: int
    pad_token_id: int
    rows: dict[str, int]
    source: str
    digest: str
    format: int = FORMAT


@dataclass(frozen=True)
class Tokens:
    """Tokenised parts: lists of token ids and labels, with their description."""

    parts: Mapping[str, tuple[Sequence[Sequence[int]], Sequence[int]]]
    of: Tokenization


def tokenize(
    task: TextTask, parts: dict[str, Texts], tokenizer: Any, model_name: str, max_length: int, source: str
) -> Tokens:
    """Tokenise every part; then split validation data off where the task says so, as published."""
    tables = {part: _table(texts, tokenizer, max_length) for part, texts in parts.items()}
    if task.split:
        halves = tables["train"].train_test_split(
            test_size=AGNEWS_VALIDATION, seed=AGNEWS_SPLIT_SEED, shuffle=True
        )
        tables |= {"train": halves["train"], "validation": halves["test"]}
    contents = {name: _contents(table) for name, table in tables.items()}
    rows = {name: len(labels) for name, (_, labels) in contents.items()}
    pad = int(tokenizer.pad_token_id or 0)
    description = Tokenization(task.name, model_name, max_length, pad, rows, source, _digest(contents))
    return Tokens(contents, description)


def save_tokens(tokens: Tokens, folder: Path) -> None:
    """Write tokens to a folder, the description last: without it they do not count."""
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for name, (ids, labels) in tokens.parts.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        arrays = {
            "tokens": np.fromiter(itertools.chain.from_iterable(ids), np.int64),
            "lengths": np.fromiter(map(len, ids), np.int64),
            "labels": np.asarray(labels, dtype=np.int64),
        }
        shard: list[Chunk] = [arrays]
        cached_arrays(folder / name, _source(name), FIELDS, functools.partial(_shards, shard))
    write_text(folder / DESCRIPTION, json.dumps(asdict(tokens.of), indent=1) + "\n")


def _shards(shard: list[Chunk], start: int) -> Iterator[list[Chunk]]:
    return iter([shard][start:])


def load_tokens(task: TextTask, folder: Path, model_name: str, max_length: int, source: str) -> Tokens | None:
    """Return the tokens of a folder; None if it holds none.

    Raises:
        InvalidArgumentError: They are of another task, tokenizer or length, or damaged.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    remedy = "choose another folder, or remove it to tokenise again"
    try:
        description = Tokenization(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(
            f"--tokenized-dataset-dir: {path} is damaged ({error}); {remedy}"
        ) from None
    wanted = {"format": FORMAT, "task": task.name, "model_name": model_name, "max_length": max_length}
    if source != HUB:  # a run that names no files takes the tokens as they are
        wanted["source"] = source
    for key, value in wanted.items():
        saved = getattr(description, key)
        require(saved == value, "--tokenized-dataset-dir", f"{key} must be {value!r}", saved, remedy)
    try:
        parts = {name: _kept(folder / name) for name in description.rows}
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"--tokenized-dataset-dir: {folder} is damaged ({error}); {remedy}"
        ) from None
    same = _digest(parts) == description.digest
    require(same, "--tokenized-dataset-dir", "tokens must be those described", "others", remedy)
    return Tokens(parts, description)


def _source(part: str) -> dict[str, Any]:
    return {"kind": "sentences", "part": part}


def _kept(folder: Path) -> tuple[list[list[int]], list[int]]:
    kept = open_arrays(folder, _source(folder.name))
    if kept is None:
        raise InvalidArgumentError(f"{folder.name} is missing")
    tokens, lengths, labels = (kept.arrays[name] for name in FIELDS)
    rows = np.split(np.asarray(tokens), np.cumsum(lengths)[:-1])
    return [row.tolist() for row in rows], labels.tolist()


def source_of(files: Mapping[str, Path] | None) -> str:
    """Return what identifies the texts: their files' contents, or the hub where there are none."""
    if files is None:
        return HUB
    sha = hashlib.sha256()
    for part, path in sorted(files.items()):
        sha.update(f"{part}:{hashlib.sha256(path.read_bytes()).hexdigest()};".encode())
    return sha.hexdigest()


def _table(texts: Texts, tokenizer: Any, max_length: int) -> Any:
    from datasets import Dataset

    ids = tokenizer(texts.texts, truncation=True, max_length=max_length)["input_ids"]
    return Dataset.from_dict({"input_ids": ids, "label": texts.labels})


def _contents(table: Any) -> tuple[list[list[int]], list[int]]:
    plain = table.with_format(None)
    return list(plain["input_ids"]), list(plain["label"])


def _digest(parts: Mapping[str, tuple[Sequence[Sequence[int]], Sequence[int]]]) -> str:
    sha = hashlib.sha256()
    for name in sorted(parts):
        ids, labels = parts[name]
        sha.update(name.encode())
        for row, label in zip(ids, labels, strict=True):
            sha.update(f"{label}:{','.join(map(str, row))};".encode())
    return sha.hexdigest()
