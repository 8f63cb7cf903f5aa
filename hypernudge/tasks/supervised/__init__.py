"""Supervised tasks of small networks, one trial or many at a time."""
