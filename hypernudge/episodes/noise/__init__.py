"""Gradient noise: what is added, and from which generator."""
