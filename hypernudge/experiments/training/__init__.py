"""The training loop, its checkpoints, and what is measured of it."""
