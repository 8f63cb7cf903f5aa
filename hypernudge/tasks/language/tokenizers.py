"""From text to numbers: words as published, bytes, characters, or a byte-level BPE that is trained here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from hypernudge.errors import InvalidArgumentError, require, require_whole, unknown_name

UNKNOWN, END = "<unk>", "<eos>"
KINDS = ("word", "byte", "char", "bpe")


class Tokenizer(Protocol):
    """Encodes lines and decodes what it has encoded."""

    @property
    def size(self) -> int:
        """Number of tokens it knows, which are numbered from 0."""
        ...

    def encode(self, line: str) -> Sequence[int]:
        """Return the tokens of a line."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens."""
        ...

    def dumps(self) -> str:
        """Return what `loads` makes it again from."""
        ...


class Words:
    """Words between white space, and `<eos>` at the end of each line, as WikiText is published.

    Args:
        words: By number, with `<unk>`, which stands for every other word.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        self._unknown, self._end = self._numbers[UNKNOWN], self._numbers[END]

    @property
    def size(self) -> int:
        """Number of words."""
        return len(self.words)

    def encode(self, line: str) -> list[int]:
        """Return the numbers of a line's words, and of its end."""
        get, unknown = self._numbers.get, self._unknown
        numbers = [get(word, unknown) for word in line.split()]
        return [*numbers, self._end] if line.endswith("\n") else numbers

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the words, with a space between them; the end of a line ends the line."""
        text = " ".join(self.words[token] for token in tokens)
        return text.replace(f" {END} ", "\n").replace(f" {END}", "\n")

    def dumps(self) -> str:
        """Return the words as JSON."""
        return json.dumps({"kind": "word", "words": self.words}, ensure_ascii=False)


class Bytes:
    """The bytes of UTF-8."""

    size = 256

    def encode(self, line: str) -> bytes:
        """Return the line's bytes."""
        return line.encode()

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text; what is no UTF-8 is marked."""
        return bytes(tokens).decode(errors="replace")

    def dumps(self) -> str:
        """Return that there is nothing to know."""
        return json.dumps({"kind": "byte"})


class Characters:
    """Characters, ends of lines among them.

    Args:
        characters: By number.
    """

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._numbers = {character: number for number, character in enumerate(characters)}

    @property
    def size(self) -> int:
        """Number of characters."""
        return len(self.characters)

    def encode(self, line: str) -> list[int]:
        """Return the numbers of a line's characters."""
        return [self._numbers[character] for character in line]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text."""
        return "".join(self.characters[token] for token in tokens)

    def dumps(self) -> str:
        """Return the characters as JSON."""
        return json.dumps({"kind": "char", "characters": self.characters})


class ByteLevelBPE:
    """Byte-pair encoding over bytes (Sennrich et al. 2016; as in GPT-2), so that no text is unknown.

    Args:
        described: JSON of the `tokenizers` library.
    """

    def __init__(self, described: str) -> None:
        self._described = described
        self._tokenizer = _library().Tokenizer.from_str(described)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, line: str) -> list[int]:
        """Return the tokens of a line, its end among them."""
        tokens: list[int] = self._tokenizer.encode(line).ids
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    def dumps(self) -> str:
        """Return the library's JSON, wrapped."""
        return json.dumps({"kind": "bpe", "tokenizer": json.loads(self._described)}, ensure_ascii=False)


def train_tokenizer(
    kind: str, train: Iterable[str], others: Iterable[str] = (), vocabulary: int | None = None
) -> Tokenizer:
    """Return a tokenizer of a text.

    Args:
        kind: One of `KINDS`.
        train: Lines of the training part.
        others: Lines of the other parts: characters, whose set gives nothing away, are counted there as well.
        vocabulary: Tokens at most: the most frequent words, all of them if absent; merges of a BPE up to it,
            8,192 if absent.

    Raises:
        InvalidArgumentError: An unknown kind, a size that it cannot have, or the library is not installed.
    """
    if kind not in KINDS:
        raise unknown_name("tokens", kind, KINDS)
    fixed = kind in ("byte", "char")
    require(not fixed or vocabulary is None, "vocabulary", f"is given by {kind}s", vocabulary, "leave it out")
    if kind == "byte":
        return Bytes()
    if kind == "char":
        return Characters("".join(sorted(set().union(*train, *others))))
    if kind == "bpe":
        return _bpe(train, 8192 if vocabulary is None else vocabulary)
    counts: Counter[str] = Counter()
    for line in train:
        counts.update(line.split())
        counts[END] += line.endswith("\n")
    for special in (UNKNOWN, END):
        counts.setdefault(special, 0)
    if vocabulary is not None:
        require_whole("vocabulary", vocabulary, 3, remedy="leave it out for all words")
        common = sorted(
            (word for word in counts if word not in (UNKNOWN, END)), key=lambda word: -counts[word]
        )
        kept = {UNKNOWN, END, *common[: vocabulary - 2]}
        return Words([word for word in counts if word in kept])
    return Words(list(counts))


def loads(text: str) -> Tokenizer:
    """Return the tokenizer that `dumps` has described.

    Raises:
        InvalidArgumentError: It is damaged.
    """
    try:
        described: dict[str, Any] = json.loads(text)
        kind = described["kind"]
        if kind == "byte":
            return Bytes()
        if kind == "char":
            return Characters(described["characters"])
        if kind == "bpe":
            return ByteLevelBPE(json.dumps(described["tokenizer"], ensure_ascii=False))
        return Words(described["words"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(
            f"tokenizer: must be one that was kept, but {error!r}; remove it from the cache to make it again"
        ) from None


def _bpe(train: Iterable[str], vocabulary: int) -> ByteLevelBPE:
    require_whole("vocabulary", vocabulary, 257, remedy="8192 is usual")
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(train, trainer)
    return ByteLevelBPE(tokenizer.to_str())


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InvalidArgumentError(
            "tokens: bpe needs the tokenizers library, which is not installed; pip install "
            "'hypernudge[language]'"
        ) from None
    return tokenizers
