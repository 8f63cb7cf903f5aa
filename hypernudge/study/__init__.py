"""A study that can be kept: its events on disk, the weights of its best unit, and what people ask of it."""
