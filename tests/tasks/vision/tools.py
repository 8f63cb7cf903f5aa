"""Small image data sets in every layout."""

import io
import pickle

import numpy as np


def pixels(count, side=32, seed=0):
    """Smooth random images, uint8 `(count, side, side, 3)`, so that JPEG changes them little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(side // 4, axis=1).repeat(side // 4, axis=2))


def encoded(array, kind="PNG"):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def write_batches(folder, images, labels):
    """Write training and test images in CIFAR-10's layout, training images in five batches."""
    root = folder / "cifar-10-batches-py"
    root.mkdir(parents=True)
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    for number, index in enumerate(np.array_split(np.arange(len(images)), 5), start=1):
        table = {"data": rows[index], "labels": labels[index].tolist(), "batch_label": "training"}
        (root / f"data_batch_{number}").write_bytes(pickle.dumps(table, protocol=2))
    table = {"data": rows[:7], "labels": labels[:7].tolist()}
    (root / "test_batch").write_bytes(pickle.dumps(table, protocol=2))
    return folder


def write_parquet(path, data, labels, column="image", label="label", group=10):
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(data)]
    table = pyarrow.table({column: cells, label: [int(value) for value in labels]})
    pyarrow.parquet.write_table(table, path, row_group_size=group)


def write_folder(root, data, labels, suffix=".JPEG"):
    """Write one folder per class; files are named so that they sort as they are given."""
    for number, (content, label) in enumerate(zip(data, labels, strict=True)):
        place = root / f"n{label:08d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{place.name}_{number:05d}{suffix}").write_bytes(content)
