"""Data sets: tables, images and texts as tensors, and the cache that keeps them decoded."""
