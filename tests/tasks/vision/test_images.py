import io
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

pytest.importorskip("PIL", reason="extra vision")
pytest.importorskip("pyarrow", reason="extra vision")

import torch

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.vision import sources
from hypernudge.tasks.vision.decode import Decoder, Encoded
from hypernudge.tasks.vision.images import held_out, load_images, read_part
from tests.experiments.tools import DATA
from tests.tasks.vision.tools import encoded, pixels, write_batches, write_folder, write_parquet

N = 60
IMAGES, LABELS = pixels(N), np.arange(N) % 10


@pytest.fixture
def load(tmp_path):
    def load(name, **options):
        return load_images(name, **{"cache": tmp_path / "cache", **options})

    return load


def whole(data):
    """All training images in the order of the source."""
    rows = np.concatenate([data.parts[part].rows for part in ("train", "validation")])
    return data.parts["train"].images[np.sort(rows)], data.parts["train"].labels[np.sort(rows)]


def test_cifar_is_read_from_its_batches_and_from_parquet(load, tmp_path):
    batches = load("cifar10", folder=write_batches(tmp_path / "a", IMAGES, LABELS))
    place = tmp_path / "b" / "plain_text"
    write_parquet(place / "train-00000-of-00002.parquet", map(encoded, IMAGES[:25]), LABELS[:25], "img")
    write_parquet(place / "train-00001-of-00002.parquet", map(encoded, IMAGES[25:]), LABELS[25:], "img")
    write_parquet(place / "test-00000-of-00001.parquet", map(encoded, IMAGES[:7]), LABELS[:7], "img")
    parquet = load("cifar10", folder=tmp_path / "b")
    for found in (batches, parquet):
        assert found.classes == 10
        assert np.array_equal(whole(found)[0], IMAGES) and np.array_equal(whole(found)[1], LABELS)
        assert {part: len(of) for part, of in found.parts.items()} == {
            "train": 54,
            "validation": 6,
            "test": 7,
        }
        x, y = found.parts["test"].tensors()
        assert torch.equal(x, torch.from_numpy(IMAGES[:7])) and torch.equal(y, torch.from_numpy(LABELS[:7]))
    # What was read is known: the JPEG version of a data set is not its lossless one.
    assert batches.source["train"]["layout"] == "pickles" != parquet.source["train"]["layout"]
    assert batches.source["train"]["digest"] != parquet.source["train"]["digest"]


def test_fine_labels_of_cifar100_are_read(load, tmp_path):
    root = tmp_path / "cifar-100-python"
    root.mkdir()
    rows = IMAGES.transpose(0, 3, 1, 2).reshape(N, -1)
    for part in ("train", "test"):
        table = {"data": rows, "fine_labels": (LABELS + 90).tolist(), "coarse_labels": [0] * N}
        (root / part).write_bytes(pickle.dumps(table, protocol=2))
    found = load("cifar100", folder=root)
    assert found.classes == 100 and np.array_equal(found.parts["test"].labels, LABELS + 90)


class Dangerous:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_batch_that_would_run_something_is_refused(load, tmp_path):
    write_batches(tmp_path, IMAGES, LABELS)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(Dangerous()))
    with pytest.raises(
        InvalidArgumentError, match=r"data_batch_3 must be a CIFAR-10 file, but it names posix"
    ):
        load("cifar10", folder=tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(InvalidArgumentError, match=r"must hold all batches.*data_batch_3"):
        load("cifar10", folder=tmp_path)


def test_arrays_pickled_by_an_old_numpy_are_read_without_importing_its_modules(load, tmp_path):
    write_batches(tmp_path, IMAGES, LABELS)
    for path in (tmp_path / "cifar-10-batches-py").iterdir():
        path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    assert np.array_equal(whole(load("cifar10", folder=tmp_path))[0], IMAGES)


def test_a_folder_per_class_and_parquet_give_the_same_tensors(load, tmp_path):
    large = pixels(40, side=96, seed=1)
    labels = np.repeat(np.arange(20), 2)
    jpegs = [encoded(np.concatenate([image, image[:, :32]], axis=1), "JPEG") for image in large]
    write_folder(tmp_path / "folder" / "train", jpegs, labels)
    write_folder(tmp_path / "folder" / "val", jpegs[:6], labels[:6])
    write_parquet(tmp_path / "parquet" / "data" / "train-00000-of-00001.parquet", jpegs, labels)
    write_parquet(tmp_path / "parquet" / "data" / "validation-00000-of-00001.parquet", jpegs[:6], labels[:6])
    write_parquet(tmp_path / "parquet" / "data" / "test-00000-of-00001.parquet", jpegs, [-1] * 40)
    folder, parquet = (load("own", folder=tmp_path / layout, size=16) for layout in ("folder", "parquet"))
    for part, rows in {"train": 36, "validation": 4, "test": 6}.items():
        (x, y), (x_too, y_too) = folder.parts[part].tensors(), parquet.parts[part].tensors()
        assert x.shape == (rows, 16, 16, 3) and torch.equal(x, x_too) and torch.equal(y, y_too)
    assert folder.classes == parquet.classes == 20


def test_images_are_resized_by_their_shorter_side_and_cropped_in_the_middle(load, tmp_path):
    wide = np.zeros((1, 40, 80, 3), dtype=np.uint8)
    wide[:, :, 20:60] = 255  # the middle square
    write_folder(tmp_path / "train", [encoded(wide[0])] * 4, [0, 0, 1, 1], ".png")
    write_folder(tmp_path / "test", [encoded(wide[0])], [0], ".png")
    x, _ = load("own", folder=tmp_path, size=10).parts["test"].tensors()
    assert x[0, :, 1:-1].eq(255).all() and x.shape == (1, 10, 10, 3)
    write_folder(tmp_path / "test", [encoded(wide[0, :, :50])], [1], ".png")
    with pytest.raises(InvalidArgumentError, match="images must be equally large"):
        load("own", folder=tmp_path)


def test_a_build_that_is_killed_goes_on(load, tmp_path, monkeypatch):
    write_folder(tmp_path / "own" / "train", [encoded(image) for image in IMAGES], LABELS)
    write_folder(tmp_path / "own" / "test", [encoded(IMAGES[0])], LABELS[:1])
    code = f"""
import os, signal
from pathlib import Path
from hypernudge.tasks.vision import decode, images, sources
sources.SHARD, sources.CHUNK = 16, 8
decoded, left = decode.Decoder.__call__, [6]
def call(self, encoded):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return decoded(self, encoded)
decode.Decoder.__call__ = call
images.load_images("own", folder={str(tmp_path / "own")!r}, cache=Path({str(tmp_path / "cache")!r}))
"""
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -signal.SIGKILL
    monkeypatch.setattr(sources, "SHARD", 16)
    monkeypatch.setattr(sources, "CHUNK", 8)
    read = []
    monkeypatch.setattr(sources, "_read", lambda labelled, of=sources._read: read.append(1) or of(labelled))
    found = load("own", folder=tmp_path / "own")
    order = np.argsort(LABELS, kind="stable")
    assert np.array_equal(whole(found)[0], IMAGES[order])
    # Two shards of 16 were sealed; the first chunk is read twice (its size is looked at), and the test image.
    assert len(read) == 8 + (N - 32) + 2
    read.clear()
    load("own", folder=tmp_path / "own")
    assert not read


def test_what_is_missing_is_said_in_one_line(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path))
    with pytest.raises(InvalidArgumentError, match="HYPERNUDGE_DATA") as caught:
        load("cifar100")
    said = str(caught.value)
    assert "cifar-100-python" in said and str(tmp_path) in said and "torchvision" in said and "\n" not in said
    write_folder(tmp_path / "imagenet" / "train", [b"no image"], [1])
    with pytest.raises(InvalidArgumentError, match=r"test part must be val\|valid.*holds train; get it from"):
        load("imagenet", size=8)
    write_folder(tmp_path / "imagenet" / "val", [encoded(IMAGES[0])], [3])
    with pytest.raises(InvalidArgumentError, match=r"classes of .*val must be among .*n00000003"):
        load("imagenet", size=8)
    shutil.rmtree(tmp_path / "imagenet" / "val")
    write_folder(tmp_path / "imagenet" / "val", [encoded(IMAGES[0])], [1])
    with pytest.raises(InvalidArgumentError, match=r"\.JPEG must be an image, but cannot identify"):
        load("imagenet", size=8)
    with pytest.raises(InvalidArgumentError, match="folder must exist"):
        load("cifar10", folder="nowhere")
    with pytest.raises(InvalidArgumentError, match="size: must be a whole number >= 1"):
        load("imagenet", size=-3)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InvalidArgumentError, match=r"hypernudge\[vision\]"):
        load("imagenet", size=8)


def test_parquet_files_of_another_form_are_named(load, tmp_path):
    import pyarrow
    import pyarrow.parquet

    place = tmp_path / "own"
    write_parquet(place / "test.parquet", [encoded(IMAGES[0])], [0])
    image = {"bytes": encoded(IMAGES[0]), "path": None}
    for columns, said in (
        ({"image": [image]}, r"must have a column image .* label"),
        ({"image": [b"abc"], "label": [1]}, r"column image \(or img\) with bytes.*binary"),
        ({"image": [image], "label": ["cat"]}, "of whole numbers.*string"),
        (
            {"image": [{"bytes": None, "path": "a.png"}, image], "label": [1, 1]},
            "row 0 of a batch.*must hold",
        ),
        ({"image": [image, image], "label": [1, None]}, "row 1 of a batch.*must hold an image and a label"),
        ({"image": [image], "label": [[1]]}, "of whole numbers.*list"),
        (
            {"image": [image], "label": pyarrow.array(["cat"]).dictionary_encode()},
            "of whole numbers.*dictionary",
        ),
        (
            {
                "image": pyarrow.array([image]).slice(1),
                "label": pyarrow.array([1]).slice(1),
            },
            "must hold images, but got 'no row'",
        ),
    ):
        pyarrow.parquet.write_table(pyarrow.table(columns), place / "train.parquet")
        with pytest.raises(InvalidArgumentError, match=said) as caught:
            load("own", folder=place)
        assert "\n" not in str(caught.value)
    (place / "train.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InvalidArgumentError, match=r"train\.parquet must be a Parquet file, but"):
        load("own", folder=place)


def test_a_damaged_page_is_said_in_one_line(load, tmp_path):
    place = tmp_path / "own"
    write_parquet(place / "train.parquet", map(encoded, IMAGES[:9]), LABELS[:9])
    write_parquet(place / "test.parquet", map(encoded, IMAGES[:9]), LABELS[:9])
    content = bytearray((place / "train.parquet").read_bytes())
    content[4:60] = bytes(56)
    (place / "train.parquet").write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=r"train\.parquet must be a Parquet file, but") as caught:
        load("own", folder=place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("described", [b"{", b"[]", b'{"info": {}}', b'{"info": {"features": {"label": 3}}}'])
def test_other_metadata_of_parquet_name_no_class(described, load, tmp_path):
    import pyarrow
    import pyarrow.parquet

    image = {"bytes": encoded(IMAGES[0]), "path": None}
    table = pyarrow.table({"image": [image] * 4, "label": [0, 1, 2, 0]})
    (tmp_path / "own").mkdir()
    for part in ("train", "test"):
        kept = table.replace_schema_metadata({b"huggingface": described})
        pyarrow.parquet.write_table(kept, tmp_path / "own" / f"{part}.parquet")
    assert load("own", folder=tmp_path / "own").classes == 3


def odd_folder(tmp_path):
    place = tmp_path / "own"
    for part in ("train", "val"):
        write_folder(place / part, map(encoded, IMAGES[:4]), [0, 0, 1, 1])
    return place, next(path for path in sorted((place / "train").iterdir()))


def test_odd_names_are_read_and_hidden_files_are_not(load, tmp_path):
    place, first = odd_folder(tmp_path)
    (first / "._0.png").write_bytes(b"\0\5\26\7 of another system")
    (first / "Thumbs.db").write_bytes(b"of another system")
    (first / "\u2603 \u540d.PNG").write_bytes(encoded(IMAGES[5]))
    (first / os.fsdecode(b"\xff.png")).write_bytes(encoded(IMAGES[6]))  # no UTF-8
    images, labels = whole(load("own", folder=place))
    assert len(images) == 6 and labels.tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (lambda path: path.mkdir(), "must be files, but got .*x.png.*broken links"),
        (lambda path: path.symlink_to("nowhere"), "must be files, but got .*x.png.*broken links"),
        (lambda path: path.write_bytes(b""), "x.png must be an image, but cannot identify its format; "),
        (lambda path: path.write_bytes(vast()), "x.png must be an image, but Image size .* exceeds limit"),
        (lambda path: path.with_name("!\n.png").write_bytes(b"?"), "! .png must be an image"),
    ],
)
def test_files_that_are_no_images_are_said_in_one_line(odd, said, load, tmp_path):
    place, first = odd_folder(tmp_path)
    odd(first / "x.png")
    with pytest.raises(InvalidArgumentError, match=said) as caught:
        load("own", folder=place, size=8)
    assert "\n" not in str(caught.value)


def vast():
    """Return a PNG that says it is 60,000 pixels wide and high."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def test_sixteen_bits_are_shown_by_the_upper_eight():
    ramp = np.linspace(0, 2**16 - 1, 32 * 32).reshape(32, 32).astype(np.uint16)
    decode = Decoder(None, "own")
    (found,) = decode([Encoded("deep", encoded(ramp), 0)])["images"]
    decode.close()
    assert np.array_equal(found, np.stack([(ramp >> 8).astype(np.uint8)] * 3, -1))


def test_a_palette_with_transparency_is_read_without_a_warning():
    image = pytest.importorskip("PIL.Image", reason="extra vision")
    file = io.BytesIO()
    image.fromarray(IMAGES[0]).convert("P").save(file, "PNG", transparency=b"\0\x80")
    decode = Decoder(16, "own")
    assert decode([Encoded("palette", file.getvalue(), 0)])["images"].shape == (1, 16, 16, 3)
    decode.close()


def test_large_and_grey_jpegs_are_decoded_as_others(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="extra vision")
    smooth = np.linspace(0, 255, 640 * 512).reshape(512, 640).astype(np.uint8)
    decode = Decoder(32, "own")
    (large,) = decode([Encoded("large", encoded(np.stack([smooth] * 3, -1), "JPEG"), 0)])["images"]
    slow = image.fromarray(smooth).resize((40, 32), image.Resampling.BICUBIC).crop((4, 0, 36, 32))
    assert np.abs(large[..., 0].astype(int) - np.asarray(slow)).max() <= 3
    (grey,) = decode([Encoded("grey", encoded(smooth, "JPEG"), 0)])["images"]
    assert grey.shape == (32, 32, 3) and (grey[..., 0] == grey[..., 2]).all()
    assert np.abs(grey.astype(int) - large).max() <= 3
    decode.close()


def test_validation_takes_its_share_of_every_class():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [100, 37, 3]))
    rest, held = held_out(labels, 0.1, 0, stratified=True)
    assert np.bincount(labels[held], minlength=3).tolist() in ([10, 4, 0], [10, 3, 1])
    assert sorted([*rest, *held]) == list(range(140)) and len(held) == 14
    again = held_out(labels, 0.1, 0, stratified=True)
    assert np.array_equal(again[1], held)
    assert not np.array_equal(held_out(labels, 0.1, 1, stratified=True)[1], held)
    even = np.arange(500) % 10
    assert np.bincount(even[held_out(even, 0.1, 3, stratified=True)[1]]).tolist() == [5] * 10
    plain = held_out(even, 0.1, 3, stratified=False)[1]
    assert len(plain) == 50 and np.bincount(even[plain]).tolist() != [5] * 10
    assert len(held_out(even, 0.0, 3, stratified=True)[1]) == 0


def test_parts_can_be_made_smaller_and_batches_taken(load, tmp_path):
    write_batches(tmp_path, IMAGES, LABELS)
    data = load("cifar10", folder=tmp_path, limit={"train": 20}, validation=0.2)
    assert len(data.parts["train"]) == 20 and len(data.parts["validation"]) == 12
    assert not set(data.parts["train"].rows) & set(data.parts["validation"].rows)
    x, y = data.parts["train"].take(torch.tensor([3, 1]))
    rows = data.parts["train"].rows[[3, 1]]
    assert torch.equal(x, torch.from_numpy(IMAGES[rows])) and torch.equal(y, torch.from_numpy(LABELS[rows]))
    mean, deviation = data.parts["train"].statistics()
    pixel = torch.from_numpy(IMAGES[data.parts["train"].rows]).double() / 255
    assert torch.allclose(mean.double(), pixel.mean((0, 1, 2)), atol=1e-6)
    assert torch.allclose(deviation.double(), pixel.std((0, 1, 2), correction=0), atol=1e-6)
    with pytest.raises(InvalidArgumentError, match="limit: parts must be among"):
        load("cifar10", folder=tmp_path, limit={"valid": 20})
    with pytest.raises(InvalidArgumentError, match="validation: must be below 1"):
        load("cifar10", folder=tmp_path, validation=1.0)


@pytest.mark.skipif(not (DATA / "cifar10_jpeg").is_dir(), reason=f"CIFAR-10 is not at {DATA}")
def test_the_real_test_images_are_decoded(tmp_path):
    found = read_part("cifar10", "test", folder=DATA / "cifar10_jpeg", cache=tmp_path)
    assert found.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(found.labels).tolist() == [1000] * 10
    image = pytest.importorskip("PIL.Image", reason="extra vision")
    table = pytest.importorskip("pyarrow.parquet").read_table(DATA / "cifar10_jpeg" / "test.parquet")
    for row in (0, 4321, 9999):
        alone = image.open(io.BytesIO(table["image"][row]["bytes"].as_py()))
        assert np.array_equal(found.take([row])[0][0], np.asarray(alone))
