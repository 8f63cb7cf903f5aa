"""Texts by name: tokens, memory-mapped, in windows that belong to seed and step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypernudge.errors import is_real, require, require_whole
from hypernudge.random import torch_stream
from hypernudge.tasks.data.cache import (
    CachedArrays,
    Chunk,
    Field,
    cache_directory,
    cached_arrays,
    fingerprint,
    kept_text,
)
from hypernudge.tasks.data.catalogue import TEXTS
from hypernudge.tasks.language.measures import bits_per_byte, perplexity_per_word
from hypernudge.tasks.language.text import Text, find_text
from hypernudge.tasks.language.tokenizers import Tokenizer, loads, train_tokenizer

SHARD, CHUNK = 1 << 22, 1 << 16  # characters that are sealed at once, and that are held in memory


@dataclass(frozen=True)
class TokenPart:
    """A part of a text.

    Attributes:
        tokens: Of an unsigned type, `(n,)`.
        words: Between white space, and the ends of lines.
        size: Bytes of UTF-8.
    """

    tokens: np.ndarray
    words: int
    size: int

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, seed: int, step: int, n: int, length: int) -> tuple[Tensor, Tensor]:
        """Return `n` windows at random and what follows each token, int64 `(n, length)` both.

        Raises:
            InvalidArgumentError: The part is not longer than a window.
        """
        self.check_length(length)
        starts = torch.randint(0, len(self) - length, (n, 1), generator=torch_stream(seed, "windows", step))
        rows = self.tokens[(starts + torch.arange(length + 1)).numpy()]
        windows = torch.from_numpy(rows.astype(np.int64))
        return windows[:, :-1], windows[:, 1:]

    def windows(self, length: int, n: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the whole part in order, `n` windows at a time, then a shorter one: each token follows once.

        Raises:
            InvalidArgumentError: The part is not longer than a window.
        """
        self.check_length(length)
        whole = (len(self) - 1) // length
        for first in range(0, whole, n):
            last = min(first + n, whole)
            piece = torch.from_numpy(self.tokens[first * length : last * length + 1].astype(np.int64))
            yield piece[:-1].view(-1, length), piece[1:].view(-1, length)
        rest = torch.from_numpy(self.tokens[whole * length :].astype(np.int64))
        if len(rest) > 1:
            yield rest[None, :-1], rest[None, 1:]

    def perplexity(self, loss: float) -> float:
        """Return the perplexity per word for a mean loss per token in nats."""
        return perplexity_per_word(loss, len(self), self.words)

    def bits_per_byte(self, loss: float) -> float:
        """Return the bits per byte for a mean loss per token in nats."""
        return bits_per_byte(loss, len(self), self.size)

    def check_length(self, length: int) -> None:
        """Refuse windows that do not fit.

        Raises:
            InvalidArgumentError: The part is not longer than a window.
        """
        require_whole("length", length)
        remedy = "add to its file, or let held_out leave it something"
        require(len(self) > 0, "text", "each part that is read must hold text", "an empty part", remedy)
        require(len(self) > length, "length", f"must be below the {len(self)} tokens", length, "lower it")


@dataclass(frozen=True)
class TextData:
    """A text as tokens.

    Attributes:
        name: Of the text.
        tokenizer: What made the tokens.
        parts: "train", "validation" and "test".
        source: Digest of what was read and of the tokenizer, by part.
    """

    name: str
    tokenizer: Tokenizer
    parts: dict[str, TokenPart]
    source: dict[str, Any]

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the tokenizer knows."""
        return self.tokenizer.size


def load_text(
    name: str,
    *,
    folder: str | Path | None = None,
    tokens: str = "word",
    vocabulary: int | None = None,
    train_on: str = "train",
    held_out: Sequence[float] = (0.05, 0.05),
    limit: Mapping[str, int] | None = None,
    cache: Path | None = None,
) -> TextData:
    """Return a text as tokens, made at the first call and memory-mapped afterwards.

    Args:
        name: A key of `hypernudge.tasks.data.catalogue.TEXTS`, or any name for a text in `folder`.
        folder: Where it lies; looked for in the working directory and `$HYPERNUDGE_DATA` if absent.
        tokens: `"word"` (as published), `"byte"`, `"char"`, or `"bpe"`, byte-level and trained on the
            training part; the tokenizer is kept beside the tokens.
        vocabulary: Words or BPE tokens at most; see `train_tokenizer`.
        train_on: The published part that is trained on; of another one than `"train"`, where that is not at
            hand, validation is the end.
        held_out: Shares of validation and test, from the end, of a text that is published in one piece; the
            first one also of a part that is trained on instead.
        limit: Tokens at most of `"train"`, its first ones; the other parts are scored whole.
        cache: Where tokens are kept; `$HYPERNUDGE_CACHE` if absent.

    Raises:
        InvalidArgumentError: The text is not there, of another layout or damaged, or an argument wrong.
    """
    listed = isinstance(held_out, Sequence) and len(held_out) == 2 and all(map(is_real, held_out))
    ok = listed and min(held_out) >= 0 and sum(held_out) < 1
    require(ok, "held_out", "must be two shares that leave something to train on", held_out, "(0.05, 0.05)")
    at_most = _limit(limit)
    texts = _parts(name, find_text(name, folder), train_on, held_out)
    place = cache or cache_directory()
    digests = {part: [text.digest(), text.start, text.stop] for part, text in texts.items()}
    # Which texts a tokenizer has seen: characters are counted in all parts.
    seen = digests if tokens == "char" else {"train": digests["train"]}
    key = {"kind": tokens, "vocabulary": vocabulary, "digests": seen}

    def trained() -> str:
        others = (line for part, text in texts.items() if part != "train" for line in text.lines())
        return train_tokenizer(tokens, texts["train"].lines(), others, vocabulary).dumps()

    described = kept_text(place / f"{name}-{tokens}-{fingerprint(key)}.json", trained)
    tokenizer = loads(described)
    parts, sources = {}, {}
    for part, text in texts.items():
        source = {"kind": "tokens", "part": part, "digest": digests[part], "tokenizer": fingerprint(key)}
        folder_of_part = place / f"{name}-{tokens}-{part}-{fingerprint(source)}"
        kept = _tokens(text, tokenizer, folder_of_part, source)
        words, size = kept.arrays["counts"].sum(0).tolist() if len(kept.arrays["counts"]) else (0, 0)
        parts[part] = TokenPart(kept.arrays["tokens"], words, size)
        sources[part] = source
    if at_most is not None:
        parts["train"] = _first_tokens(parts["train"], at_most)
    return TextData(name, tokenizer, parts, sources)


def _first_tokens(part: TokenPart, count: int) -> TokenPart:
    """Return the beginning of a part; words and bytes are its share of them."""
    share = min(count / max(len(part), 1), 1.0)
    return TokenPart(part.tokens[:count], round(share * part.words), round(share * part.size))


def _limit(limit: Mapping[str, int] | None) -> int | None:
    rule = "must be a mapping with tokens of the training part"
    ok = limit is None or (isinstance(limit, Mapping) and set(limit) == {"train"})
    require(ok, "limit", rule, limit, "write {train: 1000000}")
    if limit is None:
        return None
    require_whole("limit.train", limit["train"])
    return limit["train"]


def _parts(name: str, found: dict[str, Text], train_on: str, held_out: Sequence[float]) -> dict[str, Text]:
    """Return train, validation and test."""
    how = TEXTS[name].how if name in TEXTS else "add it"
    if "whole" in found:
        require(
            train_on == "train",
            "train_on",
            "must be 'train' for a text in one piece",
            train_on,
            "leave it out",
        )
        end = 1.0 - held_out[1]
        start = end - held_out[0]
        text = found["whole"]
        return {
            "train": replace(text, stop=start),
            "validation": replace(text, start=start, stop=end),
            "test": replace(text, start=end),
        }
    require(
        train_on in found,
        name,
        f"its {train_on} part must be there",
        sorted(found),
        f"{how}; or set train_on to a part that is there",
    )
    require(
        "test" in found and train_on != "test",
        name,
        "its test part must be there, to test",
        sorted(found),
        how,
    )
    if train_on == "train":
        require("validation" in found, name, "its validation part must be there", sorted(found), how)
        return {part: found[part] for part in ("train", "validation", "test")}
    end = 1.0 - held_out[0]
    return {
        "train": replace(found[train_on], stop=end),
        "validation": replace(found[train_on], start=end),
        "test": found["test"],
    }


def _tokens(text: Text, tokenizer: Tokenizer, folder: Path, source: dict[str, Any]) -> CachedArrays:
    size = tokenizer.size
    dtype = "uint8" if size <= 1 << 8 else "uint16" if size <= 1 << 16 else "uint32"
    fields = {"tokens": Field(dtype), "counts": Field("int64", (2,))}

    def encoded(lines: list[str]) -> Chunk:
        tokens = [
            np.asarray(memoryview(t) if isinstance(t, bytes) else t, dtype)
            for t in map(tokenizer.encode, lines)
        ]
        words = sum(len(line.split()) + line.endswith("\n") for line in lines)
        counts = np.array([[words, sum(len(line.encode()) for line in lines)]], np.int64)
        return {"tokens": np.concatenate(tokens), "counts": counts}

    def shards(start: int) -> Iterator[Iterable[Chunk]]:
        for number, lines in enumerate(_grouped(text.lines(), SHARD)):
            if number >= start:
                yield map(encoded, _grouped(iter(lines), CHUNK))

    return cached_arrays(folder, source, fields, shards)


def _grouped(lines: Iterator[str], characters: int) -> Iterator[list[str]]:
    """Yield lines together, at least so many characters at a time."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= characters:
            yield held
            held, size = [], 0
    if held:
        yield held
