"""ImageNet in small: 1,000 classes in folders, decoded within bounds, and steps of its networks."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("PIL", reason="extra vision")

from hypernudge.tasks.networks import build_network
from hypernudge.tasks.vision.augment import Augmentation
from hypernudge.tasks.vision.images import load_images
from tests.tasks.vision.tools import encoded, pixels, write_folder

pytestmark = pytest.mark.slow

BUILD = """
import json, resource, sys
from pathlib import Path
from hypernudge.tasks.vision.images import load_images
data = load_images("imagenet", folder=sys.argv[1], cache=Path(sys.argv[2]), size=64)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"kilobytes": peak, "rows": len(data.parts["train"]), "classes": data.classes}))
"""


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    place = tmp_path_factory.mktemp("imagenet")
    kinds = [encoded(image, "JPEG") for image in pixels(8, side=128)]
    labels = np.repeat(np.arange(1000), 2)
    write_folder(place / "images" / "train", [kinds[label % 8] for label in labels], labels)
    write_folder(place / "images" / "val", [kinds[label % 8] for label in range(1000)], range(1000))
    command = [sys.executable, "-c", BUILD, str(place / "images"), str(place / "cache")]
    built = subprocess.run(command, check=True, capture_output=True, text=True)
    return place, json.loads(built.stdout)


def test_a_thousand_classes_are_decoded_within_two_gibibytes(imagenet):
    place, said = imagenet
    assert said["rows"] == 1800 and said["classes"] == 1000 and said["kilobytes"] < 2 * 1024**2
    data = load_images("imagenet", folder=place / "images", cache=place / "cache", size=64)
    assert data.parts["train"].images.shape == (2000, 64, 64, 3)
    assert data.parts["test"].labels.tolist() == list(range(1000))


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "timm/resnet50"},
        {"name": "timm/vit_small_patch16_224", "img_size": 64, "patch_size": 8, "depth": 2},
        {"name": "vit", "width": 384, "heads": 6, "patch_size": 8, "depth": 2},
    ],
    ids=lambda spec: spec["name"],
)
def test_steps_are_trained(imagenet, spec):
    if spec["name"].startswith("timm/"):
        pytest.importorskip("timm", reason="extra vision")
    place, _ = imagenet
    part = load_images("imagenet", folder=place / "images", cache=place / "cache", size=64).parts["train"]
    images, labels = part.take(range(4))
    augmentation = Augmentation(crop=8, colour=0.4)
    mean, deviation = part.statistics(at_most=50)
    x = augmentation(images, augmentation.draw(0, 0, 4), mean, deviation, 0.5)
    network = build_network(spec, (3, 64, 64), 1000)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = [p.detach().clone() for p in network.parameters()]
    for _ in range(2):  # some networks begin with branches that are switched off
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
    changed = [not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True)]
    assert sum(changed) > 0.9 * len(changed) and all(p.isfinite().all() for p in network.parameters())
