"""Every data set by its name: digits, tables, images and texts; and games, which stand in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypernudge.errors import unknown_name
from hypernudge.tasks.data.catalogue import IMAGES, TEXTS, builder_for
from hypernudge.tasks.data.datasets import LOADERS, Dataset, load_dataset
from hypernudge.tasks.games.catalogue import GAMES
from hypernudge.tasks.games.environments import Environments, game_of
from hypernudge.tasks.language.data import TextData, load_text
from hypernudge.tasks.vision.images import ImageData, load_images


def load_data(name: str | Mapping[str, Any], **options: Any) -> Dataset | ImageData | TextData | Environments:
    """Return a data set, split into training, validation and test part; or what makes a game's environments.

    Args:
        name: A key of `LOADERS`, of `IMAGES`, of `TEXTS` or of `GAMES`, or the description of a table.
        **options: Of `load_dataset`, `load_images`, `load_text` or `Environments`.

    Raises:
        InvalidArgumentError: For an unknown name, a wrong option, or data that are not there.
    """
    kind = builder_for(name)
    if kind == "image_classification":
        return load_images(str(name), **options)
    if kind == "language_model":
        return load_text(str(name), **options)
    if isinstance(name, str) and name in GAMES:
        return Environments(game_of(name), **options)
    if isinstance(name, str) and name not in LOADERS:
        raise unknown_name("dataset", name, [*LOADERS, *IMAGES, *TEXTS, *GAMES])
    return load_dataset(name, **options)
