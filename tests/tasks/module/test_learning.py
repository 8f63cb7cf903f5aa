"""The benchmarks of learning: small runs on small data of the right layout, killed and gone on with."""

import json
import math

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow", reason="extra vision")

from benchmarks.learning import __main__ as command
from benchmarks.learning import resnet20, tiny_shakespeare, wikitext2
from benchmarks.learning.adaptive_softmax import AdaptiveSoftmax
from benchmarks.learning.text import minus_loss, scored_windows
from benchmarks.learning.word_model import WordModel
from hypernudge.tasks.language.data import TokenPart, load_text
from hypernudge.tasks.language.kneser_ney import KneserNey
from tests.tasks.vision.tools import pixels, write_batches

WORDS = ["the", "lobster", "is", "red", "and", "new", "but", "it", "not", "known"]
SMALL = {
    "resnet20": ["--epochs", "3", "--width", "2", "--batch-size", "16"],
    "tiny_shakespeare": [
        *("--steps", "6", "--steps-per-unit", "2", "--width", "8", "--depth", "1", "--heads", "2"),
        *("--length", "8", "--batch-size", "4"),
    ],
    "wikitext2": [
        *("--units", "3", "--width", "8", "--depth", "1", "--heads", "2", "--length", "8", "--stride", "4"),
        *("--batch-size", "16", "--precision", "float32"),
    ],
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Point to small data sets in the published layouts."""
    drawn = np.random.default_rng(0)
    place = tmp_path / "data"
    write_batches(place, pixels(40), np.arange(40) % 10)
    for name, files in (("wikitext-2", ("valid.txt", "test.txt")), ("tinyshakespeare", ("input.txt",))):
        (place / name).mkdir()
        for file in files:
            lines = [" ".join(drawn.choice(WORDS, 9)) for _ in range(60)]
            (place / name / file).write_text("".join(f" {line} .\n" for line in lines))
    monkeypatch.setenv("HYPERNUDGE_DATA", str(place))
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))


def run(name, folder, *more):
    assert command.main([name, *SMALL[name], "--json", "--output", str(folder / "result.json"), *more]) == 0
    return json.loads((folder / "result.json").read_text())


def learned(result):
    """Return what does not depend on the clock."""
    timeless = {"core_minutes", "wall_minutes", "date", "curve"}
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in result["curve"]]
    return {key: value for key, value in result.items() if key not in timeless}, rows


class Killed(BaseException):
    """As by a signal, between two units."""


@pytest.mark.parametrize("name", SMALL)
def test_a_killed_run_goes_on_with_the_same_curve(name, data, tmp_path, monkeypatch, capsys):
    whole = run(name, tmp_path / "whole")
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(rows) == len(whole["curve"]) == 3 and last["benchmark"] == name
    assert all(math.isfinite(row["train_loss"]) for row in whole["curve"])
    assert {"commit", "hardware", "date", "settings", "core_minutes", "threads"} <= whole.keys()

    def kill(as_json):
        def shown(row):
            raise Killed

        return shown

    for _ in range(2):  # after the first unit, and after the second
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(command, "_shown", kill)
            run(name, tmp_path / "killed")
    again = run(name, tmp_path / "killed")
    assert learned(again) == learned(whole)
    assert whole["units_timed"] == again["units_timed"] == 3
    assert len(capsys.readouterr().out.splitlines()) == 2  # the last unit, and the result


def test_a_folder_of_another_run_is_refused(data, tmp_path, capsys):
    run("wikitext2", tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run("wikitext2", tmp_path, "--seed", "1")
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "work: must be of a run with these settings" in said and "'seed': 0" in said


def test_data_that_are_not_there_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path))
    for name in SMALL:
        with pytest.raises(SystemExit) as stopped:
            run(name, tmp_path)
        assert stopped.value.code == 2 and "HYPERNUDGE_DATA" in capsys.readouterr().err.splitlines()[-1]


def test_epochs_are_what_the_budget_allows(data, monkeypatch):
    settings = resnet20.Settings(width=2, batch_size=16, core_minutes=1.0)
    images = resnet20.Images(settings, torch.device("cpu"))
    seconds = iter([resnet20.TIMED * 0.5, 0.7])  # half a second a step, a tenth of a second an image
    monkeypatch.setattr(resnet20, "_seconds", lambda *_: next(seconds))
    assert images.steps == 3
    assert resnet20.epochs_that_fit(settings, images) == 60 // 2.2 // 1  # 3 steps and 7 images to score


def test_the_schedules_end_where_the_paper_says():
    cosine = resnet20._schedule("cosine", 10)
    assert cosine == {"name": "cosine", "warmup": 0.1} and resnet20._schedule("step", 10) == {"name": "step"}


def test_every_word_is_scored_once_with_what_was_before_it():
    part = TokenPart(np.arange(100, dtype=np.uint16) % 97, 100, 100)
    for length, stride in ((8, 8), (8, 3), (16, 4), (99, 5), (200, 7)):
        seen, least = [], length
        for tokens, following, count in scored_windows(part, length, stride):
            assert torch.equal((tokens + 1) % 97, following)
            seen += following[:, -count:].flatten().tolist()
            if len(seen) > length:
                least = min(least, tokens.shape[1] - count)
        assert sorted(seen) == sorted(part.tokens[1:].tolist())
        assert least >= min(length, 99) - stride


def test_the_score_is_the_mean_over_words(data):
    model = torch.nn.Embedding(97, 97)
    part = TokenPart(np.random.default_rng(0).integers(0, 97, 50).astype(np.uint16), 50, 50)
    split = [(x, y, torch.tensor([n])) for x, y, n in scored_windows(part, 16, 5)]
    tokens = torch.from_numpy(part.tokens.astype(np.int64))
    expected = -torch.nn.functional.cross_entropy(model(tokens[:-1]), tokens[1:]).item()
    assert minus_loss(model, split) == pytest.approx(expected, rel=1e-5)


def test_the_two_steps_are_one_distribution_that_begins_at_the_words_frequencies():
    counts = np.array([9, 4, 4, 1, 1, 0])
    output = AdaptiveSoftmax(counts, 8, 3)
    targets = torch.arange(6)[None]
    shares = (counts + 0.5) / (counts + 0.5).sum()
    zero = output(torch.zeros(1, 6, 8), torch.randn(6, 8), targets)
    assert torch.allclose(zero[0].exp(), torch.from_numpy(1 / shares).float(), rtol=1e-5)
    words = torch.randn(6, 8)
    for features in torch.randn(5, 1, 1, 8):
        assert (-output(features.expand(1, 6, 8), words, targets)).exp().sum().item() == pytest.approx(
            1, 1e-5
        )
    with torch.no_grad():  # where the class has all the weight it should have, it is an ordinary softmax
        features = torch.randn(1, 1, 8)
        logits = features[0, 0] @ words.T + output.bias
        output.bias_of_class[0] = logits[3:].logsumexp(0)
        expected = torch.nn.functional.cross_entropy(logits.expand(6, 6), targets[0], reduction="none")
        found = output(features.expand(1, 6, 8), words, targets)
    assert torch.allclose(found[0], expected, rtol=1e-5)


def test_a_batch_without_rare_words_has_gradients():
    output = AdaptiveSoftmax(np.array([5, 3, 1, 1]), 4, 2)
    output(torch.randn(2, 3, 4), torch.randn(4, 4), torch.tensor([[0, 1, 0], [1, 1, 0]])).mean().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in output.parameters())


def test_a_dropped_word_is_dropped_wherever_it_stands():
    torch.manual_seed(0)
    model = WordModel(8, np.arange(20, 0, -1), 8, 1, 2, 0.0, 0.5, 5)
    tokens = torch.arange(20).repeat(2).view(5, 8)
    whole = model.eval().model.embedded(tokens)
    some = model.train().model.embedded(tokens)
    dropped = (some == 0).all(-1)
    assert 0 < dropped.sum() < dropped.numel()
    assert torch.equal(dropped.view(2, 20)[0], dropped.view(2, 20)[1])
    assert torch.allclose(some[~dropped], 2 * whole[~dropped])


def test_words_are_numbered_by_frequency(data):
    text = load_text("wikitext2", tokens="word", train_on="validation", held_out=(0.1, 0.0))
    parts, counts = wikitext2.by_frequency(text)
    train = np.asarray(parts["train"].tokens)
    assert np.array_equal(np.bincount(train, minlength=text.vocabulary), counts)
    assert (np.diff(counts) <= 0).all()
    for name, part in parts.items():
        pairs = set(zip(part.tokens.tolist(), text.parts[name].tokens.tolist(), strict=True))
        assert len(pairs) == len({new for new, _ in pairs}) == len({old for _, old in pairs})
    old, new = (
        KneserNey(np.asarray(some["train"].tokens), text.vocabulary).perplexity(some["test"].tokens)
        for some in (text.parts, parts)
    )
    assert old == pytest.approx(new)


def test_tiny_shakespeare_is_what_nanogpt_trains():
    settings = tiny_shakespeare.Settings()
    assert (settings.depth, settings.width, settings.length) == (4, 128, 64)
    assert (settings.steps, settings.batch_size, tiny_shakespeare.PUBLISHED) == (2000, 12, 1.88)


def test_the_curves_are_drawn(data, tmp_path, capsys):
    files = []
    for name in SMALL:
        run(name, tmp_path / name)
        files.append(str(tmp_path / name / "result.json"))
    picture = tmp_path / "curves.svg"
    assert command.main(["figure", *files, "--output", str(picture)]) == 0
    drawn = picture.read_text()
    for said in (
        "ResNet-20, CIFAR-10",
        "accuracy [%]",
        "paper, 164 epochs: 91.25",
        "nanoGPT: 1.88",
        "perplexity",
    ):
        assert said in drawn
    first = picture.read_bytes()
    command.main(["figure", *files, "--output", str(picture)])
    assert picture.read_bytes() == first
    for wrong in ([str(tmp_path / "no.json")], files):
        with pytest.raises(SystemExit) as stopped:
            command.main(["figure", *wrong, "--output", str(tmp_path / "curves.png")])
        assert stopped.value.code == 2
    with pytest.raises(SystemExit):
        command.main(["figure", str(tmp_path / "no.json"), "--output", str(picture)])
    assert "results: must be files of this benchmark" in capsys.readouterr().err


def test_a_unit_that_was_trained_but_not_written_down_has_no_time(data, tmp_path):
    whole = run("tiny_shakespeare", tmp_path)
    file = tmp_path / "result.work" / "curve.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:2]))
    again = run("tiny_shakespeare", tmp_path)
    assert (whole["units_timed"], again["units_timed"]) == (3, 2)
    last = again["curve"][-1]
    assert last["validation"] == whole["curve"][-1]["validation"]
    assert last["train_loss"] is None and last["core_seconds"] is None
