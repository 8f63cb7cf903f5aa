"""The common data pipeline, by data-set name: `load_dataset("digits")`, `"cifar10"`, `"wikitext2"`, ..."""

from __future__ import annotations

from hypernudge.tasks.data.by_name import load_data as load_dataset
from hypernudge.tasks.data.datasets import Dataset

__all__ = ["Dataset", "load_dataset"]
