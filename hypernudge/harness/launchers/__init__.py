"""Launchers: where the cells of an experiment run; their results do not depend on it."""
