"""Every data set of the tasks by name in its published layout, of a few samples, for tests without files."""

import pickle

import numpy as np

from tests.tasks.vision.tools import encoded, pixels, write_batches, write_folder


def write_all(root):
    """Write CIFAR-10, CIFAR-100, ImageNet, WikiText-2 and WikiText-103 below a folder."""
    write_batches(root, pixels(80), np.arange(80) % 10)
    cifar100 = root / "cifar-100-python"
    cifar100.mkdir()
    rows = pixels(60, seed=1).transpose(0, 3, 1, 2).reshape(60, -1)
    for part, count in (("train", 60), ("test", 8)):
        table = {"data": rows[:count], "fine_labels": [number % 100 for number in range(count)]}
        (cifar100 / part).write_bytes(pickle.dumps(table, protocol=2))
    labels = np.arange(100) % 4  # enough of each for a hundredth to validate
    write_folder(root / "imagenet" / "train", (encoded(x, "JPEG") for x in pixels(100, 96)), labels)
    write_folder(root / "imagenet" / "val", (encoded(x, "JPEG") for x in pixels(4, 96)), range(4))
    for name in ("wikitext-2", "wikitext-103"):
        folder = root / name
        folder.mkdir()
        for part, lines in (("train", 150), ("valid", 150), ("test", 30)):
            text = "".join(f" the {i % 7} cats sat near {i % 11} of {i % 13} dogs . \n" for i in range(lines))
            (folder / f"wiki.{part}.tokens").write_text(text)
