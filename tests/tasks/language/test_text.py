import gzip
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.language import data as data_module
from hypernudge.tasks.language.data import load_text
from hypernudge.tasks.language.tokenizers import KINDS, loads, train_tokenizer
from tests.experiments.tools import DATA

LINES = [
    " = Lobsters = \n",
    " \n",
    " The lobster , known as <unk> , is élan vital .\n",
    " It is blue .\n",
] * 30
PARTS = {
    "train": LINES,
    "valid": [" The lobster is new .\n", " \n"] * 9,
    "test": [" It is red , known .\n"] * 9,
}


@pytest.fixture
def load(tmp_path):
    def load(name, **options):
        return load_text(name, **{"cache": tmp_path / "cache", **options})

    return load


def write(folder, spelled, parts=PARTS):
    folder.mkdir(parents=True, exist_ok=True)
    for part, lines in parts.items():
        path = folder / spelled.format(part)
        content = "".join(lines).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return folder


def text_of(data, part):
    return data.tokenizer.decode(data.parts[part].tokens.tolist())


@pytest.mark.parametrize(
    "spelled", ["wiki.{}.tokens", "wiki.{}.raw", "{}.txt", "wiki.{}.tokens.gz", "parquet"]
)
def test_words_are_those_that_are_published_in_every_layout(load, tmp_path, spelled):
    if spelled == "parquet":
        pytest.importorskip("pyarrow", reason="extra parquet")
        import pyarrow
        import pyarrow.parquet

        place = tmp_path / "text" / "wikitext-2-v1"
        place.mkdir(parents=True)
        for part, lines in PARTS.items():
            named = "validation" if part == "valid" else part
            rows = ["" if line == " \n" else line for line in lines]  # as on the hub
            table = pyarrow.table({"text": rows})
            pyarrow.parquet.write_table(table, place / f"{named}-00000-of-00001.parquet")
    else:
        write(tmp_path / "text", spelled)
    data = load("wikitext2", folder=tmp_path / "text")
    for part, lines in (("train", LINES), ("validation", PARTS["valid"]), ("test", PARTS["test"])):
        expected = [word for line in lines for word in [*line.split(), "<eos>"]]
        known = set(data.tokenizer.words)
        found = [data.tokenizer.words[token] for token in data.parts[part].tokens]
        assert found == [word if word in known else "<unk>" for word in expected]
        assert data.parts[part].words == len(expected) == len(data.parts[part])
    # "new" and "red" are in no training line; the vocabulary is in order of appearance.
    assert data.tokenizer.words[:4] == ["=", "Lobsters", "<eos>", "The"]
    assert "new" not in data.tokenizer.words and data.vocabulary == 15
    assert data.parts["train"].tokens.dtype == np.uint8


@pytest.mark.parametrize("kind", ["byte", "char", "bpe"])
def test_tokens_say_what_the_text_says(load, tmp_path, kind):
    if kind == "bpe":
        pytest.importorskip("tokenizers", reason="extra language")
    write(tmp_path / "text", "{}.txt")
    size = 300 if kind == "bpe" else None
    data = load("mine", folder=tmp_path / "text", tokens=kind, vocabulary=size)
    for part, lines in (("train", LINES), ("validation", PARTS["valid"]), ("test", PARTS["test"])):
        assert text_of(data, part) == "".join(lines)
        assert data.parts[part].size == len("".join(lines).encode())
        assert data.parts[part].words == sum(len(line.split()) + 1 for line in lines)
    characters = {character for lines in PARTS.values() for line in lines for character in line}
    assert data.vocabulary == {"byte": 256, "char": len(characters), "bpe": 300}[kind]
    again = load("mine", folder=tmp_path / "text", tokens=kind, vocabulary=size)
    assert np.array_equal(again.parts["test"].tokens, data.parts["test"].tokens)
    assert data.source == again.source
    # The tokenizer is kept beside the tokens.
    assert len(list((tmp_path / "cache").glob(f"mine-{kind}-*.json"))) == 1


def test_a_changed_text_is_read_anew(load, tmp_path):
    write(tmp_path / "text", "{}.txt")
    load("mine", folder=tmp_path / "text")
    write(tmp_path / "text", "{}.txt", {"test": [" It is red , unknown .\n"]})
    assert text_of(load("mine", folder=tmp_path / "text"), "test") == "It is <unk> , <unk> .\n"


def test_rare_words_can_be_left_out():
    tokenizer = train_tokenizer("word", ["a a a b c c\n"], vocabulary=4)
    assert tokenizer.words == ["a", "c", "<eos>", "<unk>"]
    assert tokenizer.decode(tokenizer.encode("b c\n")) == "<unk> c\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_is_what_was_kept_of_it(kind):
    if kind == "bpe":
        pytest.importorskip("tokenizers", reason="extra language")
    tokenizer = train_tokenizer(kind, LINES)
    again = loads(tokenizer.dumps())
    assert again.size == tokenizer.size
    assert all(list(again.encode(line)) == list(tokenizer.encode(line)) for line in LINES)
    with pytest.raises(InvalidArgumentError, match="remove it from the cache"):
        loads(tokenizer.dumps()[:-3])


def test_a_text_in_one_piece_is_split(load, tmp_path):
    (tmp_path / "text").mkdir()
    text = "".join(f"line {number} of it\n" for number in range(200))
    (tmp_path / "text" / "input.txt").write_text(text)
    data = load("mine", folder=tmp_path / "text", tokens="char", held_out=(0.1, 0.0))
    assert text_of(data, "train") + text_of(data, "validation") == text and not len(data.parts["test"])
    assert 0 <= len(data.parts["train"]) - 0.9 * len(text) < 20 and text_of(data, "train").endswith("\n")
    thirds = load("mine", folder=tmp_path / "text", tokens="byte")
    words = load("mine", folder=tmp_path / "text")
    assert "".join(text_of(thirds, part) for part in ("train", "validation", "test")) == text
    for part, of in thirds.parts.items():
        assert len(of) / len(text) == pytest.approx({"train": 0.9}.get(part, 0.05), abs=0.01)
        # Models of different tokens are compared on the same text.
        assert (of.words, of.size) == (words.parts[part].words, words.parts[part].size)


def test_another_part_can_be_trained_on_where_the_training_part_is_not_at_hand(load, tmp_path):
    write(tmp_path / "text", "{}.txt.gz", {part: PARTS[part] for part in ("valid", "test")})
    with pytest.raises(InvalidArgumentError, match=r"wikitext2: its train part must be there.*set train_on"):
        load("wikitext2", folder=tmp_path / "text")
    data = load("wikitext2", folder=tmp_path / "text", train_on="validation", tokens="char")
    assert text_of(data, "train") + text_of(data, "validation") == "".join(PARTS["valid"])
    assert text_of(data, "test") == "".join(PARTS["test"])
    with pytest.raises(InvalidArgumentError, match="its test part must be there, to test"):
        load("wikitext2", folder=tmp_path / "text", train_on="test")


def test_windows_belong_to_seed_and_step_and_are_contiguous(load, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "input.txt").write_bytes((bytes(range(11, 120)) + b"\n") * 20)
    part = load("mine", folder=tmp_path / "text", tokens="byte").parts["train"]
    x, y = part.batch(3, 5, n=7, length=9)
    assert x.shape == y.shape == (7, 9) and x.dtype == torch.int64
    assert torch.equal(x[:, 1:], y[:, :-1]) and len(set(x[:, 0].tolist())) > 1
    assert ((y - x == 1) | (x == 119) | (x == 10)).all()
    again, other = part.batch(3, 5, 7, 9)[0], part.batch(3, 6, 7, 9)[0]
    assert torch.equal(x, again) and not torch.equal(x, other)
    last = part.batch(0, 0, 5000, len(part) - 2)[1]
    assert set(last[:, -1].tolist()) == set(part.tokens[-2:].tolist())
    seen = [(a, b) for x, y in part.windows(9, 4) for a, b in zip(x.flatten(), y.flatten(), strict=True)]
    assert [int(a) for a, _ in seen] == part.tokens[:-1].tolist()
    assert [int(b) for _, b in seen] == part.tokens[1:].tolist()
    with pytest.raises(InvalidArgumentError, match="length: must be below the 1980 tokens"):
        part.batch(0, 0, 1, 1980)


def test_losses_become_perplexities_and_bits(load, tmp_path):
    write(tmp_path / "text", "{}.txt")
    words, letters = (
        load("m", folder=tmp_path / "text", tokens=kind).parts["test"] for kind in ("word", "byte")
    )
    assert words.perplexity(np.log(50.0)) == pytest.approx(50.0)
    # 21 bytes and 7 words a line, its end among both: three bytes a word.
    assert letters.perplexity(np.log(2.0)) == pytest.approx(2 ** (21 / 7))
    assert letters.bits_per_byte(np.log(256.0)) == pytest.approx(8.0)
    assert words.bits_per_byte(3 * np.log(4.0)) == pytest.approx(2.0)
    assert letters.perplexity(1e6) == float("inf")


def test_a_killed_build_goes_on(load, tmp_path, monkeypatch):
    write(tmp_path / "text", "{}.txt")
    code = f"""
import os, signal
from pathlib import Path
from hypernudge.tasks.language import data
data.SHARD, data.CHUNK = 500, 100
left = [60]
from hypernudge.tasks.language.tokenizers import Words
original = Words.encode
def dying(self, line):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, line)
Words.encode = dying
data.load_text("mine", folder={str(tmp_path / "text")!r}, cache=Path({str(tmp_path / "cache")!r}))
"""
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -signal.SIGKILL
    monkeypatch.setattr(data_module, "SHARD", 500)
    monkeypatch.setattr(data_module, "CHUNK", 100)
    encoded = []
    original = data_module.loads

    def watched(text):
        tokenizer = original(text)
        encode = tokenizer.encode
        tokenizer.encode = lambda line: encoded.append(line) or encode(line)
        return tokenizer

    monkeypatch.setattr(data_module, "loads", watched)
    data = load("mine", folder=tmp_path / "text")
    assert len(data.parts["train"]) == data.parts["train"].words == 30 * (4 + 1 + 12 + 5)
    assert 60 < len(encoded) < 120 - 40 + 27


def test_what_is_missing_or_no_text_is_said_in_one_line(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path))
    with pytest.raises(InvalidArgumentError, match=r"wikitext103: needs its text.*HYPERNUDGE_DATA") as caught:
        load("wikitext103")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    (tmp_path / "wikitext-103").mkdir()
    (tmp_path / "wikitext-103" / "something").touch()
    with pytest.raises(InvalidArgumentError, match=r"wiki\.train\.tokens.*something.*Salesforce"):
        load("wikitext103")
    (tmp_path / "wikitext-103" / "wiki.train.raw").write_bytes(b"\xff\xfe")
    for part in ("valid", "test"):
        (tmp_path / "wikitext-103" / f"wiki.{part}.raw").write_text("a\n")
    with pytest.raises(InvalidArgumentError, match=r"train\.raw must be a text in UTF-8"):
        load("wikitext103")
    packed = gzip.compress(b"a\n" * 99)
    for damaged in (packed[:-12], packed[:15] + b"####" + packed[19:]):
        (tmp_path / "packed").mkdir(exist_ok=True)
        (tmp_path / "packed" / "input.txt.gz").write_bytes(damaged)
        with pytest.raises(InvalidArgumentError, match=r"input\.txt\.gz must be a text in UTF-8"):
            load("packed", folder=tmp_path / "packed")
    for options, said in (
        ({"tokens": "words"}, "did you mean 'word'"),
        ({"tokens": "byte", "vocabulary": 300}, "vocabulary: is given by bytes"),
        ({"held_out": (0.5, 0.5)}, "held_out"),
        ({"folder": "nowhere"}, "folder must exist"),
    ):
        with pytest.raises(InvalidArgumentError, match=said):
            load("wikitext103", **options)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InvalidArgumentError, match=r"hypernudge\[language\]"):
        train_tokenizer("bpe", LINES)


@pytest.mark.skipif(not (DATA / "wikitext2").is_dir(), reason=f"WikiText-2 is not at {DATA}")
def test_wikitext2_has_its_published_size(load):
    data = load("wikitext2", folder=DATA / "wikitext2", train_on="validation")
    assert len(data.parts["train"]) + len(data.parts["validation"]) == 217_646
    assert len(data.parts["test"]) == data.parts["test"].words == 245_569


@pytest.mark.skipif(not (DATA / "tinyshakespeare").is_dir(), reason=f"Tiny Shakespeare is not at {DATA}")
def test_tiny_shakespeare_has_65_characters(load):
    data = load("tinyshakespeare", folder=DATA / "tinyshakespeare", tokens="char", held_out=(0.1, 0.0))
    assert data.vocabulary == 65
    assert sum(len(part) for part in data.parts.values()) == 1_115_394


@pytest.mark.parametrize("odd", [None, 3, b"bytes", ["a"]])
def test_rows_of_parquet_that_are_no_text_are_said_in_one_line(odd, load, tmp_path):
    pytest.importorskip("pyarrow", reason="extra parquet")
    import pyarrow
    import pyarrow.parquet

    for part in ("train", "validation", "test"):
        rows = [odd, odd] if part == "train" else ["a b c"] * 9
        pyarrow.parquet.write_table(pyarrow.table({"text": rows}), tmp_path / f"{part}-0.parquet")
    with pytest.raises(InvalidArgumentError, match=r"^folder: each text in .*train-0\.parquet must be one"):
        load("own", folder=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_without_text_is_said_to_be_empty(kind, load, tmp_path):
    write(tmp_path, "wiki.{}.tokens", {**PARTS, "valid": []})
    data = load("own", folder=tmp_path, tokens=kind)
    assert len(data.parts["validation"]) == 0
    with pytest.raises(InvalidArgumentError, match=r"^text: each part that is read must hold text"):
        next(data.parts["validation"].windows(4, 2))
