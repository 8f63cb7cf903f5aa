"""Comparisons by the declared criteria, and the verdict of each."""
