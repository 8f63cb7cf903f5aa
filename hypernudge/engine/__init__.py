"""Engines: how jobs are trained and on which clock their completions arrive."""
