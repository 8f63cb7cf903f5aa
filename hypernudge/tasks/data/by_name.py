"""Every data set by its name: digits, tables, images and texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypernudge.errors import unknown_name
from hypernudge.tasks.data.catalogue import IMAGES, TEXTS, builder_for
from hypernudge.tasks.data.datasets import LOADERS, Dataset, load_dataset
from hypernudge.tasks.language.data import TextData, load_text
from hypernudge.tasks.vision.images import ImageData, load_images


def load_data(name: str | Mapping[str, Any], **options: Any) -> Dataset | ImageData | TextData:
    """Return a data set, split into training, validation and test part.

    Args:
        name: A key of `LOADERS`, of `IMAGES` or of `TEXTS`, or the description of a table.
        **options: Of `load_dataset`, `load_images` or `load_text`.

    Raises:
        InvalidArgumentError: For an unknown name, a wrong option, or data that are not there.
    """
    kind = builder_for(name)
    if kind == "image_classification":
        return load_images(str(name), **options)
    if kind == "language_model":
        return load_text(str(name), **options)
    if isinstance(name, str) and name not in LOADERS:
        raise unknown_name("dataset", name, [*LOADERS, *IMAGES, *TEXTS])
    return load_dataset(name, **options)
