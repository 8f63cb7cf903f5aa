import json
import pickle

import numpy as np
import pytest

pytest.importorskip("torchvision", reason="extra vision")

import torch
from torchvision.transforms import functional as transforms

from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.data.images import (
    DEVIATION,
    MEAN,
    ImageSamples,
    random_crop_and_flip,
    read_cifar100,
)
from hypernudge.experiments.experiment import UnavailableError
from hypernudge.experiments.runners.tasks import EXPERIMENTS, run_experiment
from hypernudge.experiments.task_data import StepCosts
from hypernudge.flops import count_flops
from hypernudge.random import stream
from hypernudge.tasks.vision.resnet import resnet18_cifar
from tests.experiments.tools import CPU, DATA

CIFAR10 = DATA / "cifar10_jpeg"


def layout(folder, images, labels):
    """Write files in CIFAR-100's layout: 3,072 bytes a row, channel by channel; fine labels."""
    (folder / "cifar-100-python").mkdir(parents=True)
    for part, rows in images.items():
        table = {
            "data": rows.reshape(len(rows), -1),
            "fine_labels": labels[part],
            "coarse_labels": [0] * len(rows),
            "filenames": [f"{i}.png" for i in range(len(rows))],
        }
        (folder / "cifar-100-python" / part).write_bytes(pickle.dumps(table, protocol=2))
    return folder


@pytest.fixture(scope="module")
def real_images(tmp_path_factory):
    """CIFAR-100 itself is not at hand: real CIFAR-10 images (10 of the 100 labels) in its layout."""
    if not CIFAR10.is_dir():
        pytest.skip(f"CIFAR-10 is not at {CIFAR10}")
    parquet = pytest.importorskip("pyarrow.parquet", reason="extra vision")
    image = pytest.importorskip("PIL.Image", reason="extra vision")
    import io

    table = parquet.read_table(CIFAR10 / "test.parquet")
    chosen = np.random.default_rng(0).permutation(10_000)[:40]
    images, labels = [], []
    for row in chosen.tolist():
        packed = table["image"][row]["bytes"].as_py()
        images.append(np.asarray(image.open(io.BytesIO(packed)).convert("RGB")).transpose(2, 0, 1))
        labels.append(int(table["label"][row].as_py()))
    pixels = np.stack(images)
    folder = tmp_path_factory.mktemp("cifar")
    return layout(
        folder, {"train": pixels[:30], "test": pixels[30:]}, {"train": labels[:30], "test": labels[30:]}
    )


def test_a_run_on_real_images_in_cifar100s_layout(real_images, tmp_path, capsys):
    given = [
        f"--data-dir={real_images}",
        "--epochs=1",
        "--batch-size=9",
        "--control-mode=adaptive",
        "--lr-candidates=0.5,1",
        "--episode-length=2",
        "--optimizer=SGD",
        "--label-noise-type=asymmetric",
        "--label-noise-rate=0.4",
        "--evaluate-test",
        "--device=cpu",
        f"--output={tmp_path / 'run.json'}",
    ]
    assert run_experiment("cifar100", [*given, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert run_experiment("cifar100", given) == 0
    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved["runtime_metrics"]["rows"] == {"train": 27, "validation": 3, "test": 10}
    assert saved["method_name"] == "AdaptiveScheduler" and saved["total_steps"] == 3
    assert saved["estimated_flops"] == plan["flops"]["estimated_flops"]
    # 0.56 GMAC per image of 32x32 with this stem, not the 3.7e7 FLOPs of the published accounting.
    forward = StepCosts(resnet18_cifar(100).to("meta"), ImageSamples({}, {}, CPU))(1, 1, training=False)
    assert forward == pytest.approx(1.11e9, rel=0.01)
    noise = saved["runtime_metrics"]["label_noise_diagnostics"]
    assert noise["corrupted"] == round(27 * 0.4) == 11
    total = 27 * noise["train_accuracy_all"]
    parts = (
        16 * noise["train_accuracy_clean_subset"] + 11 * noise["train_accuracy_corrupted_subset_noisy_labels"]
    )
    assert total == pytest.approx(parts)
    assert saved["runtime_metrics"]["final_test_accuracy"] is not None


def test_validation_is_split_off_and_the_published_choice_can_be_had_back(real_images):
    experiment = EXPERIMENTS["cifar100"]()

    def data_of(*flags):
        options = experiment.parser().parse_args([f"--data-dir={real_images}", *flags])
        return experiment.load_data(options, experiment.configure(options), CPU)

    files = read_cifar100(real_images)
    split, published = data_of(), data_of("--validation=test")
    assert {part: split.size(part) for part in split.samples.labels} == {
        "train": 27,
        "validation": 3,
        "test": 10,
    }
    assert {part: published.size(part) for part in published.samples.labels} == {
        "train": 30,
        "validation": 10,
    }
    assert torch.equal(published.samples.images["validation"], torch.from_numpy(files["test"][0]))
    both = torch.cat([split.samples.images[part] for part in ("train", "validation")])
    assert sorted(both.flatten(1).sum(1).tolist()) == sorted(
        files["train"][0].reshape(30, -1).sum(1).tolist()
    )
    assert torch.equal(data_of("--seed=5").samples.images["validation"], split.samples.images["validation"])


def test_augmentation_is_that_of_torchvision_image_by_image():
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8))
    fast = random_crop_and_flip(images, stream(0, "augmentation", 7))
    generator = stream(0, "augmentation", 7)
    offsets, flips = generator.integers(0, 9, size=(16, 2)), generator.random(16) < 0.5
    for image, (top, left), flip, result in zip(images, offsets.tolist(), flips, fast, strict=True):
        slow = transforms.crop(transforms.pad(image, [4]), top, left, 32, 32)
        assert torch.equal(transforms.hflip(slow) if flip else slow, result)
    assert 0 < flips.sum() < 16
    samples = ImageSamples({"train": images.numpy()}, {"train": np.zeros(16, dtype=np.int64)}, CPU)
    plain = samples.batch("train", torch.arange(16), None)["x"]
    slow = torch.stack(
        [transforms.normalize(image.float() / 255, list(MEAN), list(DEVIATION)) for image in images]
    )
    torch.testing.assert_close(plain, slow)


def test_costs_are_those_of_the_real_step():
    model = resnet18_cifar(100)
    costs = StepCosts(resnet18_cifar(100).to("meta"), ImageSamples({}, {}, CPU))

    def step():
        logits = model(torch.zeros(3, 3, 32, 32))
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()

    assert costs(3, 1, training=True) == count_flops(step)[1]


def test_files_that_are_missing_damaged_or_dangerous_are_refused(tmp_path, capsys):
    assert run_experiment("cifar100", [f"--data-dir={tmp_path}", f"--output={tmp_path / 'r.json'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "experiments/task_cifar100.py --download" in error
    with pytest.raises(UnavailableError):
        read_cifar100(tmp_path)
    assert run_experiment("cifar100", [f"--data-dir={tmp_path}", "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["data"]["rows"] == {"train": 45_000, "validation": 5_000} and plan["total_steps"] == 3520
    assert plan["flops"]["estimated_flops"] > 1e15
    train = tmp_path / "cifar-100-python" / "train"
    train.parent.mkdir()
    train.write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "fine_labels": [100]}))
    with pytest.raises(InvalidArgumentError, match="labels below 100"):
        read_cifar100(tmp_path)
    train.write_bytes(pickle.dumps(pytest.raises))  # a name that loading would have to import
    with pytest.raises(InvalidArgumentError, match="names _pytest"):
        read_cifar100(tmp_path)
    train.write_bytes(b"\x80\x02}q")
    with pytest.raises(InvalidArgumentError, match="must be a CIFAR-100 file"):
        read_cifar100(tmp_path)
