"""The common data pipeline, by data-set name."""

from __future__ import annotations

from hypernudge.tasks.data.datasets import Dataset, load_dataset

__all__ = ["Dataset", "load_dataset"]
