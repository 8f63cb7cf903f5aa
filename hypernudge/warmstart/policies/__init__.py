"""Warm starts, one policy a file."""
